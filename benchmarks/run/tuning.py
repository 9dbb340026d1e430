"""Tuning at equal budget: for each arm the same sampler, and as many trials, seeds and completions.

A trial is an arm of a suite of its own, `NAME.tuning`, whose seeds and prompts no evaluation has. What a sampler asks
depends on nothing but its seed and the scores before, so a search that was stopped is simply asked again: trials that
have an end are not run again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ppo_vs_grpo.benchmarks.records.folder import LOCK, is_finished, run_folder, write_whole
from ppo_vs_grpo.benchmarks.records.lock import read_lock
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest
from ppo_vs_grpo.benchmarks.run.device import Device
from ppo_vs_grpo.benchmarks.run.runner import run_suite
from ppo_vs_grpo.benchmarks.run.state import RunState
from ppo_vs_grpo.benchmarks.suites.resolve import resolve
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.search import Point, Range, Search, Space, default_point, default_space, placed
from ppo_vs_grpo.benchmarks.suites.sections import Arm
from ppo_vs_grpo.benchmarks.suites.suite import TUNING_SEEDS, Suite
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

ROUND = 6
"""Trials of an arm that are asked for at once, whatever the slots: what a sampler has seen decides what it asks."""

STARTS = 12
"""Trials at random, before the sampler trusts what it has seen."""

POINTS = 4
"""Evaluations of a trial: of its start, its end, and two between them."""

TRIALS, TUNED = "trials.csv", "tuned.yaml"


@dataclass(slots=True)
class Trial:
    """A point of an arm's space under a label of its own, and what became of it: no score where a run failed."""

    arm: str
    label: str
    point: Point
    asked: Any
    score: float | None = None
    status: str = "waiting"
    completions: int = 0
    train_s: float = 0.0


@dataclass(slots=True)
class Seeker:
    """The search for one arm's settings. Its first trial has the arm's own."""

    label: str
    arm: Arm
    own: RunSpec
    space: Space
    study: Any
    trials: list[Trial] = field(default_factory=list)

    def ask(self, count: int, source: str) -> dict[str, Arm]:
        """So many more trials, as arms by their labels."""
        arms = {}
        for _ in range(count):
            asked = self.study.ask(_distributions(self.space))
            trial = Trial(self.label, f"{self.label}-t{len(self.trials):02}", dict(asked.params), asked)
            self.trials.append(trial)
            arms[trial.label] = placed(self.arm, trial.point, self.own.train, f"{source}: search.space.{self.label}")
        return arms

    @property
    def best(self) -> Trial | None:
        """The trial with the highest score; of those that tie, the first."""
        scored = [trial for trial in self.trials if trial.score is not None]
        return max(scored, key=lambda trial: trial.score or 0.0, default=None)


def tune(
    suite: Suite,
    source: str,
    results: Path,
    trials: int,
    *,
    cache: Path | None = None,
    slots: int | None = None,
    device: Device = Device.auto,
    console: Console | None = None,
) -> int:
    """Search for every arm's settings; the exit code is that of `run_suite`.

    Leaves trials.csv and tuned.yaml, a suite of the tuned arms, in results/NAME.tuning. Raises UserError for a space
    that an arm does not have, and where trials of another search lie there.
    """
    base = trial_suite(suite)
    folder = results / base.name
    seekers = _seekers(suite, base, source, trials)
    arms: dict[str, Arm] = {}
    code = 0
    while any(len(seeker.trials) < trials for seeker in seekers):
        for seeker in seekers:
            arms |= seeker.ask(min(ROUND, trials - len(seeker.trials)), source)
        now = base.model_copy(update={"arms": arms | _asked_before(folder, arms)})
        code = run_suite(now, source, results, cache=cache, slots=slots, device=device, console=console)
        if code == 130:
            return code
        specs = resolve(now, source)
        for seeker in seekers:
            for trial in seeker.trials:
                if trial.status == "waiting":
                    _judge(seeker.study, trial, [spec for spec in specs if spec.arm == trial.label], folder)
    _write(suite, seekers, folder, specs)
    if console:
        console.print("\n".join(sentences(seekers, folder)), markup=False, highlight=False)
    return code


def trial_suite(suite: Suite) -> Suite:
    """The suite whose arms are trials: seeds and prompts for tuning, nothing timed or probed, nothing claimed."""
    search = suite.search or Search()
    seeds = list(TUNING_SEEDS)[: search.seeds]
    train = suite.train.model_copy(update={"completions": search.completions or suite.train.completions})
    evaluated = suite.eval.model_copy(update={"points": min(POINTS, suite.eval.points), "transcripts": 0})
    nothing = dict.fromkeys(("timing", "throughput", "attribution", "probes", "pairs", "search"))
    return suite.model_copy(
        update={
            **nothing,
            **{"name": f"{suite.name}.tuning", "tuning": True, "seeds": seeds, "train": train, "eval": evaluated},
            **{"claims": {}, "description": f"trials of settings for {', '.join(suite.arms)}"},
        }
    )


def _seekers(suite: Suite, base: Suite, source: str, trials: int) -> list[Seeker]:
    try:
        import optuna
    except ImportError:
        raise UserError("tune: optuna is not installed: pip install 'ppo-vs-grpo[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search, seekers = suite.search or Search(), []
    for label in search.space:
        if label not in suite.arms:
            raise UserError(
                f"{source}: search.space.{label}: no arm of this suite; its arms are {', '.join(suite.arms)}"
            )
    own = {spec.arm: spec for spec in resolve(base, source)}
    for label, arm in suite.arms.items():
        space = search.space.get(label) or default_space(own[label].config, own[label].train)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # constant_liar
            sampler = optuna.samplers.TPESampler(
                seed=0, n_startup_trials=min(STARTS, max(trials // 2, 1)), constant_liar=True
            )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.enqueue_trial(dict(default_point(space, own[label].config, own[label].train)))
        seekers.append(Seeker(label, arm, own[label], space, study))
        edge = {key: values.low if isinstance(values, Range) else values[0] for key, values in space.items()}
        tried = placed(arm, edge, own[label].train, f"{source}: search.space.{label}")
        resolve(base.model_copy(update={"arms": {label: tried}}), f"{source}: search.space")  # a key that it lacks
    return seekers


def _asked_before(folder: Path, arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """The trials of later rounds that an earlier call asked for: their runs are kept."""
    if not (folder / LOCK).exists():
        return {}
    written = read_lock(folder)[0]["arms"]
    return {label: Arm.model_validate(arm) for label, arm in written.items() if label not in arms}


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        key: FloatDistribution(values.low, values.high, log=True)
        if isinstance(values, Range)
        else CategoricalDistribution(values)
        for key, values in space.items()
    }


def _judge(study: Any, trial: Trial, specs: Sequence[RunSpec], folder: Path) -> None:
    """Tell the sampler a trial's score: the final pass rate, a mean over tasks and seeds; 0 of a run that diverged."""
    from optuna.trial import TrialState

    scores, states = [], []
    for spec in specs:
        run = RunState(spec, run_folder(folder, spec.purpose, spec.key))
        manifest = read_manifest(run.folder) if is_finished(run.folder) else {"status": "failed"}
        run.follow()
        states.append(manifest["status"])
        trial.completions += int(manifest.get("completions") or 0)
        trial.train_s += float(manifest.get("train_s") or 0.0)
        rates = list(run.pass_rates.values())
        scores.append(rates[-1] if manifest["status"] == "ok" and rates else 0.0)
    trial.status = next((state for state in ("failed", "diverged") if state in states), "ok")
    if trial.status == "failed":
        study.tell(trial.asked, state=TrialState.FAIL)
        return
    trial.score = sum(scores) / len(scores)
    study.tell(trial.asked, trial.score)


def _write(suite: Suite, seekers: Sequence[Seeker], folder: Path, specs: Sequence[RunSpec]) -> None:
    """Write trials.csv, and tuned.yaml where every arm has a trial with a score."""
    every = [trial for seeker in seekers for trial in seeker.trials]
    keys = list(dict.fromkeys(key for seeker in seekers for key in seeker.space))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["arm", "trial", *keys, "score", "status", "completions", "train_s"])
    for trial in every:
        values = [trial.point.get(key, "") for key in keys]
        score = "" if trial.score is None else trial.score
        writer.writerow([trial.arm, trial.label, *values, score, trial.status, trial.completions, trial.train_s])
    write_whole(folder / TRIALS, table.getvalue())
    best = {seeker.label: seeker.best for seeker in seekers}
    if not all(best.values()):
        return
    arms = {
        seeker.label: placed(seeker.arm, seeker.best.point, seeker.own.train, "").model_dump(exclude_none=True)
        for seeker in seekers
        if seeker.best
    }
    tuned = suite.model_dump(mode="json", exclude_defaults=True) | {
        "name": f"{suite.name}-tuned",
        "arms": arms,
        "tuned": {
            "trials": len(seekers[0].trials),
            "completions": sum(trial.completions for trial in every),
            "train_s": round(sum(trial.train_s for trial in every), 1),
            "sha256": hash_of(folder, specs),
        },
    }
    tuned.pop("search", None)
    head = f"# {suite.name} with the best settings of each arm's trials: trials.csv beside this file.\n"
    write_whole(folder / TUNED, head + yaml.safe_dump(tuned, sort_keys=False, allow_unicode=True))


def hash_of(folder: Path, specs: Sequence[RunSpec]) -> str:
    """A hash over the seals of all trials' runs: it changes with any number of any of them."""
    places = [run_folder(folder, spec.purpose, spec.key) for spec in specs]
    seals = sorted(str(read_manifest(place).get("seal")) for place in places if is_finished(place))
    return hashlib.sha256("".join(seals).encode()).hexdigest()


def sentences(seekers: Sequence[Seeker], folder: Path) -> list[str]:
    """Of each arm its own settings' score and the best; then the cost of the search."""
    lines = []
    for seeker in seekers:
        broken = {state: sum(t.status == state for t in seeker.trials) for state in ("diverged", "failed")}
        aside = "".join(f", {count} {state}" for state, count in broken.items() if count)
        first, best = seeker.trials[0], seeker.best
        if best is None:
            lines.append(f"{seeker.label}: no trial has a score{aside}")
            continue
        point = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in best.point.items()
        )
        own = "none" if first.score is None else f"{first.score:.3f}"
        lines.append(
            f"{seeker.label}: {best.score:.3f} in trial {best.label}, {own} with its own settings{aside}: {point}"
        )
    every = [trial for seeker in seekers for trial in seeker.trials]
    lines.append(
        f"{len(every)} trials, {sum(t.completions for t in every):,} completions, "
        f"{sum(t.train_s for t in every) / 3600:.2f} hours of training: {folder / TRIALS}"
    )
    if all(seeker.best for seeker in seekers):
        lines.append(f"next, on seeds and prompts that no trial saw: ppo-vs-grpo run {folder / TUNED}")
    return lines

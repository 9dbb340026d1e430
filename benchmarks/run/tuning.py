"""Tuning at equal budget: for each arm the same sampler, and as many trials, seeds and completions.

A trial is an arm of a suite of its own, `NAME.tuning`, whose seeds and prompts no evaluation has. What a sampler asks
depends on nothing but its seed and the scores before, so a search that was stopped is simply asked again: trials that
have an end are not run again. Every other trial is drawn at random: those say how sensitive an arm is to its settings.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.records.folder import LOCK
from ppo_vs_grpo.benchmarks.records.lock import read_lock
from ppo_vs_grpo.benchmarks.run.device import Device
from ppo_vs_grpo.benchmarks.run.runner import run_suite
from ppo_vs_grpo.benchmarks.run.trials import TRIALS, TUNED, Trial, best_of, hash_of, write_suite, write_table
from ppo_vs_grpo.benchmarks.suites.resolve import resolve
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.search import Range, Search, Space, default_point, default_space, placed
from ppo_vs_grpo.benchmarks.suites.sections import Arm
from ppo_vs_grpo.benchmarks.suites.suite import TUNING_SEEDS, Suite
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

ROUND = 6
"""Trials of an arm that are asked for at once, whatever the slots: what a sampler has seen decides what it asks."""

STARTS = 6
"""Trials before the sampler trusts what it has seen."""

POINTS = 4
"""Evaluations of a trial: of its start, its end, and two between them."""


@dataclass(slots=True)
class Seeker:
    """The search for one arm's settings. Its first trial has the arm's own, its second is drawn, its third sought."""

    label: str
    arm: Arm
    own: RunSpec
    space: Space
    study: Any
    samplers: tuple[Any, Any]
    trials: list[Trial] = field(default_factory=list)

    def ask(self, count: int, source: str) -> dict[str, Arm]:
        """So many more trials, as arms by their labels."""
        arms = {}
        for _ in range(count):
            drawn = len(self.trials) % 2
            self.study.sampler = self.samplers[drawn]
            asked = self.study.ask(_distributions(self.space))
            label = f"{self.label}-t{len(self.trials):02}"
            trial = Trial(self.label, label, dict(asked.params), asked, random=bool(drawn))
            self.trials.append(trial)
            arms[trial.label] = placed(self.arm, trial.point, self.own.train, f"{source}: search.space.{self.label}")
        return arms

    def tell(self, trial: Trial) -> None:
        """Tell the sampler what became of a trial."""
        from optuna.trial import TrialState

        if trial.score is None:
            self.study.tell(trial.asked, state=TrialState.FAIL)
        else:
            self.study.tell(trial.asked, trial.score)

    def importances(self) -> dict[str, float]:
        """The share of the scores' variance that comes with each setting alone (fANOVA, Hutter et al. 2014).

        Empty where there is too little to split.
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        scores = {trial.score for trial in self.trials if trial.score is not None}
        if len(scores) < STARTS:
            return {}
        return dict(get_param_importances(self.study, evaluator=FanovaImportanceEvaluator(seed=0)))


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
    seekers = _seekers(suite, base, source)
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
                    trial.judge([spec for spec in specs if spec.arm == trial.label], folder)
                    seeker.tell(trial)
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
    nothing: dict[str, Any] = dict.fromkeys(("timing", "throughput", "probes", "pairs", "search"))
    return suite.model_copy(
        update={
            **nothing,
            **{"name": f"{suite.name}.tuning", "tuning": True, "seeds": seeds, "train": train, "eval": evaluated},
            **{"claims": {}, "attribution": [], "description": f"trials of settings for {', '.join(suite.arms)}"},
        }
    )


def _seekers(suite: Suite, base: Suite, source: str) -> list[Seeker]:
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
            seeking = optuna.samplers.TPESampler(seed=0, n_startup_trials=STARTS, constant_liar=True)
        samplers = (seeking, optuna.samplers.RandomSampler(seed=1))  # that of TPE draws its first trials with 0
        study = optuna.create_study(direction="maximize", sampler=seeking)
        study.enqueue_trial(dict(default_point(space, own[label].config, own[label].train)))
        seekers.append(Seeker(label, arm, own[label], space, study, samplers))
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


def _write(suite: Suite, seekers: Sequence[Seeker], folder: Path, specs: Sequence[RunSpec]) -> None:
    """Write trials.csv, and tuned.yaml where every arm has a trial with a score."""
    every = [trial for seeker in seekers for trial in seeker.trials]
    write_table(every, folder)
    best = {seeker.label: best_of(seeker.trials) for seeker in seekers}
    arms = {
        seeker.label: placed(seeker.arm, trial.point, seeker.own.train, "")
        for seeker in seekers
        if (trial := best[seeker.label])
    }
    if len(arms) == len(seekers):
        importances = {seeker.label: seeker.importances() for seeker in seekers}
        write_suite(suite, arms, every, importances, hash_of(folder, specs), folder)


def sentences(seekers: Sequence[Seeker], folder: Path) -> list[str]:
    """Of each arm its own settings' score and the best; then the cost of the search."""
    lines = []
    for seeker in seekers:
        broken = {state: sum(t.status == state for t in seeker.trials) for state in ("diverged", "failed")}
        aside = "".join(f", {count} {state}" for state, count in broken.items() if count)
        first, best = seeker.trials[0], best_of(seeker.trials)
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
    if all(best_of(seeker.trials) for seeker in seekers):
        lines.append(f"next, on seeds and prompts that no trial saw: ppo-vs-grpo run {folder / TUNED}")
    return lines

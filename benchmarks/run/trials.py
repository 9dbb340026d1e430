"""The trials of a search for settings: what became of each, and the files that say so.

trials.csv     a row a trial
tuned.yaml     the suite of each arm's best trial, with all trials in its section `tuned`
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ppo_vs_grpo.benchmarks.records.folder import is_finished, run_folder, write_whole
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest
from ppo_vs_grpo.benchmarks.run.state import RunState
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.search import Point
from ppo_vs_grpo.benchmarks.suites.sections import Arm, TrialRecord, Tuned
from ppo_vs_grpo.benchmarks.suites.suite import Suite

TRIALS, TUNED = "trials.csv", "tuned.yaml"


@dataclass(slots=True)
class Trial:
    """A point of an arm's space under a label of its own, and what became of it: no score where a run failed.

    `scores` and `starts` are final pass rates and those of the start model, by task, means over seeds.
    """

    arm: str
    label: str
    point: Point
    asked: Any
    random: bool
    status: str = "waiting"
    scores: dict[str, float] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    completions: int = 0
    train_s: float = 0.0

    @property
    def score(self) -> float | None:
        """What the sampler is told: the mean over tasks."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else None

    def judge(self, specs: Sequence[RunSpec], folder: Path) -> None:
        """Read what its runs left. A run that diverged counts as 0."""
        states, scores, starts = [], dict[str, list[float]](), dict[str, list[float]]()
        for spec in specs:
            run = RunState(spec, run_folder(folder, spec.purpose, spec.key))
            manifest = read_manifest(run.folder) if is_finished(run.folder) else {"status": "failed"}
            run.follow()
            states.append(manifest["status"])
            self.completions += int(manifest.get("completions") or 0)
            self.train_s += float(manifest.get("train_s") or 0.0)
            rates = list(run.pass_rates.values())
            ended = manifest["status"] == "ok" and rates
            scores.setdefault(spec.task, []).append(rates[-1] if ended else 0.0)
            starts.setdefault(spec.task, []).extend(rates[:1])
        self.status = next((state for state in ("failed", "diverged") if state in states), "ok")
        if self.status != "failed":
            self.scores = {task: sum(each) / len(each) for task, each in scores.items()}
            self.starts = {task: sum(each) / len(each) for task, each in starts.items() if each}

    def record(self) -> TrialRecord:
        """The trial as the tuned suite has it."""
        return TrialRecord(
            trial=self.label,
            random=self.random,
            settings=dict(self.point),
            status=self.status,
            scores={task: round(score, 6) for task, score in self.scores.items()},
            completions=self.completions,
        )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest score; of those that tie, the first."""
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: trial.score or 0.0, default=None)


def write_table(trials: Sequence[Trial], folder: Path) -> None:
    """Write trials.csv."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.point))
    tasks = list(dict.fromkeys(task for trial in trials for task in trial.scores))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    scores = [f"score.{task}" for task in tasks] if len(tasks) > 1 else []
    writer.writerow(["arm", "trial", "random", *keys, "score", *scores, "status", "completions", "train_s"])
    for trial in trials:
        values = [trial.point.get(key, "") for key in keys]
        each = [trial.scores.get(task, "") for task in tasks] if scores else []
        score = "" if trial.score is None else trial.score
        row = [trial.arm, trial.label, trial.random, *values, score, *each, trial.status]
        writer.writerow([*row, trial.completions, trial.train_s])
    write_whole(folder / TRIALS, table.getvalue())


def write_suite(
    suite: Suite,
    arms: Mapping[str, Arm],
    trials: Sequence[Trial],
    importances: Mapping[str, Mapping[str, float]],
    sha256: str,
    folder: Path,
) -> None:
    """Write tuned.yaml: the suite with these arms, the trials of each, and what all of them took."""
    by_arm = {arm: [trial for trial in trials if trial.arm == arm] for arm in arms}
    tuned = Tuned(
        trials=max(map(len, by_arm.values())),
        completions=sum(trial.completions for trial in trials),
        train_s=round(sum(trial.train_s for trial in trials), 1),
        sha256=sha256,
        starts=next((trial.starts for trial in trials if trial.starts), {}),
        arms={arm: [trial.record() for trial in each] for arm, each in by_arm.items()},
        importances={arm: {key: round(x, 4) for key, x in each.items()} for arm, each in importances.items()},
    )
    written = suite.model_dump(mode="json", exclude_defaults=True) | {
        "name": f"{suite.name}-tuned",
        "arms": {label: arm.model_dump(exclude_none=True) for label, arm in arms.items()},
        "tuned": tuned.model_dump(mode="json"),
    }
    written.pop("search", None)
    head = f"# {suite.name} with the best settings of each arm's trials: trials.csv beside this file.\n"
    text = yaml.safe_dump(written, sort_keys=False, allow_unicode=True, default_flow_style=None, width=118)
    write_whole(folder / TUNED, head + text)


def hash_of(folder: Path, specs: Sequence[RunSpec]) -> str:
    """A hash over the seals of all trials' runs: it changes with any number of any of them."""
    places = [run_folder(folder, spec.purpose, spec.key) for spec in specs]
    seals = sorted(str(read_manifest(place).get("seal")) for place in places if is_finished(place))
    return hashlib.sha256("".join(seals).encode()).hexdigest()

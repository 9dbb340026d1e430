"""Suites and runs as data: a suite is what a user writes, a run is one arm x task x seed of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from ppo_vs_grpo.algorithms.shared.config import Frozen, TrainConfig
from ppo_vs_grpo.benchmarks.probes import ProbeConfig
from ppo_vs_grpo.benchmarks.suites.search import Search
from ppo_vs_grpo.benchmarks.suites.sections import (
    Arm,
    Attribution,
    Checkpoints,
    Claim,
    EvalConfig,
    Label,
    Limits,
    SuiteName,
    SuiteTask,
    Throughput,
    Timing,
    Tuned,
)
from ppo_vs_grpo.tasks.errors import nearest

EVALUATION_SEEDS = range(0, 1000)
TUNING_SEEDS = range(1000, 2000)


class Suite(Frozen):
    """A comparison as its YAML file states it. `tasks` and `arms` map labels to choices.

    A list of names stands for a mapping of each name to itself, a number of seeds for the first so many, and one
    `attribution` for a list of it. The first of
    `pairs` is the pair of arms that is judged; without it, it is PPO and GRPO, or the first two. A training run has
    `threads` threads on the CPU, since their number changes how sums are rounded; a timing run takes all cores.
    Processes get the variables that `environment` names, besides those that every process gets. `search` is for `tune`,
    which writes `tuned` into the suite of what it found.
    """

    name: SuiteName
    description: str = ""
    start: str = "nano"
    tasks: dict[Label, SuiteTask] = Field(min_length=1)
    arms: dict[Label, Arm] = Field(min_length=1)
    tuning: bool = False
    seeds: list[int] = Field(min_length=1)
    threads: int = Field(1, ge=1)
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    timing: Timing | None = Timing()
    throughput: Throughput | None = None
    checkpoint: Checkpoints = Checkpoints()
    limits: Limits = Limits()
    environment: list[str] = Field(default_factory=list)
    attribution: list[Attribution] = Field(default_factory=list)
    probes: ProbeConfig | None = None
    claims: dict[Label, Claim] = Field(default_factory=dict)
    pairs: list[list[Label]] | None = Field(None, min_length=1)
    search: Search | None = None
    tuned: Tuned | None = None

    @field_validator("seeds", mode="before")
    @classmethod
    def _a_count_is_a_range(cls, seeds: Any, info: Any) -> Any:
        if not isinstance(seeds, int):
            return seeds
        first = TUNING_SEEDS.start if info.data.get("tuning") else EVALUATION_SEEDS.start
        if isinstance(seeds, bool) or not 1 <= seeds <= len(EVALUATION_SEEDS):
            raise ValueError(f"should be a list of seeds, or how many: 1 to {len(EVALUATION_SEEDS)}")
        return list(range(first, first + seeds))

    @field_validator("environment", mode="after")
    @classmethod
    def _names_of_variables(cls, names: list[str]) -> list[str]:
        for name in names:
            if not name.isidentifier():
                raise ValueError(f"{name.partition('=')[0]}: should be a variable's name, such as JUDGE_KEY, no value")
        return names

    @field_validator("attribution", mode="before")
    @classmethod
    def _one_stands_for_a_list(cls, crossed: Any) -> Any:
        return [crossed] if isinstance(crossed, Mapping) else crossed or []

    @field_validator("attribution", mode="after")
    @classmethod
    def _arms_are_there(cls, crossed: list[Attribution], info: Any) -> list[Attribution]:
        for role, label in [cell for four in crossed for cell in four]:
            if label not in info.data.get("arms", {label: None}):
                known = ", ".join(info.data["arms"])
                raise ValueError(f"{role}: {label}: no arm of this suite; its arms are {known}")
        return crossed

    @model_validator(mode="after")
    def _labels_are_there(self) -> Suite:
        for label, arm in self.arms.items():
            _known(f"arms.{label}.tasks", arm.tasks or (), self.tasks, "task of this suite")
        for task in self.tasks:
            if not any(task in self.runs_on(arm) for arm in self.arms):
                raise ValueError(f"tasks.{task}: no arm runs on it; leave it out, or name it in an arm's `tasks`")
        if self.timing:
            _known("timing.arms", self.timing.arms or (), self.arms, "arm of this suite")
            for label, cell in self.timing.cells.items():
                _known(f"timing.cells.{label}.arms", cell.arms or (), self.arms, "arm of this suite")
                if label in self.tasks:
                    raise ValueError(f"timing.cells.{label}: also a task of this suite; give the cell another label")
        if self.throughput:
            runs_there = [arm for arm in self.arms if next(iter(self.tasks)) in self.runs_on(arm)]
            _known("throughput.arm", [self.throughput.arm], runs_there, "arm of this suite on its first task")
            if len(set(slots := self.throughput.slots)) < len(slots):
                raise ValueError(f"throughput.slots: {slots}: a number is listed more than once")
        for pair in self.pairs or ():
            _known("pairs", pair, self.arms, "arm of this suite")
            if len(pair) != 2:
                raise ValueError(f"pairs: {pair}: should be two arms, as in [ppo, grpo]")
        for name, claim in self.claims.items():
            points = claim.dial.points if claim.dial else {}
            for place, scope in {"": claim, **{f"dial.points.{at}.": scope for at, scope in points.items()}}.items():
                _known(f"claims.{name}.{place}arms", scope.arms, self.arms, "arm of this suite")
                for label in scope.arms:
                    _known(
                        f"claims.{name}.{place}tasks", scope.tasks, self.runs_on(label), f"task that {label} runs on"
                    )
        return self

    def runs_on(self, arm: str) -> list[str]:
        """The labels of the tasks on which an arm runs, in the suite's order."""
        chosen = self.arms[arm].tasks
        return [task for task in self.tasks if chosen is None or task in chosen]

    def seeds_of(self, arm: str) -> list[int]:
        """The seeds with which an arm runs, in the suite's order."""
        return self.seeds[: self.arms[arm].seeds]

    @property
    def planned(self) -> int:
        """How many runs the suite has: training, then timing."""
        training = sum(len(self.seeds_of(arm)) * len(self.runs_on(arm)) for arm in self.arms)
        if self.timing is None:
            return training
        timed = self.timing.arms or list(self.arms)
        of_tasks = sum(len(self.runs_on(arm)) for arm in timed)
        of_cells = sum(len(cell.arms or timed) for cell in self.timing.cells.values())
        return training + self.timing.repeats * (of_tasks + of_cells)

    @model_validator(mode="after")
    def _seeds_fit_the_purpose(self) -> Suite:
        allowed = TUNING_SEEDS if self.tuning else EVALUATION_SEEDS
        for seed in self.seeds:
            if seed not in allowed:
                kind = "a tuning" if self.tuning else "an evaluation"
                raise ValueError(f"seeds: {seed}: a seed of {kind} suite lies in {allowed.start}..{allowed.stop - 1}")
            if self.seeds.count(seed) > 1:
                raise ValueError(f"seeds: {seed}: listed more than once; each seed is one run of each arm")
        return self


def _known(place: str, labels: Sequence[str], known: Collection[str], what: str) -> None:
    for label in labels:
        if label not in known:
            raise ValueError(f"{place}: {label}: no {what}; {nearest(label, known)}")
        if labels.count(label) > 1:
            raise ValueError(f"{place}: {label}: listed more than once")

"""Suites and runs as data: a suite is what a user writes, a run is one arm x task x seed of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from ppo_vs_grpo.algorithms.shared.config import EvalConfig, Frozen, TrainConfig
from ppo_vs_grpo.benchmarks.records.folder import Purpose, run_key
from ppo_vs_grpo.tasks.errors import nearest

PROTOCOL = 1
"""Version of what a run measures and how; results of two versions are never mixed."""

EVALUATION_SEEDS = range(0, 1000)
TUNING_SEEDS = range(1000, 2000)

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]*$")]
"""A name that becomes part of a folder's: letters, digits, `_`, `+`, `-`."""


class TaskChoice(Frozen):
    """A task by name or by `package.module:Class`, with the constructor options it is made with."""

    task: str
    options: dict[str, Any] = Field(default_factory=dict)


class Arm(Frozen):
    """An algorithm with its own settings, and the shared ones in which this arm declares a difference.

    It runs on the `tasks` of these labels, or on all.
    """

    algorithm: str
    config: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    tasks: list[Label] | None = Field(None, min_length=1)


class SpeedCell(TaskChoice):
    """Work that only the clock sees: a task with a start model and shared settings of its own.

    Only the `arms` of these labels do it, or those of the timing pass.
    """

    start: str
    train: dict[str, Any] = Field(default_factory=dict)
    arms: list[Label] | None = Field(None, min_length=1)

    @property
    def choice(self) -> TaskChoice:
        """The task alone."""
        return TaskChoice(task=self.task, options=self.options)


class Timing(Frozen):
    """The pass that measures wall-clock and memory: each arm x task alone on the idle machine, `repeats` times.

    Only the `arms` of these labels are timed, or all. `cells` are timed beside the tasks, and nothing is learned there.
    """

    updates: int = Field(12, ge=1)
    warmup_updates: int = Field(3, ge=0)
    repeats: int = Field(2, ge=1)
    arms: list[Label] | None = Field(None, min_length=1)
    cells: dict[Label, SpeedCell] = Field(default_factory=dict)


class Throughput(Frozen):
    """Short runs of an arm on the suite's first task: how many an hour, as many at a time as each of `slots` says."""

    arm: Label
    slots: list[Annotated[int, Field(ge=1)]] = Field(min_length=2)
    runs: int = Field(4, ge=1)
    completions: int = Field(3200, ge=1)
    repeats: int = Field(2, ge=1)


class ProbeConfig(Frozen):
    """Measurements of the policy at the start, the middle and the end of a run, outside of training time.

    Gradient noise on `prompts` groups of completions, its direction against `reference_prompts` other groups; value and
    baselines by `continuations` fresh completions from each of the prompts and from `prefixes` places of each
    completion.
    """

    prompts: int = Field(16, ge=2)
    reference_prompts: int = Field(48, ge=2)
    continuations: int = Field(8, ge=2)
    prefixes: int = Field(2, ge=1)


class Attribution(Frozen):
    """Four arms, by their labels, that cross two baselines with two sets of everything else.

    `ppo` and `grpo_value` have the learned value, `ppo_group` and `grpo` the mean of the group; the name's first
    half says whose details the arm has otherwise.
    """

    ppo: Label
    ppo_group: Label
    grpo_value: Label
    grpo: Label


class Cells(Frozen):
    """Where a measure is read: of one arm, or of the second against the first, over tasks."""

    arms: list[Label] = Field(min_length=1, max_length=2)
    tasks: list[Label] = Field(min_length=1)


class Dial(Frozen):
    """A setting over which a claim's measure is drawn, not tested: each point's cells, by what the axis calls it."""

    setting: str
    points: dict[str, Cells] = Field(min_length=2)


class Claim(Cells):
    """A hypothesis about the source text, declared before its runs.

    The source `says` something; `here` is what is tested of it: that `measure`, one of `claims.MEASURES`, lies on this
    `side` of `than`. Within `margin` of `than` (a factor where the measure is a ratio) it counts as equal to it, which
    refutes the claim.
    """

    says: str
    here: str
    measure: str
    side: Literal["above", "below"]
    than: float
    margin: float = Field(gt=0)
    dial: Dial | None = None


class Suite(Frozen):
    """A comparison as its YAML file states it. `tasks` and `arms` map labels to choices.

    A list of names stands for a mapping of each name to itself, a number of seeds for the first so many.
    """

    name: Label
    description: str = ""
    start: str = "nano"
    tasks: dict[Label, TaskChoice] = Field(min_length=1)
    arms: dict[Label, Arm] = Field(min_length=1)
    tuning: bool = False
    seeds: list[int] = Field(min_length=1)
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    timing: Timing | None = Timing()
    throughput: Throughput | None = None
    attribution: Attribution | None = None
    probes: ProbeConfig | None = None
    claims: dict[Label, Claim] = Field(default_factory=dict)

    @field_validator("seeds", mode="before")
    @classmethod
    def _a_count_is_a_range(cls, seeds: Any, info: Any) -> Any:
        if not isinstance(seeds, int):
            return seeds
        first = TUNING_SEEDS.start if info.data.get("tuning") else EVALUATION_SEEDS.start
        if isinstance(seeds, bool) or seeds < 1:
            raise ValueError("should be a list of seeds, or how many: at least 1")
        return list(range(first, first + seeds))

    @field_validator("attribution", mode="after")
    @classmethod
    def _arms_are_there(cls, cells: Attribution | None, info: Any) -> Attribution | None:
        for cell, label in cells or ():
            if label not in info.data.get("arms", {label: None}):
                known = ", ".join(info.data["arms"])
                raise ValueError(f"{cell}: {label}: no arm of this suite; its arms are {known}")
        return cells

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
        for name, claim in self.claims.items():
            points = claim.dial.points if claim.dial else {}
            for place, cells in {"": claim, **{f"dial.points.{at}.": cells for at, cells in points.items()}}.items():
                _known(f"claims.{name}.{place}arms", cells.arms, self.arms, "arm of this suite")
                for label in cells.arms:
                    _known(
                        f"claims.{name}.{place}tasks", cells.tasks, self.runs_on(label), f"task that {label} runs on"
                    )
        return self

    def runs_on(self, arm: str) -> list[str]:
        """The labels of the tasks on which an arm runs, in the suite's order."""
        chosen = self.arms[arm].tasks
        return [task for task in self.tasks if chosen is None or task in chosen]

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


class RunSpec(Frozen):
    """Everything one process needs to train one arm on one task with one seed.

    `purpose` is "train" for the comparison and "timing" for the pass on the idle machine, whose
    repeats are told apart by `seed` and whose budget is the warm-up and the measured updates.
    `config` is the algorithm's resolved settings.
    """

    suite: str
    protocol: int = PROTOCOL
    purpose: Purpose = "train"
    arm: str
    algorithm: str
    config: dict[str, Any]
    task: str
    task_choice: TaskChoice
    task_data: str
    start: str
    start_hash: str
    seed: int
    tuning: bool
    train: TrainConfig
    eval: EvalConfig
    timing: Timing | None = None
    probes: ProbeConfig | None = None

    @property
    def cfg8(self) -> str:
        """Eight hex digits of everything that changes a result except the seed."""
        names: dict[str, Any] = dict.fromkeys(("suite", "seed", "arm", "task", "start"), True)
        fields = self.model_dump(mode="json", exclude=names | {"timing": {"repeats", "arms", "cells"}})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def key(self) -> str:
        """The run's folder name."""
        return run_key(self.purpose, self.arm, self.task, self.seed, self.cfg8)

    @property
    def identity(self) -> dict[str, Any]:
        """Who the run is, as its manifest has it."""
        names = ("key", "suite", "purpose", "arm", "algorithm", "task", "seed", "cfg8", "protocol")
        return {name: getattr(self, name) for name in names}

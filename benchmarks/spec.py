"""Suites and runs as data: a suite is what a user writes, a run is one arm x task x seed of it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from ppo_vs_grpo.algorithms.shared.config import EvalConfig, Frozen, TrainConfig

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
    """An algorithm with its own settings, and the shared ones in which this arm declares a difference."""

    algorithm: str
    config: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)


class Timing(Frozen):
    """The pass that measures wall-clock and memory: each arm x task alone on the idle machine, twice."""

    updates: int = Field(12, ge=1)
    warmup_updates: int = Field(3, ge=0)


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
    attribution: Attribution | None = None
    probes: ProbeConfig | None = None

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
    def _seeds_fit_the_purpose(self) -> Suite:
        allowed = TUNING_SEEDS if self.tuning else EVALUATION_SEEDS
        for seed in self.seeds:
            if seed not in allowed:
                kind = "a tuning" if self.tuning else "an evaluation"
                raise ValueError(f"seeds: {seed}: a seed of {kind} suite lies in {allowed.start}..{allowed.stop - 1}")
            if self.seeds.count(seed) > 1:
                raise ValueError(f"seeds: {seed}: listed more than once; each seed is one run of each arm")
        return self


class RunSpec(Frozen):
    """Everything one process needs to train one arm on one task with one seed.

    `purpose` is "train" for the comparison and "timing" for the pass on the idle machine, whose
    repeats are told apart by `seed` and whose budget is the warm-up and the measured updates.
    `config` is the algorithm's resolved settings.
    """

    suite: str
    protocol: int = PROTOCOL
    purpose: Literal["train", "timing"] = "train"
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
        fields = self.model_dump(mode="json", exclude={"suite", "seed", "arm", "task", "start"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def key(self) -> str:
        """The run's folder name."""
        repeat = "r" if self.purpose == "timing" else "s"
        return f"{self.arm}.{self.task}.{repeat}{self.seed}.{self.cfg8}"

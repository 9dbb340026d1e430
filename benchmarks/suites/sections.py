"""The sections of a suite: tasks, arms, timing, throughput, claims, evaluation, checkpoints, limits, tuning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ppo_vs_grpo.algorithms.shared.config import Frozen

LABEL = r"^[A-Za-z0-9][A-Za-z0-9_+-]*$"

Label = Annotated[str, StringConstraints(pattern=LABEL)]
"""A name that becomes part of a folder's: letters, digits, `_`, `+`, `-`."""


NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"

SuiteName = Annotated[str, StringConstraints(pattern=NAME)]
"""A suite's name, a folder's: as a label, and with dots, since models are called by sizes such as 0.5b."""


class TaskChoice(Frozen):
    """A task by name or by `package.module:Class`, with the constructor options it is made with."""

    task: str
    options: dict[str, Any] = Field(default_factory=dict)


class SuiteTask(TaskChoice):
    """A task of a suite. It may have a start model and shared settings of its own: then it is the suite's comparison
    on another model, such as a larger one.
    """

    start: str | None = None
    train: dict[str, Any] = Field(default_factory=dict)

    @property
    def choice(self) -> TaskChoice:
        """The task alone."""
        return TaskChoice(task=self.task, options=self.options)


class Arm(Frozen):
    """An algorithm with its own settings, and the shared ones in which this arm declares a difference.

    It runs on the `tasks` of these labels, or on all, with the first so many of the suite's `seeds`, or with all.
    """

    algorithm: str
    config: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    tasks: list[Label] | None = Field(None, min_length=1)
    seeds: int | None = Field(None, ge=1)


class SpeedCell(SuiteTask):
    """Work that only the clock sees. Only the `arms` of these labels do it, or those of the timing pass."""

    start: str
    arms: list[Label] | None = Field(None, min_length=1)


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


class Attribution(Frozen):
    """Four arms, by their labels, that cross two baselines with two sets of everything else.

    `ppo` and `grpo_value` have the learned value, `ppo_group` and `grpo` the mean of the group; the name's first
    half says whose details the arm has otherwise.
    """

    ppo: Label
    ppo_group: Label
    grpo_value: Label
    grpo: Label


class Scope(Frozen):
    """The runs that a measure is read from: those of one arm, or of the second against the first, on these tasks."""

    arms: list[Label] = Field(min_length=1, max_length=2)
    tasks: list[Label] = Field(min_length=1)


class Dial(Frozen):
    """A setting over which a claim's measure is drawn, not tested: each point's scope, by its label on the axis."""

    setting: str
    points: dict[str, Scope] = Field(min_length=2)


class Claim(Scope):
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


class EvalConfig(Frozen):
    """Held-out evaluation: `points` of them, evenly spaced over the budget, first and last included."""

    prompts: int = Field(256, ge=1)
    samples: int = Field(4, ge=1)
    points: int = Field(11, ge=2)
    transcripts: int = Field(20, ge=0)


class Checkpoints(Frozen):
    """When a training run keeps what it needs to go on after a kill: after so many `updates` or `minutes` since the
    last time, whichever comes first. Null never comes.

    They are removed when the run ends, unless `keep`. They change no number and no key of a run. Runs of the timing
    pass and of peers have none.
    """

    updates: int | None = Field(None, ge=1)
    minutes: float | None = Field(5.0, gt=0)
    keep: bool = False


class Limits(Frozen):
    """When the runner ends a run, which has then failed: after `silent_minutes` without a sign of life, or after
    `minutes` of this attempt. Null never comes.

    They change no number and no key of a run.
    """

    silent_minutes: float | None = Field(60.0, gt=0)
    minutes: float | None = Field(None, gt=0)


class TrialRecord(Frozen):
    """A trial of `tune`: the settings that differ from the arm's own, whether they were drawn at random, and by task
    the final pass rate on tuning's prompts, a mean over tuning's seeds. A run that diverged counts as 0; where a run
    failed there are no scores."""

    trial: str
    random: bool
    settings: dict[str, Any]
    status: str
    scores: dict[str, float]
    completions: int = Field(ge=0)


class Tuned(Frozen):
    """Where the arms' settings come from: `trials` of each arm, what all of them took, a hash of their runs.

    `arms` has each arm's trials, the first with its own settings. `starts` are the start model's pass rates by task,
    `importances` the shares of the scores' variance that come with each setting alone.
    """

    trials: int = Field(ge=1)
    completions: int = Field(ge=0)
    train_s: float = Field(ge=0)
    sha256: str
    starts: dict[str, float] = Field(default_factory=dict)
    arms: dict[str, list[TrialRecord]] = Field(default_factory=dict)
    importances: dict[str, dict[str, float]] = Field(default_factory=dict)

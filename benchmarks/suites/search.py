"""The space in which `tune` looks for an arm's settings: a suite's section `search`, and what is sought without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from ppo_vs_grpo.algorithms.shared.config import Frozen, TrainConfig
from ppo_vs_grpo.benchmarks.suites.sections import Arm, Label
from ppo_vs_grpo.tasks.errors import UserError

AROUND = 8.0
"""A learning rate is sought from an eighth of the arm's own to eight times it, on a logarithmic scale."""

CLIP = "train.clip"
"""Stands for clip_low and clip_high together."""

GROUP = "train.group_size"
"""Changes prompts_per_update with it, so that an update has as many completions as before."""

BUDGET = ("train.completions", "train.prompts_per_update", "train.max_new_tokens", "train.temperature", "train.chat")
"""What an arm may not choose: then one would have more than another, or would be asked something else."""


class Range(Frozen):
    """Numbers between two positive ends, on a logarithmic scale."""

    low: float = Field(gt=0)
    high: float = Field(gt=0)

    @model_validator(mode="after")
    def _ends_are_in_order(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low: {self.low:g}: should be below high, which is {self.high:g}")
        return self


Choice = Annotated[list[Any], Field(min_length=2)]

Space = dict[str, Range | Choice]
"""By key, as `train.learning_rate` or `config.critic.learning_rate`, what it may be."""

Point = Mapping[str, Any]
"""By key of a space one value."""


class Search(Frozen):
    """How `tune` looks for settings. Trials of every arm have the same `seeds` and `completions` (else the suite's).

    An arm whose label is in `space` has that space, any other the one of `default_space`.
    """

    completions: int | None = Field(None, ge=1)
    seeds: int = Field(1, ge=1, le=1000)
    space: dict[Label, Space] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _spaces_can_be_searched(self) -> Search:
        for label, space in self.space.items():
            if not space:
                raise ValueError(f"space.{label}: nothing to search; name a key, as in train.learning_rate")
            for key in space:
                if key in BUDGET:
                    raise ValueError(f"space.{label}.{key}: the same for every arm and trial; name another key")
                if not key.startswith(("train.", "config.")):
                    raise ValueError(f"space.{label}.{key}: should begin with train. or config.")
        return self


def default_space(config: Mapping[str, Any], train: TrainConfig) -> Space:
    """What is sought where a suite does not say: the settings in which published recipes differ.

    `config` and `train` are the arm's own settings with every default. They lie in the space.
    """
    batch = train.batch_completions
    space: Space = {
        "train.learning_rate": _around(train.learning_rate),
        "train.beta": _with([0.0, 0.003, 0.03], train.beta),
        "train.epochs": _with([1, 2], train.epochs),
        "train.mini_batches": _with([1, 2, 4], train.mini_batches),
        CLIP: _with([0.1, 0.3], train.clip_high),
    }
    if train.group_size > 1:
        space[GROUP] = _with([size for size in (4, 8, 16) if batch % size == 0], train.group_size)
    if critic := config.get("critic"):
        ratio = critic.get("learning_rate_ratio")
        key = "learning_rate" if ratio is None else "learning_rate_ratio"
        space[f"config.critic.{key}"] = _around(critic[key])
    if "lam" in config:
        space["config.lam"] = _with([0.9, 0.99, 1.0], config["lam"])
    return {key: values for key, values in space.items() if isinstance(values, Range) or len(values) > 1}


def default_point(space: Space, config: Mapping[str, Any], train: TrainConfig) -> Point:
    """The arm's own settings as a point of the space. A key whose own value is outside is left out."""
    own = {key: _own(key, config, train) for key in space}
    return {key: value for key, value in own.items() if _has(space[key], value)}


def placed(arm: Arm, point: Point, train: TrainConfig, where: str) -> Arm:
    """The arm with the settings of a point; `train` are its own. Raises UserError, which begins with `where`."""
    changed: dict[str, Any] = {"train": dict(arm.train), "config": dict(arm.config)}
    for key, value in point.items():
        if key == CLIP:
            changed["train"] |= {"clip_low": value, "clip_high": value}
            continue
        if key == GROUP:
            if train.batch_completions % value:
                raise UserError(
                    f"{where}.{key}: {value}: does not divide an update's {train.batch_completions} completions"
                )
            changed["train"]["prompts_per_update"] = train.batch_completions // value
        _put(changed, key.split("."), value)
    return arm.model_copy(update=changed)


def _put(place: dict[str, Any], path: list[str], value: Any) -> None:
    first, *rest = path
    if not rest:
        place[first] = value
        return
    place[first] = dict(place.get(first) or {})
    _put(place[first], rest, value)


def _own(key: str, config: Mapping[str, Any], train: TrainConfig) -> Any:
    if key == CLIP:
        return train.clip_high if train.clip_low == train.clip_high else None
    value: Any = {"train": train.model_dump(), "config": config}
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _has(values: Range | list[Any], value: Any) -> bool:
    if isinstance(values, Range):
        return isinstance(value, int | float) and values.low <= value <= values.high
    return value in values


def _around(value: float) -> Range:
    return Range(low=value / AROUND, high=value * AROUND)


def _with(values: list[Any], own: Any) -> list[Any]:
    return sorted({*values, own})

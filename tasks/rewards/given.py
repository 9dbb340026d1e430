"""What a suite's `reward` may be, and the rewards that it asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from ppo_vs_grpo.tasks.errors import UserError, nearest
from ppo_vs_grpo.tasks.options import finite
from ppo_vs_grpo.tasks.rewards.base import NOTES, Reward
from ppo_vs_grpo.tasks.rewards.functions import Function, Mathematics, checked_place
from ppo_vs_grpo.tasks.rewards.guard import Guard
from ppo_vs_grpo.tasks.rewards.labels import read_labels
from ppo_vs_grpo.tasks.rewards.models import model_reward, preference_reward
from ppo_vs_grpo.tasks.rewards.rules import RULES, Ruled
from ppo_vs_grpo.tasks.rewards.worker import SCORING_BYTES, Place, Worker

MATH = "math"
ON_ERROR = ("raise", "skip")
TAKEN = ("mean", "std", "std_within_group", "gold")
"""Names of columns of the records, `reward_` before them, that no part may have."""


def weighted_rewards(given: Any, limit_s: Any, on_error: Any) -> list[tuple[Reward, float]]:
    """The rewards and their weights. Functions share one process. Raises UserError."""
    guard = guard_of(limit_s, on_error)
    listed = given if isinstance(given, list | tuple) else [given]
    if not listed:
        raise UserError("options.reward: the list is empty; name a reward")
    found = [_weighted(each, guard, alone=len(listed) == 1) for each in listed]
    names = [reward.name for reward, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"options.reward: {name!r} is there twice; give each a `name` of its own")
    return found


def guard_of(limit_s: Any, on_error: Any) -> Guard:
    """The guard of a task's options `limit_s` and `on_error`, with a process of its own. Raises UserError."""
    if isinstance(limit_s, bool) or not isinstance(limit_s, Real) or not 0 < float(limit_s) < math.inf:
        raise UserError(f"options.limit_s: {limit_s!r}: should be the seconds that a reward may take for a completion")
    if on_error not in ON_ERROR:
        raise UserError(f"options.on_error: {on_error!r}: should be raise or skip")
    return Guard(Worker(), float(limit_s), on_error == "skip")


def _weighted(given: Any, guard: Guard, alone: bool) -> tuple[Reward, float]:
    if isinstance(given, str):
        given = {"reward": given}
    if not isinstance(given, Mapping):
        raise UserError(f"options.reward: {given!r}: should be a name, a mapping or a list of mappings")
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        raise UserError(f"options.reward: {dict(given)!r}: should have exactly one of the keys {', '.join(KINDS)}")
    make, keys = KINDS[kinds[0]]
    for key in given:
        if key not in (*kinds, *keys, "weight", "name"):
            raise UserError(f"options.reward.{key}: unknown; {nearest(key, (*kinds, *keys, 'weight', 'name'))}")
    weight = finite("reward.weight", given.get("weight", 1.0))
    return make({key: value for key, value in given.items() if key != "weight"}, guard, alone), weight


def _labels(given: Mapping[str, Any], guard: Guard, alone: bool) -> Reward:
    return read_labels(_name(given, "labels"), given, needed=alone)


def _model(given: Mapping[str, Any], guard: Guard, alone: bool) -> Reward:
    return model_reward(_name(given, "model"), given)


def _preferences(given: Mapping[str, Any], guard: Guard, alone: bool) -> Reward:
    return preference_reward(_name(given, "preferences"), given)


def _rule_or_function(given: Mapping[str, Any], guard: Guard, alone: bool) -> Reward:
    asked, options = given["reward"], given.get("options", {})
    if not isinstance(asked, str):
        raise UserError(f"options.reward: {asked!r}: should be the name of a rule or a function")
    if asked in (*RULES, MATH):
        if options:
            raise UserError(f"options.reward.options: the rule {asked!r} has none")
        name = _name(given, asked)
        return Mathematics(name, guard.limit_s, Worker(SCORING_BYTES)) if asked == MATH else Ruled(name, asked)
    if ":" not in asked and "." not in asked:
        raise UserError(
            f"options.reward: unknown {asked!r}; {nearest(asked, (*RULES, MATH))}, or 'package.module:function' or "
            "'file.py:function' for your own"
        )
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise UserError(f"options.reward.options: {options!r}: should be a mapping, with which the function is called")
    place = checked_place(asked)
    return Function(_name(given, place.rpartition(":")[2]), Place(place, dict(options)), guard)


def _name(given: Mapping[str, Any], default: str) -> str:
    name = given.get("name", default)
    if not isinstance(name, str) or not name.isidentifier() or name in (*NOTES, *TAKEN):
        raise UserError(
            f"options.reward.name: {name!r}: should be letters, digits and _, and none of {', '.join((*NOTES, *TAKEN))}"
        )
    return name


KINDS: dict[str, tuple[Callable[[Mapping[str, Any], Guard, bool], Reward], tuple[str, ...]]] = {
    "reward": (_rule_or_function, ("options",)),
    "model": (_model, ("template", "device", "dtype", "batch", "max_tokens")),
    "labels": (_labels, ("match",)),
    "preferences": (_preferences, ("base", "epochs", "learning_rate", "device", "batch", "max_tokens")),
}
"""Kinds of rewards by their key: what makes one, told whether it is the only one, and its further keys."""

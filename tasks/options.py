"""Checks of a task's constructor options. Each returns the option, or raises UserError that says what is right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from ppo_vs_grpo.tasks.errors import UserError, nearest


def whole_number(option: str, value: Any, low: int, high: int) -> int:
    """A whole number from low to high, both included. True and 3.0 are not whole numbers."""
    if type(value) is not int or not low <= value <= high:
        raise _wrong(option, value, f"a whole number from {low} to {high}")
    return value


def share(option: str, value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise _wrong(option, value, "a number from 0 to 1")
    return float(value)


def flag(option: str, value: Any) -> bool:
    """True or False."""
    if type(value) is not bool:
        raise _wrong(option, value, "true or false")
    return value


def finite(option: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise _wrong(option, value, "a finite number")
    return float(value)


def text(option: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(option, value, "a text")
    return value


def texts(option: str, value: Any) -> tuple[str, ...]:
    """A list of texts, none of them empty."""
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
        raise _wrong(option, value, "a list of texts")
    return tuple(value)


def shares(option: str, value: Any, names: Iterable[str]) -> dict[str, float]:
    """A mapping of some of `names` to shares that sum to 1. A missing name has share 0."""
    known = list(names)
    if not isinstance(value, Mapping):
        raise _wrong(option, value, f"a mapping of {', '.join(known)} to shares that sum to 1")
    for name in value:
        if name not in known:
            raise UserError(f"options.{option}.{name}: unknown; {nearest(name, known)}")
    parts = {name: share(f"{option}.{name}", value.get(name, 0.0)) for name in known}
    if abs(sum(parts.values()) - 1) > 1e-6:
        raise _wrong(option, dict(value), f"shares that sum to 1, not to {sum(parts.values()):g}")
    return parts


def _wrong(option: str, value: Any, right: str) -> UserError:
    return UserError(f"options.{option}: {value!r}: should be {right}")

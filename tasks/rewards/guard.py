"""Calls of functions that may fail: in a child process, within a time limit, with the culprit named or left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import shown
from ppo_vs_grpo.tasks.rewards.base import Rated, RatingError, place_of
from ppo_vs_grpo.tasks.rewards.worker import FailedCall, Place, Worker

Row = tuple[Problem, str, Sequence[int]]
"""A problem, its completion and the completion's tokens."""

Arguments = Callable[[Sequence[Row]], Mapping[str, Any]]
Read = Callable[[Any], Rated]


@dataclass(frozen=True, slots=True)
class Guard:
    """How functions are called: by which worker, seconds a completion, and whether failures are left out or raised."""

    worker: Worker
    limit_s: float
    skips: bool

    def rate(self, name: str, function: Place, rows: Sequence[Row], arguments: Arguments, read: Read) -> list[Rated]:
        """The ratings of rows by a function; `read` makes one of each value, or raises FailedCall.

        All rows are asked together. If that fails, each is asked alone, which finds the culprit. RatingError names it;
        a guard that skips gives it no reward, and every row the note `reward_error`.
        """
        if not rows:
            return []
        asked = _Asked(self, function, arguments, read)
        whole = None
        try:
            found: Iterator[Rated | FailedCall] = iter(asked.together(rows))
        except FailedCall as error:
            whole, found = error, (asked.alone(row) for row in rows)
        rated = []
        for got, (problem, text, _) in zip(found, rows, strict=True):
            if isinstance(got, FailedCall):
                if not self.skips:
                    raise RatingError(f"{place_of(name, problem, text)}: it {got}")
                got = Rated(None, {"reward_error": 1.0})
            elif self.skips:
                got = Rated(got.reward, {**got.parts, "reward_error": 0.0})
            rated.append(got)
        if whole is not None and not self.skips:
            first = place_of(name, *rows[0][:2])
            raise RatingError(f"{first} and {len(rows) - 1} more: it {whole}, for all together and for none alone")
        return rated


@dataclass(frozen=True, slots=True)
class _Asked:
    guard: Guard
    function: Place
    arguments: Arguments
    read: Read

    def together(self, rows: Sequence[Row]) -> list[Rated | FailedCall]:
        """The ratings of all rows. Raises FailedCall where it is not known whose fault it is."""
        limit_s = self.guard.limit_s * len(rows)
        values = self.guard.worker.call(self.function, self.arguments(rows), limit_s)
        if len(values) != len(rows):
            raise FailedCall(f"returned {len(values)} rewards for {len(rows)} completions")
        return [self._read(value) for value in values]

    def alone(self, row: Row) -> Rated | FailedCall:
        """The rating of one row, or why there is none."""
        try:
            return self.together([row])[0]
        except FailedCall as error:
            return error

    def _read(self, value: Any) -> Rated | FailedCall:
        try:
            return self.read(value)
        except FailedCall as error:
            return error


def reward_of(value: Any) -> float | None:
    """A function's value as a reward. Raises FailedCall where it is neither a finite number nor None."""
    if value is None:
        return None
    if not isinstance(value, bool | int | float):
        raise FailedCall(f"returned {shown(value)}, which is no number")
    if not math.isfinite(value):
        raise FailedCall(f"returned {value:g}; a reward is finite, or None where it does not apply")
    return float(value)

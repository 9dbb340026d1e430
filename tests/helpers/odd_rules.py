"""A rule that does what a completion says: hang where no signal is handled, raise, swallow memory, give no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def rule_of(swallowed_bytes: int) -> Callable[..., list[float]]:
    """The rule, called as those of Reasoning Gym."""
    odd: dict[str, Callable[[], Any]] = {
        "hang": lambda: 9**9**9**9,
        "raise": lambda: 1 / 0,
        "swallow": lambda: len(bytearray(swallowed_bytes)),
        "nan": lambda: float("nan"),
        "right": lambda: 1,
    }
    return lambda completion, entry: [float(odd[completion]())]

"""The attempts at a run: which runs begin again, and what a run keeps of the attempts before."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

RETRIED = "retried"
"""A file of a run that is tried again: how the attempts before ended. Each attempt's manifest says it too."""

Ended = Literal["failed", "diverged"]


class Retry(StrEnum):
    """Which runs that have an end begin again: those that failed, also those that diverged, or none."""

    failed = "failed"
    diverged = "diverged"
    none = "none"

    @property
    def ends(self) -> tuple[str, ...]:
        """The ends after which a run begins again."""
        return {"failed": ("failed",), "diverged": ("failed", "diverged"), "none": ()}[self.value]


def retried(run: Path) -> Ended | None:
    """How the attempts before a run's present one ended: "diverged" if any did. None for a first attempt."""
    path = run / RETRIED
    said = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    return "diverged" if said == "diverged" else "failed" if said else None

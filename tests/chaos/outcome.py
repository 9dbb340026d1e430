"""How one trial of the campaign ended, and what a part of the campaign adds up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Ending = Literal["survived", "named", "lost", "traceback", "wrong"]
"""A trial went on as if nothing had been; its cause was named in one message; work was lost that should not be; nobody
explained what happened; or another number came out and nothing said so."""

FAULTS: tuple[Ending, ...] = ("lost", "traceback", "wrong")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A trial, by name: its ending, and for a fault what was seen."""

    name: str
    ending: Ending
    seen: str = ""


def table(part: str, outcomes: Iterable[Outcome]) -> tuple[str, list[Outcome]]:
    """A row of the campaign's table, and the trials that ended in a fault."""
    ended = list(outcomes)
    counts = [sum(one.ending == ending for one in ended) for ending in ("survived", "named", *FAULTS)]
    return f"| {part} | {len(ended)} | " + " | ".join(map(str, counts)) + " |", [o for o in ended if o.ending in FAULTS]

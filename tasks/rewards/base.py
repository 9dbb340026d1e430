"""What every kind of reward is: something that rates completions, and says what it needs of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import shown

NOTES = {"parsed": min, "label_similarity": min, "reward_error": max}
"""Parts that are no reward, and which of several rewards' notes a sum keeps: the worst."""


class RatingError(RuntimeError):
    """A reward that cannot be learned from. The message names the reward, the prompt and the completion."""


@dataclass(frozen=True, slots=True)
class Rated:
    """The reward of a completion, None where none was applicable, and its named parts; a missing part is left out."""

    reward: float | None
    parts: Mapping[str, float] = field(default_factory=dict)


class Reward(Protocol):
    """One kind of reward. The parts of its ratings are notes (NOTES); the sum adds the reward by its name."""

    @property
    def name(self) -> str:
        """Its part, and what errors call it."""
        ...

    def rate(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Rated]:
        """The ratings of completions, one each. Raises RatingError."""
        ...

    def check(self, problems: Sequence[Problem]) -> None:
        """Raise UserError where a problem lacks what the reward reads."""
        ...

    def digest(self) -> str:
        """Text that changes whenever a rating can change: the name, and hashes of files that decide it."""
        ...


def place_of(name: str, problem: Problem, completion: str) -> str:
    """Which reward of what, for an error."""
    return f"reward {name}, prompt {shown(problem.prompt)}, completion {shown(completion)}"

"""A user's own task, outside the package, and things that look like one but are not."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Score


class Parity:
    """Say whether a number is even or odd. Its space of prompts is as large as `highest`."""

    name: ClassVar[str] = "parity"
    version: ClassVar[int] = 1
    max_new_tokens = 5
    best_score = 1.0

    def __init__(self, highest: int = 9999) -> None:
        if highest < 0:
            raise ValueError("highest must not be negative")
        self.highest = highest

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw a number."""
        n = int(rng.integers(self.highest + 1))
        return Problem(f"{n}:", {"answer": ("even", "odd")[n % 2]})

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Guess."""
        return ("even", "odd")[int(rng.integers(2))]

    def score(self, problem: Problem, completion: str) -> Score:
        """Score the word."""
        passed = completion == problem.facts["answer"]
        return Score(float(passed), passed)


class Open(Parity):
    """Takes any option."""

    def __init__(self, **options: int) -> None:
        super().__init__(options.get("highest", 9))


class NoTask:
    """Draws nothing."""

    name = "nothing"

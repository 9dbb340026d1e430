"""Arithmetic: easy, medium, hard and unsolvable prompts in one stream. Prompt heterogeneity, silent groups.

A three-digit number plus a two-digit one; the answer has three digits.

    easy        "347+20=" -> "367"    whole tens, nothing to carry: one column to add
    medium      "342+25=" -> "367"    nothing to carry: two columns to add
    hard        "348+27=" -> "375"    the units carry
    unsolvable  "?348+27="            the answer is drawn independently of the prompt
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.options import share, shares

ANSWERS = range(100, 1000)
"""All possible answers. That of an unsolvable prompt is drawn from them uniformly."""


def _column(rng: np.random.Generator) -> tuple[int, int]:
    """Two digits, the lower one not 0, that add up without a carry."""
    upper = lower = 9
    while upper + lower > 9:
        upper, lower = rng.integers((0, 1), 10).tolist()
    return upper, lower


def _easy(rng: np.random.Generator) -> tuple[int, int]:
    tens, added_tens = _column(rng)
    hundreds, units = rng.integers((1, 0), 10).tolist()
    return 100 * hundreds + 10 * tens + units, 10 * added_tens


def _medium(rng: np.random.Generator) -> tuple[int, int]:
    (tens, added_tens), (units, added_units) = _column(rng), _column(rng)
    return 100 * int(rng.integers(1, 10)) + 10 * tens + units, 10 * added_tens + added_units


def _hard(rng: np.random.Generator) -> tuple[int, int]:
    a = b = 0
    while a % 10 + b % 10 < 10:
        a, b = _any(rng)
    return a, b


def _any(rng: np.random.Generator) -> tuple[int, int]:
    a, b = rng.integers((100, 10), (900, 100)).tolist()
    return a, b


STRATA: dict[str, Callable[[np.random.Generator], tuple[int, int]]] = {
    "easy": _easy,
    "medium": _medium,
    "hard": _hard,
    "unsolvable": _any,
}


class Arithmetic:
    """Prompts of four strata in the shares of `mix`. The reward is 1 for exactly the answer, else 0.

    An unsolvable prompt says nothing about its answer: the same prompt may come again with another
    answer, and any policy passes it once in 900. `best_score` includes that luck. A demonstration is
    right with probability `demo_accuracy`; otherwise it has one wrong digit.
    """

    name: ClassVar[str] = "arithmetic"
    version: ClassVar[int] = 1
    max_new_tokens = 4

    def __init__(self, mix: Mapping[str, float] | None = None, demo_accuracy: float = 0.3) -> None:
        self.mix = shares("mix", dict.fromkeys(STRATA, 1 / len(STRATA)) if mix is None else mix, STRATA)
        self.demo_accuracy = share("demo_accuracy", demo_accuracy)
        unsolvable = self.mix["unsolvable"]
        self.best_score = 1 - unsolvable + unsolvable / len(ANSWERS)
        self._strata = [stratum for stratum, part in self.mix.items() if part > 0]
        self._bounds = np.cumsum([self.mix[stratum] for stratum in self._strata])[:-1]

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw a stratum by its share, then a prompt of it."""
        stratum = self._strata[int(np.searchsorted(self._bounds, rng.random(), side="right"))]
        a, b = STRATA[stratum](rng)
        if stratum == "unsolvable":
            return Problem(f"?{a}+{b}=", {"answer": ANSWERS[int(rng.integers(len(ANSWERS)))]}, stratum)
        return Problem(f"{a}+{b}=", {"answer": a + b}, stratum)

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write the answer, or with probability 1 - `demo_accuracy` the answer with one wrong digit."""
        written = str(problem.facts["answer"])
        if rng.random() < self.demo_accuracy:
            return written
        place = int(rng.integers(len(written)))
        wrong = (int(written[place]) + int(rng.integers(1, 10))) % 10
        return f"{written[:place]}{wrong}{written[place + 1 :]}"

    def score(self, problem: Problem, completion: str) -> Score:
        """Score 1 when the completion is the answer and nothing else."""
        passed = completion == str(problem.facts["answer"])
        formed = len(completion) == 3 and completion.isascii() and completion.isdigit()
        return Score(float(passed), passed, {"well_formed": float(formed)})

"""Recall: the reward depends on one early token and is paid `horizon` tokens later. Credit assignment.

Prompt "a3b7c1d4e9f0g5?b", a right answer "7.-_~~.-.._-": the value of the asked key, then any neutral
characters. They only separate the choice from its reward.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.options import share, whole_number

KEYS = "abcdefgh"
VALUES = "0123456789"
NEUTRAL = ".-_~"


class Recall:
    """The first `pairs` letters with different digits, one of which is asked. An answer has `horizon` characters.

    The reward is 1 if the first character is the asked value and exactly `horizon` - 1 neutral
    characters follow, else 0. The form counts so that the choice stays `horizon` tokens away from
    its reward. The warm start teaches the form, so nearly all the reward depends on the first
    character. A demonstration has the right value with probability `demo_accuracy`, otherwise
    another listed value, and random neutral characters.
    """

    name: ClassVar[str] = "recall"
    version: ClassVar[int] = 1
    best_score = 1.0

    def __init__(self, horizon: int = 12, pairs: int = 7, demo_accuracy: float = 0.22) -> None:
        self.horizon = whole_number("horizon", horizon, 1, 256)
        self.pairs = whole_number("pairs", pairs, 4, len(KEYS))
        self.demo_accuracy = share("demo_accuracy", demo_accuracy)
        self.max_new_tokens = self.horizon + 1

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw the values and the asked key."""
        values = "".join(VALUES[i] for i in rng.permutation(len(VALUES))[: self.pairs].tolist())
        asked = int(rng.integers(self.pairs))
        listed = "".join(key + value for key, value in zip(KEYS, values, strict=False))
        facts = {"value": values[asked], "others": values[:asked] + values[asked + 1 :]}
        return Problem(f"{listed}?{KEYS[asked]}", facts)

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write the asked value, or with probability 1 - `demo_accuracy` another listed one, and the neutral rest."""
        value: str = problem.facts["value"]
        others: str = problem.facts["others"]
        first = value if rng.random() < self.demo_accuracy else others[int(rng.integers(len(others)))]
        return first + "".join(NEUTRAL[i] for i in rng.integers(0, len(NEUTRAL), self.horizon - 1).tolist())

    def score(self, problem: Problem, completion: str) -> Score:
        """Score 1 when the first character is the asked value and the rest has the form."""
        value_right: bool = completion[:1] == problem.facts["value"]
        formed = len(completion) == self.horizon and completion[0] in VALUES and set(completion[1:]) <= set(NEUTRAL)
        passed = value_right and formed
        return Score(float(passed), passed, {"well_formed": float(formed), "value_right": float(value_right)})

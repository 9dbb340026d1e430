"""Sorting: put digits in order. The same problem with a dense or a sparse reward.

Prompt "516203049788:", answer "001234567889". Reward density is the option `graded`, sparsity the
option `length`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.options import flag, share, whole


class Sorting:
    """`length` digits, not all equal, to be written in ascending order.

    An answer passes when it is exactly sorted. The reward is the pass, or with `graded` the share
    of positions that hold the right digit, over the longer of answer and completion, so that
    too short and too long lose alike. A demonstration is right with probability `demo_accuracy`,
    else some neighbours among the sorted digits are swapped, one to three times.
    """

    name: ClassVar[str] = "sorting"
    version: ClassVar[int] = 1
    best_score = 1.0

    def __init__(self, length: int = 12, graded: bool = True, demo_accuracy: float = 0.05) -> None:
        self.length = whole("length", length, 4, 14)
        self.graded = flag("graded", graded)
        self.demo_accuracy = share("demo_accuracy", demo_accuracy)
        self.max_new_tokens = self.length + 1

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw digits that are not all equal: an order that cannot be wrong asks nothing."""
        digits = ""
        while len(set(digits)) < 2:
            digits = "".join(map(str, rng.integers(0, 10, self.length).tolist()))
        return Problem(f"{digits}:", {"answer": "".join(sorted(digits))})

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write the sorted digits, or with probability 1 - `demo_accuracy` nearly sorted ones."""
        answer: str = problem.facts["answer"]
        if rng.random() < self.demo_accuracy:
            return answer
        written = answer
        while written == answer:
            for i in rng.integers(0, self.length - 1, int(rng.integers(1, 4))).tolist():
                written = written[:i] + written[i + 1] + written[i] + written[i + 2 :]
        return written

    def score(self, problem: Problem, completion: str) -> Score:
        """Score the exact order, or with `graded` the share of positions right."""
        answer: str = problem.facts["answer"]
        passed = completion == answer
        right = sum(a == b for a, b in zip(answer, completion, strict=False)) / max(len(answer), len(completion))
        formed = len(completion) == len(answer) and completion.isascii() and completion.isdigit()
        parts = {"well_formed": float(formed), "positions_right": right}
        return Score(right if self.graded else float(passed), passed, parts)

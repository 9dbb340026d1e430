"""Sorting: put letters in alphabetical order. The same problem with a dense or a sparse reward.

Prompt "tkcaemzqbe:", answer "abceekmqtz". Reward density is the option `graded`, sparsity the
option `length`.
"""

from __future__ import annotations

from string import ascii_lowercase
from typing import ClassVar

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.options import flag, share, whole_number


class Sorting:
    """`length` letters, not all equal, to be written in alphabetical order.

    An answer passes if it is exactly sorted. The reward is the pass, or with `graded` the share
    of positions with the right letter, divided by the longer of answer and completion, so too
    short and too long answers lose equally. A demonstration is right with probability
    `demo_accuracy`; otherwise one to three swaps of neighbours disturb the sorted letters.
    """

    name: ClassVar[str] = "sorting"
    version: ClassVar[int] = 2
    best_score = 1.0

    def __init__(self, length: int = 10, graded: bool = True, demo_accuracy: float = 0.05) -> None:
        self.length = whole_number("length", length, 4, 14)
        self.graded = flag("graded", graded)
        self.demo_accuracy = share("demo_accuracy", demo_accuracy)
        self.max_new_tokens = self.length + 1

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw letters that are not all equal, since equal letters cannot be in a wrong order."""
        letters = ""
        while len(set(letters)) < 2:
            letters = "".join(ascii_lowercase[i] for i in rng.integers(0, 26, self.length))
        return Problem(f"{letters}:", {"answer": "".join(sorted(letters))})

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write the sorted letters, or with probability 1 - `demo_accuracy` nearly sorted ones."""
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
        formed = len(completion) == len(answer) and set(completion) <= set(ascii_lowercase)
        parts = {"well_formed": float(formed), "positions_right": right}
        return Score(right if self.graded else float(passed), passed, parts)

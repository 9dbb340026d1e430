"""Countdown: reach a target with given numbers. Sparse reward, several right answers.

Prompt "3,5,7=22:", a right answer "3*5+7". Every number is used exactly once, with + - * of the
usual precedence and no brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import permutations, product
from typing import ClassVar

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.options import share, whole_number

OPERATORS = "+-*"
HIGHEST_TARGET = 99

_FORM = re.compile(r"[1-9](?:[-+*][1-9])*")


class Countdown:
    """`numbers` digits from 1 to 9, and a target from 0 to 99 made by operators between them in this order.

    The reward is 1 for any expression that uses each number once, in any order, and reaches the
    target, else 0. A demonstration is drawn uniformly from the right expressions. With probability
    1 - `demo_accuracy` some of its operators are wrong.
    """

    name: ClassVar[str] = "countdown"
    version: ClassVar[int] = 1
    best_score = 1.0

    def __init__(self, numbers: int = 3, demo_accuracy: float = 0.7) -> None:
        self.numbers = whole_number("numbers", numbers, 3, 4)
        self.demo_accuracy = share("demo_accuracy", demo_accuracy)
        self.max_new_tokens = 2 * self.numbers

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw digits. The target is the value of a random expression of them."""
        digits = rng.integers(1, 10, self.numbers).tolist()
        target = -1
        while not 0 <= target <= HIGHEST_TARGET:
            target = evaluate(_join(digits, [OPERATORS[i] for i in rng.integers(0, 3, self.numbers - 1).tolist()]))
        return Problem(f"{','.join(map(str, digits))}={target}:", {"numbers": digits, "target": target})

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write a right expression with probability `demo_accuracy`, else one with wrong operators."""
        target = problem.facts["target"]
        right = [text for text, value in expressions(tuple(sorted(problem.facts["numbers"]))) if value == target]
        written = right[int(rng.integers(len(right)))]
        if rng.random() < self.demo_accuracy:
            return written
        while evaluate(written) == target:
            i = 2 * int(rng.integers(1, self.numbers)) - 1
            written = written[:i] + OPERATORS[int(rng.integers(3))] + written[i + 1 :]
        return written

    def score(self, problem: Problem, completion: str) -> Score:
        """Score 1 when the expression is well formed and reaches the target."""
        formed = is_expression_of(completion, problem.facts["numbers"])
        passed = formed and evaluate(completion) == problem.facts["target"]
        return Score(float(passed), passed, {"well_formed": float(formed)})


def is_expression_of(text: str, numbers: list[int]) -> bool:
    """Whether the text is digits joined by + - *, and the digits are the numbers in some order."""
    if len(text) != 2 * len(numbers) - 1 or not _FORM.fullmatch(text):
        return False
    return sorted(map(int, text[::2])) == sorted(numbers)


def evaluate(expression: str) -> int:
    """The value of digits joined by + - *, products first."""
    total, term = 0, int(expression[0])
    for operator, digit in zip(expression[1::2], expression[2::2], strict=True):
        if operator == "*":
            term *= int(digit)
        else:
            total, term = total + term, int(digit) if operator == "+" else -int(digit)
    return total + term


@cache  # at most 495 keys: the four-digit multisets
def expressions(numbers: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
    """Every different expression of the sorted numbers, with its value."""
    texts = {
        _join(order, operators)
        for order in set(permutations(numbers))
        for operators in product(OPERATORS, repeat=len(numbers) - 1)
    }
    return tuple((text, evaluate(text)) for text in sorted(texts))


def _join(digits: Iterable[int], operators: Iterable[str]) -> str:
    return "".join(digit + operator for digit, operator in zip(map(str, digits), (*operators, ""), strict=True))

"""Lengths: completions with a known distribution of lengths, to measure seconds and bytes. Nothing is learned.

Prompt "q%f 3;Lz", an answer of any characters. Its start model is not taught (`benchmarks/models/blank.py`): all
characters are about equally likely, and `mean_tokens` determines the probability of the end token.
"""

from __future__ import annotations

from string import ascii_lowercase
from typing import ClassVar

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.options import whole_number

CHARACTERS = "".join(map(chr, range(32, 127)))


class Lengths:
    """Completions of geometric length with mean `mean_tokens`, cut at `new_tokens`; with mean 0 all are cut there.

    The reward is the share of lower-case letters, so rewards differ within every group.
    """

    name: ClassVar[str] = "lengths"
    version: ClassVar[int] = 1
    best_score = 1.0

    def __init__(self, new_tokens: int = 64, mean_tokens: int = 0, prompt_tokens: int = 16) -> None:
        self.max_new_tokens = whole_number("new_tokens", new_tokens, 1, 1024)
        self.mean_tokens = whole_number("mean_tokens", mean_tokens, 0, 1024)
        self.prompt_tokens = whole_number("prompt_tokens", prompt_tokens, 1, 1024)

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw the characters of a prompt."""
        return Problem(_text(rng, self.prompt_tokens))

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write as many characters as a completion has; the end token is one more token."""
        tokens = self.max_new_tokens if self.mean_tokens == 0 else int(rng.geometric(1 / self.mean_tokens))
        return _text(rng, min(tokens, self.max_new_tokens) - 1)

    def score(self, problem: Problem, completion: str) -> Score:
        """Score the share of lower-case letters. A share above one half passes."""
        share = sum(character in ascii_lowercase for character in completion) / max(1, len(completion))
        return Score(share, share > 0.5)


def _text(rng: np.random.Generator, length: int) -> str:
    return "".join(CHARACTERS[i] for i in rng.integers(0, len(CHARACTERS), length).tolist())

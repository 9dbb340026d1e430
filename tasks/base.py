"""The interface of a task: it draws problems, demonstrates answers and scores completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Problem:
    """One question. The scorer reads `facts`; `stratum` names the difficulty class.

    A question that is a conversation has its `messages`, each a `role` and its `content`; `prompt` is then their text.
    """

    prompt: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    stratum: str = "all"
    messages: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """The training reward (None or NaN: missing), the reported pass, and the reward's named parts."""

    reward: float | None
    passed: bool
    parts: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """A source of problems with a rule that scores answers.

    A task draws one problem at a time. `tasks.splits` decides from the prompt's text which split
    a problem belongs to, so no task can leak training prompts into the held-out set. `version`
    changes whenever a prompt, demonstration or score changes. Every character of a prompt or a
    demonstration is printable ASCII.
    """

    max_new_tokens: int
    best_score: float

    @property
    def name(self) -> str:
        """Part of every random stream's seed."""
        ...

    @property
    def version(self) -> int:
        """Part of the seeds of problems and demonstrations."""
        ...

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw one problem."""
        ...

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write an answer for the warm start. It is well formed, but not always right."""
        ...

    def score(self, problem: Problem, completion: str) -> Score:
        """Score a completion, given without its end token."""
        ...

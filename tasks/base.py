"""The interface of a task: it draws problems or has rows of them, demonstrates answers and scores completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

Split = Literal["train", "validation", "heldout"]


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
    """What both kinds of tasks have: a rule that scores answers. The one kind draws its problems, the other has rows.

    `version` changes whenever a prompt, demonstration or score changes.
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

    def score(self, problem: Problem, completion: str) -> Score:
        """Score a completion, given without its end token."""
        ...


class DrawingTask(Task, Protocol):
    """A task that draws one problem at a time, without end.

    `tasks.splits` decides from the prompt's text which split a problem belongs to, so no task can leak training
    prompts into the held-out set. Every character of a prompt or a demonstration is printable ASCII.
    """

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw one problem."""
        ...

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write an answer for the warm start. It is well formed, but not always right."""
        ...


class RowTask(Task, Protocol):
    """A task whose problems are rows of data. It keeps its splits apart; `tasks.splits` shuffles them.

    It may have `demonstrate` as a task that draws; only the warm start of an embedded model asks for it.
    """

    def rows(self, split: Split) -> Sequence[Problem]:
        """All problems of a split, always in the same order. They are asked for often: read them once."""
        ...

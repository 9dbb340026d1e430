"""Rows whose answers the rewards cannot read: left out while they are few, refused where they are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, shown
from ppo_vs_grpo.tasks.partition import EXAMPLES, TOLERATED
from ppo_vs_grpo.tasks.rewards import Rewards


def without_unusable(problems: Sequence[Problem], rewards: Rewards, source: str) -> tuple[list[Problem], int]:
    """The problems that the rewards accept, and the number of the others.

    Raises UserError if the others are more than a share of TOLERATED; it has their rows, counted from 1, and answers.
    """
    allowed = int(TOLERATED * len(problems))
    wrong = dict(islice(_refused(problems, rewards, 0), max(allowed + 1, EXAMPLES)))
    if len(wrong) > allowed:
        named = islice(wrong, EXAMPLES)
        rows = ", ".join(f"row {at + 1}: {shown(_answer(problems[at]), BRIEF)}" for at in named)
        raise UserError(
            f"{next(iter(wrong.values()))}; {source} has {len(wrong)} such rows at least, of {len(problems)} ({rows}), "
            f"and {TOLERATED:.0%} may be left out"
        )
    return [problem for at, problem in enumerate(problems) if at not in wrong], len(wrong)


def _answer(problem: Problem) -> object:
    return problem.facts.get("answer_text", problem.facts.get("answer"))


def _refused(problems: Sequence[Problem], rewards: Rewards, first: int) -> Iterator[tuple[int, str]]:
    """The places of the problems that the rewards refuse, found by halves, with what they say; `first` is added."""
    try:
        rewards.check(problems)
    except UserError as error:
        if len(problems) == 1:
            yield first, str(error)
            return
        middle = len(problems) // 2
        yield from _refused(problems[:middle], rewards, first)
        yield from _refused(problems[middle:], rewards, first + middle)

"""Rewards of completions, whatever gives them: rules, functions, labels, models, and weighted sums. No torch.

base.py         what a reward is
given.py        what a suite may ask for
rules.py        rules that compare with a row's answer
functions.py    a user's or TRL's functions, and the rule `math`
mathematics.py  the rule `math`, in its process
labels.py       tables of labels
models.py       which model judges; benchmarks/models/reward.py loads it
guard.py        functions with a time limit, and whose fault a failure is
worker.py       the process of functions, as its parent sees it
child.py        the process of functions
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.rewards.base import NOTES, Rated, RatingError, Reward
from ppo_vs_grpo.tasks.rewards.given import weighted_rewards
from ppo_vs_grpo.tasks.rewards.models import ModelReward

__all__ = ["Rated", "RatingError", "Rewards", "make"]


class Rewards:
    """The weighted sum of rewards, each of which is a part by its name."""

    def __init__(self, weighted: Sequence[tuple[Reward, float]]) -> None:
        self.weighted = tuple(weighted)

    @property
    def names(self) -> tuple[str, ...]:
        """The rewards that are summed."""
        return tuple(reward.name for reward, _ in self.weighted)

    @property
    def models(self) -> tuple[ModelReward, ...]:
        """The rewards that need a model: whoever loads it sets their `judge` before the first rating."""
        return tuple(reward for reward, _ in self.weighted if isinstance(reward, ModelReward))

    def rate(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Rated]:
        """The ratings of completions: B problems, texts without end token, and tokens. Raises RatingError.

        A reward that does not apply is left out of the sum and of the parts. Notes stand beside the rewards:
        `parsed`, `label_similarity`, `reward_error`.
        """
        columns = [reward.rate(problems, completions, completion_ids) for reward, _ in self.weighted]
        return [self._sum([column[i] for column in columns]) for i in range(len(completions))]

    def check(self, problems: Sequence[Problem]) -> None:
        """Raise UserError where a row lacks what a reward reads. A task calls it once, with all its rows."""
        for reward, _ in self.weighted:
            reward.check(problems)

    def digest(self) -> str:
        """Text that changes whenever a rating can change. It belongs into what a run key is made of."""
        return "; ".join(f"{weight:g} * {reward.name} = {reward.digest()}" for reward, weight in self.weighted)

    def _sum(self, rated: Sequence[Rated]) -> Rated:
        parts: dict[str, float] = {}
        total: float | None = None
        for (reward, weight), one in zip(self.weighted, rated, strict=True):
            if one.reward is not None:
                parts[reward.name] = one.reward
                total = (total or 0.0) + weight * one.reward
            for note, value in one.parts.items():
                parts[note] = NOTES[note](parts.get(note, value), value)
        return Rated(total, parts)


def make(given: Any, limit_s: float = 30.0, on_error: str = "raise") -> Rewards:
    """The rewards that a suite's `reward` asks for.

    `given` is the name of a rule, a function as 'package.module:function' or 'file.py:function', a mapping of one kind
    ({reward: ...}, {model: ...}, {labels: ...}, {preferences: ...}), or a list of those, each with its `weight` and
    `name`, which are summed. A function has `limit_s` seconds a completion; one that fails raises RatingError, or with
    `on_error` 'skip' leaves the completion without this reward and with the note `reward_error` 1.
    Raises UserError for what is none of these.
    """
    return Rewards(weighted_rewards(given, limit_s, on_error))

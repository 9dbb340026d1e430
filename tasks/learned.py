"""A task whose training reward is that of a learned model, with the model's mistakes.

The reward model is taught from pairs of completions that are labelled, with noise, by the gold reward (Ouyang et al.
2022, arXiv 2203.02155; Gao et al. 2023, arXiv 2210.10760). Every score has the gold reward as its part `gold`, and
`passed` is the gold task's, so over-optimisation of the learned reward shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ppo_vs_grpo.tasks import make_gold
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.options import share, whole_number
from ppo_vs_grpo.tasks.rewards.models import Judge


class Learned:
    """The problems, demonstrations and passes of the gold `task` made with `options`, under a learned reward.

    The model is taught from the completions of `preferences` problems. Completion a wins over b with probability
    1 / (1 + exp((gold b - gold a) / `label_temperature`)) (Bradley and Terry 1952); at temperature 0 the better one
    always wins. `judge` is the model; a caller that has it sets it.

    `models` reward models are taught, each from its own problems, completions, labels and initial head. A run uses the
    one that its seed selects: paired runs share it, and seeds vary reward models as well as prompts.
    """

    name: ClassVar[str] = "learned"
    version: ClassVar[int] = 1

    def __init__(
        self,
        task: str = "sorting",
        options: Mapping[str, Any] | None = None,
        preferences: int = 2000,
        label_temperature: float = 0.1,
        models: int = 1,
    ) -> None:
        self.gold = make_gold(task, options)
        self.preferences = whole_number("preferences", preferences, 10, 100_000)
        self.label_temperature = share("label_temperature", label_temperature)
        self.models = whole_number("models", models, 1, 64)
        self.max_new_tokens, self.best_score = self.gold.max_new_tokens, self.gold.best_score
        self.judge: Judge | None = None

    def model_of(self, seed: int) -> int:
        """The number of the model that judges a run with this seed, 0 to `models` - 1."""
        return seed % self.models

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw a problem of the gold task."""
        return self.gold.draw(rng)

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Demonstrate as the gold task does."""
        return self.gold.demonstrate(problem, rng)

    def score(self, problem: Problem, completion: str) -> Score:
        """The gold score, from which the model is taught and against which it is measured."""
        return self.gold.score(problem, completion)

    def score_all(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]] = ()
    ) -> list[Score]:
        """The model's rewards in one pass, with the gold reward as a part.

        Raises ValueError if `judge` is not set.
        """
        if self.judge is None:
            raise ValueError("a learned reward needs its model: set `judge`")
        rewards = self.judge(problems, completions)
        golds = [self.gold.score(problem, text) for problem, text in zip(problems, completions, strict=True)]
        return [_rejudged(gold, reward) for gold, reward in zip(golds, rewards, strict=True)]


def _rejudged(gold: Score, reward: float) -> Score:
    own = float("nan") if gold.reward is None else gold.reward
    return replace(gold, reward=reward, parts={**gold.parts, "gold": own})

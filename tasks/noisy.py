"""A task with a noisy reward: the gold reward is sometimes flipped, or blurred, before training sees it.

Randomly flipped binary labels are the noise of Natarajan et al. 2013 ("Learning with noisy labels", NeurIPS). `passed`
and the part `gold` stay the gold task's, so the cost of the noise shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ppo_vs_grpo.tasks import make_gold
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.options import share
from ppo_vs_grpo.tasks.splits import rng


class Noisy:
    """The gold `task` made with `options`, under a noisy reward.

    With probability `flips` a reward r becomes 1 - r. Then a normal number with standard deviation `spread` is added.
    The noise depends only on prompt and completion: a run repeats bit for bit, all runs see the same noise, and a wrong
    label stays wrong. Labels that are wrong under a lower `flips` are also wrong under a higher one.

    Name and version are the gold task's, and so are all streams of problems and random numbers. Demonstrations, start
    model and prompts are those of the gold task, so two values of `flips` differ in nothing else.
    """

    def __init__(
        self,
        task: str = "recall",
        options: Mapping[str, Any] | None = None,
        flips: float = 0.1,
        spread: float = 0.0,
    ) -> None:
        self.gold = make_gold(task, options)
        self.flips, self.spread = share("flips", flips), share("spread", spread)
        self.name, self.version = self.gold.name, self.gold.version
        self.max_new_tokens, self.best_score = self.gold.max_new_tokens, self.gold.best_score

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw a problem of the gold task."""
        return self.gold.draw(rng)

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Demonstrate as the gold task does. Only the reward is noisy."""
        return self.gold.demonstrate(problem, rng)

    def score(self, problem: Problem, completion: str) -> Score:
        """The gold score with a noisy reward, and the gold reward as a part. A missing reward stays missing.

        Raises UserError if `flips` is not 0 and a reward is outside 0 to 1, where a flip has no meaning.
        """
        gold = self.gold.score(problem, completion)
        if gold.reward is None or np.isnan(gold.reward):
            return replace(gold, parts={**gold.parts, "gold": float("nan")})
        if self.flips and not 0 <= gold.reward <= 1:
            raise UserError(
                f"options.flips: {self.flips}: should be 0 for {self.gold.name!r}, whose rewards go beyond 0 to 1, as "
                f"{gold.reward:g} does; `spread` has no such limit"
            )
        stream = rng("noise", problem.prompt, completion)
        reward = 1 - gold.reward if stream.random() < self.flips else gold.reward
        reward += self.spread * float(stream.standard_normal())
        return replace(gold, reward=reward, parts={**gold.parts, "gold": gold.reward})

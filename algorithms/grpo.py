"""GRPO: the baseline is the mean reward of the completions of the same prompt.

Paper: Shao et al. 2024, arXiv 2402.03300: outcome supervision, a penalty for leaving the reference as
a term of the loss.

Differs from the paper in: the reference is the start model throughout, never refreshed between
iterations; the group's standard deviation is the unbiased one, as the libraries in use have it.
"""

from __future__ import annotations

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import group_relative
from ppo_vs_grpo.algorithms.shared.config import Frozen, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k3, sequence_mean
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
)


class GRPO:
    """Clipped surrogate, group-relative advantages, no critic, k3 in the loss, sequence mean."""

    name = "grpo"
    paper = "arXiv 2402.03300"
    needs_group = True

    class Config(Frozen):
        """What GRPO has of its own."""

        ddof: int = Field(1, ge=0, le=1)
        eps: float = Field(1e-4, gt=0)

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.critic = None

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A row's advantage is its reward relative to its group's, the same on each of its tokens."""
        c, rollouts = self.config, scored.rollouts
        advantages_B = group_relative(scored.rewards_B, rollouts.group_B, c.ddof, c.eps)
        return Advantages(advantages_B[:, None] * rollouts.mask_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate and the reference penalty, averaged over each completion, then over completions."""
        t = self.train
        policy_BT = clipped(output.logp_BT, batch.logp_old_BT, batch.advantages_BT, t.clip_low, t.clip_high)
        if batch.reference_logp_BT is not None:
            policy_BT = policy_BT + t.beta * k3(output.logp_BT, batch.reference_logp_BT)
        return LossOutput(
            policy=sequence_mean(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

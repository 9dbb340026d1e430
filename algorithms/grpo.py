"""GRPO: the baseline is the mean reward of the completions of the same prompt.

Paper: Shao et al. 2024, arXiv 2402.03300: outcome supervision, a penalty for leaving the reference as
a term of the loss.

Differs from the paper in: the reference is the start model throughout, never refreshed between
iterations; the group's standard deviation is the unbiased one, as the libraries in use have it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import group_relative
from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k3, k3_ratio, sequence_mean, token_ratio
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

    class Config(Frozen):
        """What GRPO has of its own."""

        ddof: int = Field(1, ge=0, le=1)
        eps: float = Field(1e-4, gt=0)
        scale: Literal["group", "batch", "none"] = "group"
        kl: Literal["k3", "k3_ratio"] = "k3"  # with the ratio its gradient is the reverse KL's, arXiv 2512.02556

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(group=True)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A row's advantage is its reward relative to its group's, the same on each of its tokens."""
        c, rollouts = self.config, scored.rollouts
        advantages_B = group_relative(scored.rewards_B, rollouts.group_B, c.ddof, c.eps, c.scale)
        return Advantages(advantages_B[:, None] * rollouts.mask_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate and the reference penalty, averaged over each completion, then over completions."""
        ratio_BT = token_ratio(output.logp_BT, batch.logp_old_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        if batch.reference_logp_BT is not None:
            if self.config.kl == "k3":
                kl_BT = k3(output.logp_BT, batch.reference_logp_BT)
            else:
                kl_BT = k3_ratio(output.logp_BT, batch.logp_old_BT, batch.reference_logp_BT)
            policy_BT = policy_BT + self.train.beta * kl_BT
        return LossOutput(
            policy=sequence_mean(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

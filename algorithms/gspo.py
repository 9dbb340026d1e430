"""GSPO: GRPO whose ratio is the whole completion's.

Paper: Zheng et al. 2025, arXiv 2507.18071: the ratio is the geometric mean of the tokens' (eq. 7), clipped once per
completion (eq. 5), at 3e-4 below and 4e-4 above unless the arm sets other bounds.

Differs from the paper in: the reference penalty, which the paper leaves out for brevity, is GRPO's.
"""

from __future__ import annotations

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import group_relative
from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k3, mean_sequence_ratio, sequence_mean
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
)


class GSPO:
    """Clipped surrogate of the completion's ratio, group-relative advantages, no critic, k3 in the loss."""

    name = "gspo"
    paper = "arXiv 2507.18071"

    class Config(Frozen):
        """What GSPO has of its own."""

        ddof: int = Field(1, ge=0, le=1)
        eps: float = Field(1e-4, gt=0)

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(group=True)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A row's advantage is its reward relative to its group's, the same on each of its tokens."""
        c, rollouts = self.config, scored.rollouts
        advantages_B = group_relative(scored.rewards_B, rollouts.group_B, c.ddof, c.eps)
        return Advantages(advantages_B[:, None] * rollouts.mask_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate of whole completions and the reference penalty, averaged over completions."""
        ratio_BT = mean_sequence_ratio(output.logp_BT, batch.logp_old_BT, batch.mask_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        if batch.reference_logp_BT is not None:
            kl_BT = k3(output.logp_BT, batch.reference_logp_BT)
            policy_BT = policy_BT + self.train.beta * kl_BT
        return LossOutput(
            policy=sequence_mean(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

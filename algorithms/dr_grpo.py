"""Dr. GRPO: GRPO without its two normalisations, by the group's spread and by the completion's length.

Paper: Liu et al. 2025, arXiv 2503.20783, section 3.2: the advantage is the centred reward, tokens are divided by a
constant; no reference penalty (`beta` 0 unless the arm sets it).

Differs from the paper in: nothing. The mean includes the row itself, which shrinks the expected gradient by 1 - 1/G
against the leave-one-out estimate; the paper leaves that factor to the learning rate, and so does this.
"""

from __future__ import annotations

from ppo_vs_grpo.algorithms.shared.advantages import group_centered
from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, constant, k3, token_ratio
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
)


class DrGRPO:
    """Clipped surrogate, centred rewards, no critic, k3 in the loss, a constant as denominator."""

    name = "dr-grpo"
    paper = "arXiv 2503.20783"

    class Config(Frozen):
        """Dr. GRPO has nothing of its own."""

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(group=True)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A row's advantage is its reward less its group's mean, the same on each of its tokens."""
        rollouts = scored.rollouts
        advantages_B = group_centered(scored.rewards_B, rollouts.group_B)
        return Advantages(advantages_B[:, None] * rollouts.mask_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate and the reference penalty, every token divided by rows times the longest completion."""
        ratio_BT = token_ratio(output.logp_BT, batch.logp_old_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        if batch.reference_logp_BT is not None:
            kl_BT = k3(output.logp_BT, batch.reference_logp_BT)
            policy_BT = policy_BT + self.train.beta * kl_BT
        return LossOutput(
            policy=constant(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

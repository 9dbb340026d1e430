"""RLOO: a completion is one action, and its baseline is the mean of the others of its group.

Paper: Ahmadian et al. 2024, arXiv 2402.14740: the REINFORCE leave-one-out estimator, whole completions,
the reference penalty in the reward.

Differs from the paper in: the gradient is that of a clipped ratio of whole completions, so that several optimizer
steps per batch are valid; at the policy that sampled, the ratio is 1 and the gradient is the paper's.
"""

from __future__ import annotations

from ppo_vs_grpo.algorithms.shared.advantages import leave_one_out, penalised, terminal
from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k1, sequence_mean, sequence_ratio
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
)


class RLOO:
    """Clipped surrogate of the completion's ratio, leave-one-out advantages, no critic, k1 in the reward."""

    name = "rloo"
    paper = "arXiv 2402.14740"

    class Config(Frozen):
        """RLOO has nothing of its own."""

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(group=True)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A row's advantage is its penalised reward less the mean of its siblings', the same on each of its tokens."""
        rollouts = scored.rollouts
        rewards_BT = terminal(scored.rewards_B, rollouts.mask_BT)
        if context.reference_logp_BT is not None:
            kl_BT = k1(rollouts.logp_BT, context.reference_logp_BT)
            rewards_BT = penalised(rewards_BT, kl_BT, self.train.beta, rollouts.mask_BT)
        advantages_B = leave_one_out(rewards_BT.sum(1), rollouts.group_B)
        return Advantages(advantages_B[:, None] * rollouts.mask_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate of whole completions, averaged over completions."""
        ratio_BT = sequence_ratio(output.logp_BT, batch.logp_old_BT, batch.mask_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        return LossOutput(
            policy=sequence_mean(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

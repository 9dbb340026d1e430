"""REINFORCE: no baseline at all, the floor that every baseline is measured from.

Paper: Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", with
the reward to go of each token and the penalty for leaving the reference in the reward.

Differs from the paper in: rewards before a token are left out of its weight, which changes no expectation.
"""

from __future__ import annotations

from ppo_vs_grpo.algorithms.shared.advantages import penalised, reward_to_go, terminal
from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import k1, sequence_sum, source
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
)
from ppo_vs_grpo.tasks.errors import UserError


class Reinforce:
    """-log pi * reward to go, summed over each completion, no critic, k1 in the reward."""

    name = "reinforce"
    paper = "Williams 1992"

    class Config(Frozen):
        """REINFORCE has nothing of its own."""

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs()
        if train.epochs * train.mini_batches > 1:
            raise UserError(
                f"train.epochs * train.mini_batches: {train.epochs} * {train.mini_batches}: this objective "
                "has no ratio, so its gradient is right only at the policy that sampled; set both to 1, "
                "or use reinforce++, which has a ratio"
            )

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A token's advantage is its penalised reward to go."""
        rollouts = scored.rollouts
        rewards_BT = terminal(scored.rewards_B, rollouts.mask_BT)
        if context.reference_logp_BT is not None:
            kl_BT = k1(rollouts.logp_BT, context.reference_logp_BT)
            rewards_BT = penalised(rewards_BT, kl_BT, self.train.beta, rollouts.mask_BT)
        return Advantages(reward_to_go(rewards_BT, rollouts.mask_BT), returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """Log-likelihood times reward to go, summed over each completion, averaged over completions."""
        policy_BT = source(output.logp_BT, batch.advantages_BT)
        return LossOutput(
            policy=sequence_sum(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

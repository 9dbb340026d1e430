"""REINFORCE++: PPO without a critic; the baseline is the mean of the whole rollout batch.

Paper: Hu 2025, arXiv 2501.03262: the reward on the last token, a penalty for leaving the reference on every token,
advantages normalised over the whole batch, PPO's clip.

Differs from the paper in: every token of the batch weighs the same, as in PPO here; prompts are answered by groups,
which this algorithm makes no use of.
"""

from __future__ import annotations

from ppo_vs_grpo.algorithms.shared.advantages import penalised, reward_to_go, terminal, whiten
from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k1, token_mean, token_ratio
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
)


class ReinforcePP:
    """Clipped surrogate, rewards to go whitened over the batch, no critic, k1 in the reward, token mean."""

    name = "reinforce++"
    paper = "arXiv 2501.03262"

    class Config(Frozen):
        """REINFORCE++ has nothing of its own."""

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs()

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A token's advantage is its penalised reward to go, relative to every token of the batch."""
        rollouts = scored.rollouts
        rewards_BT = terminal(scored.rewards_B, rollouts.mask_BT)
        if context.reference_logp_BT is not None:
            kl_BT = k1(rollouts.logp_BT, context.reference_logp_BT)
            rewards_BT = penalised(rewards_BT, kl_BT, self.train.beta, rollouts.mask_BT)
        advantages_BT = whiten(reward_to_go(rewards_BT, rollouts.mask_BT), rollouts.mask_BT)
        return Advantages(advantages_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate, averaged over tokens."""
        ratio_BT = token_ratio(output.logp_BT, batch.logp_old_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        return LossOutput(
            policy=token_mean(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

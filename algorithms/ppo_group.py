"""PPO with GRPO's baseline: all of PPO's details, the mean of the group in the place of the learned value.

Paper: none; half of the attribution of docs/algorithms.md, "What the hybrids separate".

Differs from PPO in: V of every token is the mean of the group's penalised rewards, and there is no critic.
"""

from __future__ import annotations

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import gae, group_mean, penalised, terminal, whiten
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


class PPOGroup:
    """Clipped surrogate, generalised advantage estimation over the group's mean, k1 in the reward, token mean."""

    name = "ppo-group"
    paper = "a hybrid: arXiv 1707.06347 with the baseline of arXiv 2402.03300"

    class Config(Frozen):
        """What PPO has of its own, without the critic."""

        gamma: float = Field(1.0, gt=0, le=1)
        lam: float = Field(0.95, ge=0, le=1)
        whiten: bool = True

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(group=True)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A_t sums the temporal-difference errors of the group's mean from t on."""
        c, rollouts = self.config, scored.rollouts
        mask_BT = rollouts.mask_BT
        rewards_BT = terminal(scored.rewards_B, mask_BT)
        if context.reference_logp_BT is not None:
            kl_BT = k1(rollouts.logp_BT, context.reference_logp_BT)
            rewards_BT = penalised(rewards_BT, kl_BT, self.train.beta, mask_BT)
        values_BT = group_mean(rewards_BT.sum(1), rollouts.group_B)[:, None] * mask_BT
        advantages_BT, _ = gae(rewards_BT, values_BT, mask_BT, c.gamma, c.lam)
        if c.whiten:
            advantages_BT = whiten(advantages_BT, mask_BT)
        return Advantages(advantages_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate, averaged over tokens."""
        ratio_BT = token_ratio(output.logp_BT, batch.logp_old_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        return LossOutput(
            policy=token_mean(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

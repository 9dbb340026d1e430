"""GRPO with PPO's baseline: all of GRPO's details, a learned value in the place of the group's mean.

Paper: none; half of the attribution of docs/algorithms.md, "What the hybrids separate".

Differs from GRPO in: the baseline of a token is V of the tokens before it, and V is trained; the spread that
divides is the rollout batch's, because a group whose rewards agree has none, while its R - V has a meaning.
"""

from __future__ import annotations

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import gae, terminal, unit_spread
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k3, sequence_mean, squared_value_error, token_ratio
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
    from_critic,
)


class GRPOValue:
    """Clipped surrogate, reward less a learned value, k3 in the loss, sequence mean."""

    name = "grpo-value"
    paper = "a hybrid: arXiv 2402.03300 with the baseline of arXiv 1707.06347"

    class Config(Frozen):
        """What GRPO has of its own, and PPO's critic."""

        eps: float = Field(1e-4, gt=0)
        value_coef: float = Field(0.5, ge=0)
        value_clip: float | None = Field(0.2, gt=0)
        critic: CriticConfig = CriticConfig()

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(critic=config.critic)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A token's advantage is the row's reward less V before it, over the spread of the batch."""
        c, mask_BT = self.config, scored.rollouts.mask_BT
        rewards_BT, values_BT = terminal(scored.rewards_B, mask_BT), from_critic(context.values_BT)
        advantages_BT, returns_BT = gae(rewards_BT, values_BT, mask_BT, 1.0, 1.0, context.bootstrap_B)
        return Advantages(unit_spread(advantages_BT, mask_BT, c.eps), returns_BT)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate, the reference penalty and the value error, averaged over each completion."""
        c = self.config
        ratio_BT = token_ratio(output.logp_BT, batch.logp_old_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        if batch.reference_logp_BT is not None:
            kl_BT = k3(output.logp_BT, batch.reference_logp_BT)
            policy_BT = policy_BT + self.train.beta * kl_BT
        value_BT = squared_value_error(
            from_critic(output.values_BT), from_critic(batch.values_old_BT), from_critic(batch.returns_BT), c.value_clip
        )
        return LossOutput(
            policy=sequence_mean(policy_BT, batch.mask_BT, denominators),
            value=c.value_coef * sequence_mean(value_BT, batch.mask_BT, denominators),
        )

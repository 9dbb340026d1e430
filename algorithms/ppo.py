"""PPO: the baseline is a learned value of the tokens so far.

Paper: Schulman et al. 2017, arXiv 1707.06347; advantages of arXiv 1506.02438; for language models as
in arXiv 1909.08593: the reward on the last token, a penalty for leaving the reference on every token.

Differs from the paper in: advantages are whitened over the rollout batch; the value loss is clipped;
there is no entropy bonus; a completion cut at the length limit counts as ended
(`critic.bootstrap_truncated` changes that).
"""

from __future__ import annotations

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import gae, length_lambda, penalised, terminal, whiten
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k1, squared_value_error, token_mean, token_ratio
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


class PPO:
    """Clipped surrogate, generalised advantage estimation, a critic, k1 in the reward, token mean."""

    name = "ppo"
    paper = "arXiv 1707.06347"

    class Config(Frozen):
        """What PPO has of its own."""

        gamma: float = Field(1.0, gt=0, le=1)
        lam: float = Field(0.95, ge=0, le=1)
        lam_alpha: float | None = Field(None, gt=0)  # in lam's place 1 - 1 / (lam_alpha * tokens), arXiv 2504.05118
        value_lam: float | None = Field(None, ge=0, le=1)  # of the critic's targets, arXiv 2503.01491; None: as above
        whiten: bool = True
        value_coef: float = Field(0.5, ge=0)
        value_clip: float | None = Field(0.2, gt=0)
        critic: CriticConfig = CriticConfig()

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(critic=config.critic)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A_t sums the temporal-difference errors of V from t on; the reference penalty is part of the reward."""
        c, rollouts = self.config, scored.rollouts
        mask_BT, values_BT = rollouts.mask_BT, from_critic(context.values_BT)
        rewards_BT = terminal(scored.rewards_B, mask_BT)
        if context.reference_logp_BT is not None:
            kl_BT = k1(rollouts.logp_BT, context.reference_logp_BT)
            rewards_BT = penalised(rewards_BT, kl_BT, self.train.beta, mask_BT)
        lam = c.lam if c.lam_alpha is None else length_lambda(mask_BT, c.lam_alpha)
        advantages_BT, returns_BT = gae(rewards_BT, values_BT, mask_BT, c.gamma, lam, context.bootstrap_B)
        if c.value_lam is not None:
            _, returns_BT = gae(rewards_BT, values_BT, mask_BT, c.gamma, c.value_lam, context.bootstrap_B)
        if c.whiten:
            advantages_BT = whiten(advantages_BT, mask_BT)
        return Advantages(advantages_BT, returns_BT)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate and the value error, each averaged over tokens."""
        c = self.config
        ratio_BT = token_ratio(output.logp_BT, batch.logp_old_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        value_BT = squared_value_error(
            from_critic(output.values_BT), from_critic(batch.values_old_BT), from_critic(batch.returns_BT), c.value_clip
        )
        return LossOutput(
            policy=token_mean(policy_BT, batch.mask_BT, denominators),
            value=c.value_coef * token_mean(value_BT, batch.mask_BT, denominators),
        )

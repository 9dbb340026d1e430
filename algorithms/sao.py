"""SAO: PPO on one completion a prompt, which masks tokens where PPO clips, and whose critic learns twice as often.

Paper: Single-Rollout Asynchronous Optimization, arXiv 2607.07508: one rollout a prompt and a critic; the ratio is to
the sampler's own log-probabilities, and a token whose ratio leaves [1 - low, 1 + high] is left out (section 3.1, eq.
3); two passes of the critic, whose attention is frozen, for one of the policy (3.2). The name declares `critic.kind`
model, `critic.passes` 2, `critic.frozen_attention` and Monte Carlo targets (`value_lam` 1).

Differs from the paper in (known from its abstract and from others' code): this is the synchronous part, so the policy
learns from what it has sampled itself; the policy does not wait for the critic (the paper's 10 updates are
`critic.warmup_updates`); lambda is `lam` (the paper's, of the length, is `lam_alpha`); the bounds are the shared
`clip_low` and `clip_high`; penalty, whitening and value loss are `ppo`'s.
"""

from __future__ import annotations

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import gae, length_lambda, penalised, terminal, whiten
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import k1, masked, squared_value_error, token_mean, token_ratio
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


class SAO:
    """Masked surrogate, generalised advantage estimation, a critic, k1 in the reward, token mean."""

    name = "sao"
    paper = "arXiv 2607.07508"

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
        self.needs = Needs(critic=config.critic, ratio_to_sampler=True)

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
        """The masked surrogate and the value error, each averaged over tokens."""
        c = self.config
        ratio_BT = token_ratio(output.logp_BT, batch.logp_old_BT)
        policy_BT = masked(ratio_BT, batch.advantages_BT, self.train.clip)
        value_BT = squared_value_error(
            from_critic(output.values_BT), from_critic(batch.values_old_BT), from_critic(batch.returns_BT), c.value_clip
        )
        return LossOutput(
            policy=token_mean(policy_BT, batch.mask_BT, denominators),
            value=c.value_coef * token_mean(value_BT, batch.mask_BT, denominators),
        )

"""EVPO: PPO that takes the group's mean as its baseline in updates whose critic explains nothing.

Paper: Pan et al. 2026, arXiv 2604.19485: the explained variance of a batch says whether V lowers the variance of the
advantages; above 0 they are the critic's, else those of the mean.

Differs from the paper in (of which the abstract was read): the mean is that of a prompt's completions, as in GRPO; the
rest is `ppo`'s. The explained variance is against Monte Carlo returns: against lambda-returns, which contain V, a
critic that knows nothing would pass. Above 0 it says that V beats one mean for all prompts, no more: the group's own
mean may still be better.
"""

from __future__ import annotations

import torch
from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import gae, group_mean, length_lambda, penalised, terminal, whiten
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k1, squared_value_error, token_mean, token_ratio
from ppo_vs_grpo.algorithms.shared.metrics import explained_variance
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


class EVPO:
    """Clipped surrogate, advantages of a critic or of the group's mean, k1 in the reward, token mean."""

    name = "evpo"
    paper = "arXiv 2604.19485"

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
        self.needs = Needs(group=True, critic=config.critic)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """As PPO's if V explains some variance of the penalised rewards to come, else these less the group's mean."""
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
        monte_carlo_BT, _ = gae(rewards_BT, torch.zeros_like(values_BT), mask_BT, c.gamma, 1.0, context.bootstrap_B)
        explained = explained_variance(values_BT, monte_carlo_BT, mask_BT)
        if not (by_critic := explained is not None and explained > 0):
            baseline_B = group_mean(monte_carlo_BT[:, 0], rollouts.group_B)
            advantages_BT = (monte_carlo_BT - baseline_B[:, None]) * mask_BT
        if c.whiten:
            advantages_BT = whiten(advantages_BT, mask_BT)
        metrics = {"monte_carlo_explained_variance": explained, "baseline_by_critic": float(by_critic)}
        return Advantages(advantages_BT, returns_BT, metrics)

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

"""VinePPO: PPO whose value is measured, not learned: the mean reward of fresh completions from the same prefix.

Paper: Kazemnejad et al. 2024, arXiv 2410.01679, section 4: fresh completions from the first token of every step
estimate V, a step's advantage is the difference of V over it; the rest is PPO's clip, with the penalty in the loss.

Differs from the paper in: a step is `step_tokens` tokens, where the paper splits text into reasoning steps; 3
continuations instead of 9; every continuation counts against the budget, because its reward was asked for; the
penalty is averaged over tokens, where the authors' code sums it over a completion.
"""

from __future__ import annotations

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import step_difference, whiten
from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import clipped, k3, token_mean, token_ratio
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
    from_continuations,
)


class VinePPO:
    """Clipped surrogate, differences of Monte Carlo values, no critic, k3 in the loss, token mean."""

    name = "vine-ppo"
    paper = "arXiv 2410.01679"

    class Config(Frozen):
        """What VinePPO has of its own."""

        continuations: int = Field(3, ge=1)
        step_tokens: int = Field(4, ge=1)
        whiten: bool = True

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(continuations=config.continuations, step_tokens=config.step_tokens)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A token's advantage is how much its step raised the mean reward of fresh completions."""
        c, mask_BT = self.config, scored.rollouts.mask_BT
        values_BT = from_continuations(context.values_BT)
        advantages_BT = step_difference(scored.rewards_B, values_BT, mask_BT, c.step_tokens)
        if c.whiten:
            advantages_BT = whiten(advantages_BT, mask_BT)
        return Advantages(advantages_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The clipped surrogate and the reference penalty, averaged over tokens."""
        ratio_BT = token_ratio(output.logp_BT, batch.logp_old_BT)
        policy_BT = clipped(ratio_BT, batch.advantages_BT, self.train.clip)
        if batch.reference_logp_BT is not None:
            kl_BT = k3(output.logp_BT, batch.reference_logp_BT)
            policy_BT = policy_BT + self.train.beta * kl_BT
        return LossOutput(
            policy=token_mean(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

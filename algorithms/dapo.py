"""DAPO: GRPO that clips higher, averages over tokens, samples until groups differ and shapes overlong completions.

Paper: Yu et al. 2025, arXiv 2503.14476: clip-higher (section 3.1, `clip_high` 0.28), dynamic sampling (3.2),
token-level loss (3.3), soft overlong punishment (3.4, eq. 13); no reference penalty (`beta` 0 unless the arm sets
it).

Differs from the paper in: discarded completions count against the budget, because their rewards were asked for; a batch
stays smaller when `sampling_rounds` or the budget run out; a group is kept when its rewards differ, whether or not
they are 0 and 1. `overlong_buffer_tokens` is 0: the answers of these tasks fill their limit, so only a completion
cut there is punished; the paper's buffer is a fifth of the limit. Null punishes none.
"""

from __future__ import annotations

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import group_relative, overlong_punishment
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
)


class DAPO:
    """Asymmetric clip, group-relative advantages of shaped rewards, dynamic sampling, no critic, token mean."""

    name = "dapo"
    paper = "arXiv 2503.14476"

    class Config(Frozen):
        """What DAPO has of its own."""

        ddof: int = Field(1, ge=0, le=1)
        eps: float = Field(1e-4, gt=0)
        sampling_rounds: int = Field(10, ge=1)
        overlong_buffer_tokens: int | None = Field(0, ge=0)

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(group=True, sampling_rounds=config.sampling_rounds)

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A row's advantage is its shaped reward relative to its group's, the same on each of its tokens."""
        c, rollouts = self.config, scored.rollouts
        shaped_B = scored.rewards_B
        if c.overlong_buffer_tokens is not None:
            shaped_B = shaped_B + overlong_punishment(
                rollouts.mask_BT.sum(1), rollouts.ended_B, rollouts.max_tokens, c.overlong_buffer_tokens
            )
        advantages_B = group_relative(shaped_B, rollouts.group_B, c.ddof, c.eps)
        return Advantages(advantages_B[:, None] * rollouts.mask_BT, returns_BT=None)

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

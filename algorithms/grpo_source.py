"""The objective of the source text, literally: the group's mean as baseline, whole completions, a KL term, no ratio.

Paper: the source text (docs/algorithms.md, "grpo-source"), which describes arXiv 2402.03300:
L = -1/G sum_i log pi(o_i | q) A_i + beta KL(pi_old || pi), pi_old the previous step's model or the start model.

Differs from the source in: nothing. It leaves open how the KL is computed: `kl` "exact" sums over the vocabulary at
every sampled prefix, "sampled" weighs the sampled tokens; and whose it is: `reference`. Against the previous step
both are without effect: the exact term's gradient is 0 at the only step taken, the sampled term's is noise.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.advantages import group_relative
from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import forward_kl, sequence_sum, source
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    LossOutput,
    PolicyOutput,
    ScoredRollouts,
    from_reference,
)
from ppo_vs_grpo.tasks.errors import UserError


class GRPOSource:
    """-log pi * A summed over each completion, group-relative advantages, no critic, forward KL in the loss."""

    name = "grpo-source"
    paper = "the source text, after arXiv 2402.03300"

    class Config(Frozen):
        """What the source's objective has of its own."""

        ddof: int = Field(1, ge=0, le=1)
        eps: float = Field(1e-4, gt=0)
        reference: Literal["initial", "previous_step"] = "initial"
        kl: Literal["exact", "sampled"] = "exact"

    def __init__(self, config: Config, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.needs = Needs(group=True, reference=config.reference, exact_kl=config.kl == "exact")
        if train.epochs * train.mini_batches > 1:
            raise UserError(
                f"train.epochs * train.mini_batches: {train.epochs} * {train.mini_batches}: this objective "
                "has no ratio, so its gradient is right only at the policy that sampled; set both to 1, "
                "or use grpo, which has a ratio"
            )

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """A row's advantage is its reward relative to its group's, the same on each of its tokens."""
        c, rollouts = self.config, scored.rollouts
        advantages_B = group_relative(scored.rewards_B, rollouts.group_B, c.ddof, c.eps)
        return Advantages(advantages_B[:, None] * rollouts.mask_BT, returns_BT=None)

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """Log-likelihood times advantage and the KL term, summed over each completion, averaged over completions."""
        policy_BT = source(output.logp_BT, batch.advantages_BT)
        if batch.reference_logp_BT is not None:
            if self.config.kl == "exact":
                kl_BT = from_reference(output.reference_kl_BT)
            else:
                kl_BT = forward_kl(output.logp_BT, batch.logp_old_BT, batch.reference_logp_BT, batch.mask_BT)
            policy_BT = policy_BT + self.train.beta * kl_BT
        return LossOutput(
            policy=sequence_sum(policy_BT, batch.mask_BT, denominators),
            value=None,
        )

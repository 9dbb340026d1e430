"""What an algorithm is: it turns scored rollouts into advantages, and a batch into a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig

if TYPE_CHECKING:
    from ppo_vs_grpo.algorithms.shared.types import (
        Advantages,
        Batch,
        Context,
        Denominators,
        LossOutput,
        PolicyOutput,
        ScoredRollouts,
    )


class Algorithm(Protocol):
    """An arm's way to learn. It holds settings only; models, sampling and stepping belong to the trainer."""

    name: ClassVar[str]
    paper: ClassVar[str]
    Config: ClassVar[type[Frozen]]
    needs: Needs
    """What the trainer provides for it: a critic, groups, a reference."""

    @property
    def config(self) -> Frozen:
        """The algorithm's own settings."""
        ...

    def __init__(self, config: Frozen, train: TrainConfig) -> None:
        """Take the algorithm's own settings and those it shares with every arm; UserError where they contradict."""
        ...

    def advantages(self, scored: ScoredRollouts, context: Context) -> Advantages:
        """The learning signal of a whole rollout batch, before it is split into mini-batches."""
        ...

    def loss(self, batch: Batch, output: PolicyOutput, denominators: Denominators) -> LossOutput:
        """The loss of some rows of an optimizer step, a pure function of its arguments."""
        ...

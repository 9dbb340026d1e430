"""The hyperparameters that every arm of a comparison shares, and the base of an arm's own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainConfig(Frozen):
    """What is identical in every arm unless an arm declares a difference.

    A batch is `prompts_per_update * group_size` completions. `completions` is the budget of a run.
    `learning_rate` rises linearly over the first `warmup_completions` and then stays.
    `micro_batch_tokens` bounds rows x padded length of one forward pass; it changes memory and
    speed, never the gradient.
    """

    completions: int = Field(12_800, ge=1)
    prompts_per_update: int = Field(16, ge=1)
    group_size: int = Field(8, ge=1)
    max_new_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, gt=0)
    epochs: int = Field(1, ge=1)
    mini_batches: int = Field(2, ge=1)
    learning_rate: float = Field(4e-4, gt=0)
    warmup_completions: int = Field(640, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    beta: float = Field(0.01, ge=0)
    clip_low: float = Field(0.2, gt=0, lt=1)
    clip_high: float = Field(0.2, gt=0)
    micro_batch_tokens: int = Field(2048, ge=1)

    @property
    def batch_completions(self) -> int:
        """Completions of one update."""
        return self.prompts_per_update * self.group_size

    @property
    def updates(self) -> int:
        """Updates in the budget; a last partial batch is not run."""
        return self.completions // self.batch_completions


class CriticConfig(Frozen):
    """Where V(s) comes from and how it learns.

    `kind` "head" is a linear layer on the policy's own trunk, "model" a separate network that starts
    as a copy of the start model's trunk. `detach` keeps the value loss out of a shared trunk.
    During the first `warmup_updates` only the critic learns, and the shared trunk is left alone.
    """

    kind: Literal["head", "model"] = "head"
    learning_rate: float = Field(1e-3, gt=0)
    detach: bool = False
    warmup_updates: int = Field(0, ge=0)


class EvalConfig(Frozen):
    """Held-out evaluation: `points` of them, evenly spaced over the budget, first and last included."""

    prompts: int = Field(256, ge=1)
    samples: int = Field(4, ge=1)
    points: int = Field(5, ge=2)
    transcripts: int = Field(8, ge=0)

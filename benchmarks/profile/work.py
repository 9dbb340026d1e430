"""The update that a prediction is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from ppo_vs_grpo.algorithms.shared.config import TrainConfig

READ = {
    *("prompts_per_update", "group_size", "mini_batches", "micro_batch_tokens", "rollout_rows"),
    *("beta", "gradient_checkpointing", "lora_rank", "dtype"),
}
"""The settings that a prediction follows. The others keep their defaults: a prediction is of one epoch."""

MICRO_BATCH_TOKENS = 8192
"""The default here: the models that are asked about are larger than those of the suites."""


@dataclass(frozen=True, slots=True)
class Work:
    """One update with the settings `train`, every prompt and every completion at full length.

    `dtype` is that of the weights, `train.dtype` that of the products.
    """

    train: TrainConfig
    prompt_tokens: int = 256
    new_tokens: int = 256
    dtype: torch.dtype = torch.bfloat16

    @staticmethod
    def of(
        completions: int = 128,
        prompt_tokens: int = 256,
        new_tokens: int = 256,
        group_size: int = 8,
        dtype: torch.dtype = torch.bfloat16,
        **settings: Any,
    ) -> Work:
        """The update of `completions` completions in groups; `settings` are fields of TrainConfig."""
        sizes = {"prompts_per_update": completions // group_size, "group_size": group_size}
        defaults = {"completions": completions, "micro_batch_tokens": MICRO_BATCH_TOKENS}
        return Work(TrainConfig(**defaults | settings | sizes), prompt_tokens, new_tokens, dtype)

    def having(self, **settings: Any) -> Work:
        """The same update with other settings."""
        return replace(self, train=self.train.model_copy(update=settings))

    @property
    def completions(self) -> int:
        """Completions of the update."""
        return self.train.batch_completions

    @property
    def d(self) -> int:
        """Bytes of a weight."""
        return self.dtype.itemsize

    @property
    def length(self) -> int:
        """Tokens of a row, prompt and completion."""
        return self.prompt_tokens + self.new_tokens

    def shortened(self) -> Work:
        """The least work with the same peaks after the rollout: two micro-batches, the second beside gradients."""
        train = self.train
        rows = -(-train.group_size // train.mini_batches)  # of a prompt in a mini-batch, drawn at random
        at_once = train.micro_batch_tokens // (self.prompt_tokens + rows * self.new_tokens)
        return self.having(prompts_per_update=min(train.prompts_per_update, max(1, 2 * at_once)))

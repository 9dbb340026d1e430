"""The update that is asked about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from ppo_vs_grpo.algorithms.shared.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Work:
    """One update: so many completions of `group_size` to a prompt, all as long as they may be."""

    completions: int = 128
    prompt_tokens: int = 256
    new_tokens: int = 256
    group_size: int = 8
    mini_batches: int = 2
    micro_batch_tokens: int = 8192
    rollout_rows: int | None = None
    beta: float = 0.01
    dtype: torch.dtype = torch.bfloat16
    products: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    lora_rank: int | None = None

    @property
    def d(self) -> int:
        """Bytes of a number."""
        return self.dtype.itemsize

    @property
    def length(self) -> int:
        """Tokens of a row, prompt and completion."""
        return self.prompt_tokens + self.new_tokens

    def train(self) -> TrainConfig:
        """The settings that say so."""
        return TrainConfig(
            completions=self.completions,
            prompts_per_update=self.completions // self.group_size,
            group_size=self.group_size,
            mini_batches=self.mini_batches,
            micro_batch_tokens=self.micro_batch_tokens,
            rollout_rows=self.rollout_rows,
            beta=self.beta,
            gradient_checkpointing=self.gradient_checkpointing,
            lora_rank=self.lora_rank,
            dtype=self.products,
        )

    def shortened(self) -> Work:
        """The least work with the same peaks after the rollout: two micro-batches, the second beside gradients."""
        rows = -(-self.group_size // self.mini_batches)  # of a prompt in a mini-batch, where they are at random
        at_once = self.micro_batch_tokens // (self.prompt_tokens + rows * self.new_tokens)
        groups = max(1, 2 * at_once)
        return replace(self, completions=min(self.completions, groups * self.group_size))

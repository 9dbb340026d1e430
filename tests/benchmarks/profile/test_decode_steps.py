"""Steps of a predicted rollout: which are taken, and what the others count as."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Prompts
from ppo_vs_grpo.benchmarks.profile.decode_steps import DecodeSteps
from ppo_vs_grpo.benchmarks.profile.flops import FlopCount
from ppo_vs_grpo.benchmarks.profile.memory import Tracker
from ppo_vs_grpo.tasks.base import Problem

CONFIG = LlamaConfig(
    vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
    intermediate_size=16,
)  # fmt: skip
PROMPT_TOKENS, NEW_TOKENS = 3, 9
PROMPTS = Prompts((Problem("a"), Problem("b")), ((4, 5, 6), (7, 8, 9)))


class Counting(FlopCount):
    """A count that is told."""

    def __init__(self) -> None:
        super().__init__(Tracker())
        self.sum = 0

    def count(self, phase: str) -> int:
        return self.sum

    def add(self, phase: str, flops: int) -> None:
        self.sum += flops


@pytest.mark.parametrize(("at_once", "lots"), [(None, 1), (4, 2), (2, 4)])
def test_of_each_lot_the_first_step_and_the_last_are_taken_and_all_are_counted(at_once: int | None, lots: int) -> None:
    """A pass has a thousand operations, and two for each token that its last query sees."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG)
    counting, forward, taken = Counting(), model.forward, []

    def passing(*args: Any, **kwargs: Any) -> Any:
        taken.append(kwargs["input_ids"].shape[1])
        output = forward(*args, **kwargs)
        counting.sum += 1000 + 2 * kwargs["past_key_values"].layers[0].get_mask_sizes(0)[0]
        return output

    model.forward = DecodeSteps(passing, counting)
    engine = HuggingFaceEngine(model, pad=0, ends=(), max_new_tokens=NEW_TOKENS, temperature=1.0, rows_at_once=at_once)
    engine.generate(PROMPTS, 4, None)
    assert taken == [PROMPT_TOKENS] + [1, 1] * lots
    sees = range(PROMPT_TOKENS + 1, PROMPT_TOKENS + NEW_TOKENS)
    assert counting.sum == (1000 + 2 * PROMPT_TOKENS) + lots * sum(1000 + 2 * tokens for tokens in sees)

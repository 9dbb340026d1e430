"""Predictions of an update beside the real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen2Config

from one_step import arm as algorithm
from ppo_vs_grpo.algorithms import entry
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.benchmarks.profile.memory import TOTAL, Peak
from ppo_vs_grpo.benchmarks.profile.predict import Prediction
from ppo_vs_grpo.benchmarks.profile.work import Work
from ppo_vs_grpo.tasks.base import Problem, Score

ARMS = ("ppo", "ppo-critic", "grpo")


NANO = LlamaConfig(
    vocab_size=99, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
    intermediate_size=192, tie_word_embeddings=True,
)  # fmt: skip


TINY = LlamaConfig(
    vocab_size=99, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=384,
)  # fmt: skip


WIDE = Qwen2Config(
    vocab_size=4000, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1,
    intermediate_size=192, tie_word_embeddings=True,
)  # fmt: skip


CASES = {
    "nano": (NANO, Work.of(16, 10, 12, 4, mini_batches=2, micro_batch_tokens=100, dtype=torch.float32)),
    "tiny": (TINY, Work.of(16, 20, 8, 8, mini_batches=1, micro_batch_tokens=140, dtype=torch.float32)),
    "wide": (WIDE, Work.of(16, 6, 20, 8, mini_batches=1, micro_batch_tokens=104, dtype=torch.bfloat16)),
    "waiting": (WIDE, Work.of(16, 40, 20, 8, torch.float32, mini_batches=1, micro_batch_tokens=400, rollout_rows=6)),
}


class Spelling:
    """A task whose prompts all have one length."""

    name, version, best_score = "lengths", 1, 1.0  # the prediction's name, so rows are shuffled as there

    def __init__(self, work: Work) -> None:
        self.prompt_tokens, self.max_new_tokens = work.prompt_tokens, work.new_tokens

    def draw(self, rng: np.random.Generator) -> Problem:
        return Problem("".join(rng.choice(list("abcdefgh"), size=self.prompt_tokens)))

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        return ""

    def score(self, problem: Problem, completion: str) -> Score:
        return Score(float(completion < "m"), False)


def real(config: PretrainedConfig, arm: str, work: Work) -> Trainer:
    """A trainer whose policy never ends a completion early."""
    torch.manual_seed(0)
    policy = AutoModelForCausalLM.from_config(config, dtype=work.dtype)
    train = work.train
    train = train.model_copy(update=entry(arm).train(train))
    trainer = Trainer(policy, tokenizer(), Spelling(work), algorithm(arm, train), train, seed=0)
    trainer.engine = replace(trainer.engine, ends=())
    trainer.collector = replace(trainer.collector, engine=trainer.engine)
    return trainer


def total_bytes(peaks: Sequence[Peak], phase: str) -> int:
    return sum(row.bytes_at_total_peak for row in peaks if row.phase == phase)


def assert_near(predicted: Prediction, measured: Sequence[Peak]) -> None:
    """Within 5% of the tracker: in all, by phase, and by role where it is more than a hundredth of the peak."""
    assert predicted.total_peak_bytes == pytest.approx(total_bytes(measured, TOTAL), rel=0.05)
    for phase in {row.phase for row in measured} - {"reward"}:
        assert total_bytes(predicted.peaks, phase) == pytest.approx(total_bytes(measured, phase), rel=0.05), phase
    ours = {(row.phase, row.role): row.own_peak_bytes for row in predicted.peaks}
    for row in measured:
        if row.own_peak_bytes > 0.01 * predicted.total_peak_bytes:
            assert ours[row.phase, row.role] == pytest.approx(row.own_peak_bytes, rel=0.05), row


def own_bytes(predicted: Prediction, phase: str, role: str) -> int:
    return next(row.own_peak_bytes for row in predicted.peaks if (row.phase, row.role) == (phase, role))

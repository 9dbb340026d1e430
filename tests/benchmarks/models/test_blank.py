"""Start models with a given distribution of lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from ppo_vs_grpo.algorithms.shared.collector import encode
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Rollouts
from ppo_vs_grpo.benchmarks.models import store, tiny
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.splits import problems


def sampled(cache: Path, size: str, options: dict[str, int], rows: int) -> Rollouts:
    folder = store.build(size, "lengths", options, cache)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    task = make("lengths", options)
    uniforms_TB = np.random.default_rng(0).random((task.max_new_tokens, rows), dtype="float32")
    engine = HuggingFaceEngine(model, tokenizer.pad_token_id, (tokenizer.eos_token_id,), task.max_new_tokens, 1.0)
    return engine.generate(encode(tokenizer, problems(task, "train", 0, 0, rows)), 1, uniforms_TB)


@pytest.mark.parametrize("size", ["nano", "tiny"])
@pytest.mark.parametrize("mean", [4, 16])
def test_completions_end_as_a_geometric_draw_does(tmp_path: Path, size: str, mean: int) -> None:
    rows, limit = 400, 24
    lengths_B = sampled(tmp_path, size, {"new_tokens": limit, "mean_tokens": mean}, rows).mask_BT.sum(1)
    expected = mean * (1 - (1 - 1 / mean) ** limit)
    sd = float(lengths_B.float().std())
    assert abs(float(lengths_B.float().mean()) - expected) < 4 * sd / rows**0.5


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_without_a_mean_no_completion_ends_and_nothing_but_characters_is_drawn(tmp_path: Path, size: str) -> None:
    rollouts = sampled(tmp_path, size, {"new_tokens": 24}, 200)
    assert rollouts.mask_BT.sum(1).tolist() == [24] * 200
    assert not rollouts.ended_B.any()
    special = tiny.tokenizer().all_special_ids
    assert not set(rollouts.completion_BT.flatten().tolist()) & set(special)


def test_the_mean_is_part_of_the_models_name_and_the_prompt_is_not(tmp_path: Path) -> None:
    def place(**options: int) -> Path:
        return store.locate("nano", "lengths", options, tmp_path)

    assert place(mean_tokens=4) != place(mean_tokens=5)
    assert place(mean_tokens=4) == place(mean_tokens=4, prompt_tokens=3, new_tokens=9)

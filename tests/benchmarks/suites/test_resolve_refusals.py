"""Combinations that cannot be right are refused before anything runs, with the reason and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite_files import message, specs


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "arms.ppo={algorithm: grpo-source, train: {epochs: 2}}",
            "arms.ppo.train.epochs * train.mini_batches: 2 * 1: this objective has no ratio, so its gradient is right "
            "only at the policy that sampled; set both to 1, or use grpo, which has a ratio",
        ),
        (
            "arms.ppo={algorithm: reinforce, train: {mini_batches: 2}}",
            "arms.ppo.train.epochs * train.mini_batches: 1 * 2: this objective has no ratio",
        ),
        (
            "train.top_p=0.9",
            "train.importance_correction: False: should be true where top_p is 0.9: a truncated sampler draws from "
            "another distribution than the policy that learns; or set top_p to 1.0",
        ),
        ("train.dtype=float16", "train.dtype: 'float16': should be 'float32' or 'bfloat16'"),
        ("train.top_k=5", "train.importance_correction: False: should be true where top_k is 5"),
        ("arms.grpo.train={min_p: 0.1}", "arms.grpo.train.importance_correction: False: should be true where min_p is"),
        *[
            (
                f"arms.ppo={{algorithm: {name}, train: {{group_size: 1}}}}",
                "arms.ppo.train.group_size: 1: this algorithm",
            )
            for name in ("grpo", "grpo-source", "dr-grpo", "dapo", "gspo", "rloo", "ppo-group")
        ],
        (
            "train.dual_clip=0.5",
            "train.dual_clip: 0.5: should be above 1, or null for none: it bounds the loss of a bad",
        ),
        ("train.dual_clip=1", "train.dual_clip: 1: should be above 1"),
        (
            "arms.grpo.config={critic: {kind: head}}",
            "arms.grpo.config.critic: grpo has no critic to set; leave the key out, or use ppo or grpo-value",
        ),
        ("arms.grpo.config={value_clip: 0.1}", "arms.grpo.config.value_clip: grpo has no critic to set"),
        (
            "arms.ppo={algorithm: vine-ppo, train: {completions: 64}}",
            "arms.ppo.train.completions: 64: less than one update, which takes prompts_per_update * group_size * (1 + ",
        ),
    ],
)
def test_a_combination_that_cannot_be_right_is_refused_with_reason_and_way_out(
    path: Path, override: str, expected: str
) -> None:
    assert message(path, override).startswith(expected)


@pytest.mark.parametrize(
    "override",
    [
        "train={top_p: 0.9, importance_correction: true}",
        "train.dual_clip=3",
        "arms.ppo={algorithm: grpo-value, train: {group_size: 1}}",
        "arms.ppo={algorithm: reinforce++, train: {group_size: 1}}",
    ],
)
def test_the_ways_out_are_ways_out(path: Path, override: str) -> None:
    assert specs(path, override)

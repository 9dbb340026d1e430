"""How a TRL configuration counts: completions, mini-batches, budget and warm-up, and the bounds of the ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ppo_vs_grpo.algorithms.shared.config import Clip
from ppo_vs_grpo.algorithms.shared.losses import clipped
from trl_files import train


@pytest.mark.parametrize(
    ("fields", "prompts", "mini_batches"),
    [
        ({"gradient_accumulation_steps": 4}, 4, 1),
        ({"gradient_accumulation_steps": 4, "num_processes": 2}, 8, 1),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 6}, 6, 3),
        ({"gradient_accumulation_steps": 2, "generation_batch_size": 48}, 6, 3),
        ({"generation_batch_size": 64, "num_processes": 2}, 8, 4),
        ({"gradient_accumulation_steps": 6, "steps_per_generation": 2}, 6, 1),  # three generations a step
        ({"per_device_train_batch_size": 2, "steps_per_generation": 8}, 2, 8),
    ],
)
def test_a_generation_is_an_update(fields: dict[str, int], prompts: int, mini_batches: int, tmp_path: Path) -> None:
    made = train(tmp_path, **fields)
    assert (made["prompts_per_update"], made["mini_batches"]) == (prompts, mini_batches)


@pytest.mark.parametrize(
    ("fields", "completions"),
    [
        ({"max_steps": 100}, 800),
        ({"max_steps": 100, "num_iterations": 4}, 200),
        ({"max_steps": 100, "steps_per_generation": 4, "num_iterations": 2}, 416),  # 12.5 updates of 32
        ({"max_steps": 10, "gradient_accumulation_steps": 6, "steps_per_generation": 2}, 480),
        ({}, 12_800),
        ({"per_device_train_batch_size": 80}, 12_800),
        ({"per_device_train_batch_size": 96}, 12_768),  # 133 whole updates
        ({"per_device_train_batch_size": 16_000}, 16_000),
    ],
)
def test_the_budget_is_that_of_the_optimizer_steps(fields: dict[str, int], completions: int, tmp_path: Path) -> None:
    assert train(tmp_path, **fields)["completions"] == completions


@pytest.mark.parametrize(
    ("fields", "completions"),
    [
        ({"warmup_steps": 10}, 80),
        ({"warmup_steps": 10, "steps_per_generation": 4}, 80),  # 2.5 updates of 32
        ({"warmup_steps": 10, "num_iterations": 2}, 40),
        ({"warmup_steps": 0.05, "max_steps": 110}, 48),  # 5.5 of 110 steps, 6 whole ones
        ({"warmup_steps": 10, "lr_scheduler_type": "constant_with_warmup"}, 80),
        ({"warmup_steps": 10, "lr_scheduler_type": "constant"}, 0),
        ({"warmup_steps": 10, "lr_scheduler_type": "greedy"}, 0),
        ({"warmup_steps": 10, "lr_scheduler_type": "reduce_lr_on_plateau"}, 0),
    ],
)
def test_the_warm_up_is_that_of_the_optimizer_steps(fields: dict[str, Any], completions: int, tmp_path: Path) -> None:
    assert train(tmp_path, **fields)["warmup_completions"] == completions


@pytest.mark.parametrize(
    ("fields", "bounds"),
    [
        ({"epsilon": 0.1}, (0.1, 0.1, None)),
        ({"epsilon": 0.1, "epsilon_high": 0.28}, (0.1, 0.28, None)),
        ({"delta": 1.5}, (0.2, 0.2, 1.5)),
        ({"epsilon_high": 0.5, "delta": 1.1}, (0.2, 0.1, 1.5)),
        ({"delta": 0.9}, (0.2, 0.2, None)),
        ({"delta": 1.0}, (0.2, 0.2, None)),
    ],
)
def test_bounds_of_the_ratio(fields: dict[str, float], bounds: tuple[float, ...], tmp_path: Path) -> None:
    made = train(tmp_path, **fields)
    assert (made["clip_low"], made["clip_high"], made.get("dual_clip")) == bounds


# TRL: -min(min(ratio, delta) * A, clip(ratio, 1 - epsilon, 1 + epsilon_high) * A), by hand, for A = 2 and A = -2.
RATIOS = [0.5, 1.0, 1.15, 1.3, 1.7, 3.0]
LOSSES = {
    (0.2, 1.5): ([-1.0, -2.0, -2.3, -2.4, -2.4, -2.4], [1.6, 2.0, 2.3, 2.6, 3.0, 3.0]),
    (0.5, 1.1): ([-1.0, -2.0, -2.2, -2.2, -2.2, -2.2], [1.6, 2.0, 2.3, 2.6, 3.0, 3.0]),
}


@pytest.mark.parametrize(("high", "delta"), LOSSES)
def test_delta_bounds_the_same_loss_on_either_side_of_the_upper_clip(high: float, delta: float, tmp_path: Path) -> None:
    made = train(tmp_path, epsilon_high=high, delta=delta)
    clip = Clip(low=made["clip_low"], high=made["clip_high"], dual=made["dual_clip"])
    log_ratio_BT = torch.tensor(RATIOS).log().expand(2, -1)
    losses_BT = clipped(log_ratio_BT, torch.tensor([[2.0], [-2.0]]).expand(-1, len(RATIOS)), clip)
    torch.testing.assert_close(losses_BT, torch.tensor(LOSSES[high, delta]))

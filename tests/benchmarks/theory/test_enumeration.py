"""The enumerated world: complete, and its gradient and values right."""

from __future__ import annotations

import pytest
import torch

from ppo_vs_grpo.benchmarks.theory.enumeration import PROMPTS, Policy, enumerate_all

WORLD = enumerate_all(seed=3)


def test_the_world_is_whole() -> None:
    assert len(WORLD.prompt_B) == PROMPTS * 15
    assert len({(int(p), *map(int, row)) for p, row in zip(WORLD.prompt_B, WORLD.completion_BT, strict=True)}) == 30
    per_prompt = WORLD.probability_B.view(PROMPTS, -1).sum(1)
    assert torch.allclose(per_prompt, torch.ones(PROMPTS, dtype=torch.float64), atol=1e-12, rtol=0)
    assert WORLD.mask_BT.sum(1).unique().tolist() == [1, 2, 3]


def test_the_gradient_is_that_of_finite_differences() -> None:
    theta_D, step = WORLD.policy.theta_D, 1e-6
    gradient_D = WORLD.gradient_D()
    for i in range(0, len(theta_D), 7):
        shift_D = torch.zeros_like(theta_D)
        shift_D[i] = step
        high, low = (WORLD.expected_reward(Policy(theta_D + s * shift_D)) for s in (1, -1))
        assert float((high - low) / (2 * step)) == pytest.approx(float(gradient_D[i]), abs=1e-8)


def test_the_value_before_the_first_token_is_the_expected_reward() -> None:
    first = WORLD.values_BT()[:, 0].view(PROMPTS, -1)
    assert torch.allclose(first, first[:, :1].expand_as(first), atol=1e-12)
    assert float(first[:, 0].mean()) == pytest.approx(float(WORLD.expected_reward()), abs=1e-12)

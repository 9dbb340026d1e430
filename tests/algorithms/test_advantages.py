"""Advantages against numbers worked out by hand, and the properties they must have."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from ppo_vs_grpo.algorithms.shared.advantages import gae, group_relative, terminal, whiten

UNEVEN = torch.tensor([[True, True, True], [True, False, False]])


def test_the_reward_sits_on_the_last_sampled_token() -> None:
    assert terminal(torch.tensor([2.0, 3.0]), UNEVEN).tolist() == [[0, 0, 2], [3, 0, 0]]


def test_gae_by_hand() -> None:
    # Row 0: d = (0 + 0.9*0.5 - 0.2, 0 + 0.9*0.1 - 0.5, 1 - 0.1) = (0.25, -0.41, 0.9); gamma*lam = 0.45.
    rewards = torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    values = torch.tensor([[0.2, 0.5, 0.1], [0.4, 9.0, 9.0]])
    advantages, returns = gae(rewards, values, UNEVEN, gamma=0.9, lam=0.5)
    second = -0.41 + 0.45 * 0.9
    first = 0.25 + 0.45 * second
    expected = torch.tensor([[first, second, 0.9], [1.6, 0.0, 0.0]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, torch.tensor([[first + 0.2, second + 0.5, 1.0], [2.0, 0.0, 0.0]]))


def test_gae_without_a_critic_is_the_reward_on_every_token() -> None:
    rewards = terminal(torch.tensor([0.3, 0.7]), UNEVEN)
    advantages, _ = gae(rewards, torch.zeros(2, 3), UNEVEN, gamma=1.0, lam=1.0)
    torch.testing.assert_close(advantages, torch.tensor([[0.3, 0.3, 0.3], [0.7, 0.0, 0.0]]))


def test_gae_carries_over_a_masked_token_in_the_middle() -> None:
    gap = torch.tensor([[True, False, True]])
    with_gap, _ = gae(torch.tensor([[0.0, 5.0, 1.0]]), torch.tensor([[0.2, 7.0, 0.4]]), gap, 0.9, 0.8)
    without, _ = gae(
        torch.tensor([[0.0, 1.0]]), torch.tensor([[0.2, 0.4]]), torch.ones(1, 2, dtype=torch.bool), 0.9, 0.8
    )
    assert with_gap[0, 1] == 0
    torch.testing.assert_close(with_gap[:, [0, 2]], without)


def test_whitening_is_over_the_masked_tokens_of_the_batch() -> None:
    white = whiten(torch.tensor([[1.0, 2.0, 3.0], [6.0, 99.0, 99.0]]), UNEVEN)
    # mean 3, unbiased variance (4 + 1 + 0 + 9) / 3
    scale = (14 / 3) ** -0.5
    torch.testing.assert_close(white, torch.tensor([[-2.0, -1.0, 0.0], [3.0, 0.0, 0.0]]) * scale)


def test_group_relative_by_hand_with_groups_interleaved() -> None:
    rewards = torch.tensor([1.0, 5.0, 0.0, 7.0])
    groups = torch.tensor([0, 1, 0, 1])
    half = 0.5 / (0.5**0.5 + 1e-4)
    one = 1 / (2**0.5 + 1e-4)
    torch.testing.assert_close(group_relative(rewards, groups), torch.tensor([half, -one, -half, one]))
    biased = group_relative(rewards, groups, ddof=0, eps=1e-4)
    torch.testing.assert_close(biased, torch.tensor([0.5 / 0.5001, -1 / 1.0001, -0.5 / 0.5001, 1 / 1.0001]))


@given(st.floats(-1e3, 1e3), st.integers(2, 64), st.floats(1e-12, 1.0))
@example(reward=0.1, size=3, eps=1e-12)
def test_a_constant_group_is_exactly_zero(reward: float, size: int, eps: float) -> None:
    """In float64, where the mean of equal numbers need not be that number."""
    rewards = torch.full((size,), reward, dtype=torch.float64)
    advantages = group_relative(rewards, torch.zeros(size, dtype=torch.long), eps=eps)
    assert advantages.tolist() == [0.0] * size


def test_a_missing_reward_leaves_its_group() -> None:
    rewards = torch.tensor([1.0, float("nan"), 0.0])
    with_missing = group_relative(rewards, torch.zeros(3, dtype=torch.long))
    without = group_relative(rewards[[0, 2]], torch.zeros(2, dtype=torch.long))
    assert with_missing[1] == 0
    torch.testing.assert_close(with_missing[[0, 2]], without)


def test_groups_of_one_raise_and_a_group_left_with_one_is_silent() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        group_relative(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 2, 1]))
    assert group_relative(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1]))[2] == 0


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=8, max_size=8), st.permutations(range(8)))
def test_permuting_rows_permutes_advantages(rewards: list[float], order: list[int]) -> None:
    values, groups = torch.tensor(rewards), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    torch.testing.assert_close(group_relative(values[order], groups[order]), group_relative(values, groups)[order])

"""Advantages against numbers worked out by hand, and the properties they must have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from ppo_vs_grpo.algorithms.shared.advantages import (
    gae,
    group_centered,
    group_mean,
    group_relative,
    leave_one_out,
    length_lambda,
    overlong_punishment,
    penalised,
    reward_to_go,
    step_difference,
    terminal,
    unit_spread,
    whiten,
)

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


def test_a_rows_lambda_grows_with_its_tokens_and_is_never_negative() -> None:
    mask = torch.arange(40) < torch.tensor([[40], [4], [2], [1], [0]])
    # alpha 0.5: 1 - 1/20, 1 - 1/2, and 1 - 1/1, then less than 0
    assert length_lambda(mask, 0.5).tolist() == pytest.approx([0.95, 0.5, 0.0, 0.0, 0.0])
    assert length_lambda(mask, 0.05)[0] == pytest.approx(0.5)  # the paper's alpha


def test_gae_with_a_lambda_for_each_row() -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    values = torch.tensor([[0.2, 0.5, 0.1], [0.4, 0.6, 9.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    advantages, returns = gae(rewards, values, mask, 0.9, torch.tensor([0.5, 0.25], dtype=torch.float64))
    second = -0.41 + 0.45 * 0.9
    # Row 1: d = (0.9*0.6 - 0.4, 2 - 0.6) = (0.14, 1.4); gamma*lam = 0.225.
    expected = torch.tensor([[0.25 + 0.45 * second, second, 0.9], [0.14 + 0.225 * 1.4, 1.4, 0.0]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, (expected + values) * mask)


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


REWARDS, GROUPS = torch.tensor([1.0, 5.0, 0.0, 7.0, 2.0]), torch.tensor([0, 1, 0, 1, 0])
"""Group 0 holds 1, 0, 2 with mean 1; group 1 holds 5, 7 with mean 6; all five have mean 3 and variance 34 / 4."""


def test_group_centered_and_leave_one_out_by_hand() -> None:
    torch.testing.assert_close(group_centered(REWARDS, GROUPS), torch.tensor([0.0, -1.0, -1.0, 1.0, 1.0]))
    others = torch.tensor([1.0 - 1.0, 5.0 - 7.0, 0.0 - 1.5, 7.0 - 5.0, 2.0 - 0.5])
    torch.testing.assert_close(leave_one_out(REWARDS, GROUPS), others)
    torch.testing.assert_close(group_mean(REWARDS, GROUPS), torch.tensor([1.0, 6.0, 1.0, 6.0, 1.0]))


def test_leave_one_out_passes_over_a_missing_reward() -> None:
    rewards, groups = torch.tensor([1.0, float("nan"), 0.0, 4.0, float("nan")]), torch.tensor([0, 0, 0, 1, 1])
    assert leave_one_out(rewards, groups).tolist() == [1.0, 0.0, -1.0, 0.0, 0.0]


def over_the_batch(rewards_B: Tensor) -> Tensor:
    """Rewards of one group, relative to the whole batch."""
    return group_relative(rewards_B, torch.zeros(len(rewards_B), dtype=torch.long), scale="batch")


def test_the_spread_of_the_batch_by_hand() -> None:
    spread = 8.5**0.5 + 1e-4
    torch.testing.assert_close(over_the_batch(REWARDS), torch.tensor([-2.0, 2.0, -3.0, 4.0, -1.0]) / spread)
    assert over_the_batch(torch.tensor([0.3, 0.3, 0.3])).tolist() == [0.0] * 3
    missing = over_the_batch(torch.tensor([1.0, float("nan"), 3.0]))
    torch.testing.assert_close(missing, torch.tensor([-1.0, 0.0, 1.0]) / (2**0.5 + 1e-4))


def test_a_centred_reward_may_be_divided_by_the_batch_or_by_nothing() -> None:
    centred = torch.tensor([0.0, -1.0, -1.0, 1.0, 1.0])
    torch.testing.assert_close(group_relative(REWARDS, GROUPS, scale="none"), centred)
    torch.testing.assert_close(group_relative(REWARDS, GROUPS, scale="batch"), centred / (8.5**0.5 + 1e-4))
    torch.testing.assert_close(group_relative(REWARDS, GROUPS, ddof=0, scale="batch"), centred / (6.8**0.5 + 1e-4))


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("eps", [0.0, 1e-4])
def test_a_constant_group_is_zero_for_every_scale_and_eps(scale: str, eps: float) -> None:
    rewards = torch.full((3,), 0.1, dtype=torch.float64)
    made = group_relative(rewards, torch.zeros(3, dtype=torch.long), eps=eps, scale=scale)  # type: ignore[arg-type]
    assert made.tolist() == [0.0] * 3


@pytest.mark.parametrize("advantage", [group_centered, leave_one_out, group_mean])
def test_every_group_baseline_refuses_groups_of_one(advantage: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        advantage(torch.tensor([1.0, 0.0]), torch.tensor([0, 1]))


def test_gae_starts_from_the_value_after_a_truncated_row() -> None:
    rewards, values = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]), torch.tensor([[0.2, 0.5, 0.1], [0.4, 9.0, 9.0]])
    advantages, returns = gae(rewards, values, UNEVEN, 0.9, 0.0, bootstrap_B=torch.tensor([0.7, 0.3]))
    expected = torch.tensor([[0.9 * 0.5 - 0.2, 1 + 0.9 * 0.1 - 0.5, 0.9 * 0.7 - 0.1], [2 + 0.9 * 0.3 - 0.4, 0.0, 0.0]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, torch.where(UNEVEN, expected + values, 0.0))


def test_the_penalty_is_taken_from_every_sampled_token() -> None:
    kl = torch.tensor([[0.5, -1.0, 2.0], [1.0, 88.0, 88.0]])
    made = penalised(terminal(torch.tensor([1.0, 3.0]), UNEVEN), kl, 0.1, UNEVEN)
    torch.testing.assert_close(made, torch.tensor([[-0.05, 0.1, 0.8], [2.9, 0.0, 0.0]]))


def test_rewards_to_go_add_up_from_the_end() -> None:
    made = reward_to_go(torch.tensor([[1.0, 2.0, 4.0], [3.0, 88.0, 88.0]]), UNEVEN)
    assert made.tolist() == [[7.0, 6.0, 4.0], [3.0, 0.0, 0.0]]


def test_a_step_shares_the_difference_of_its_values() -> None:
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    values = torch.tensor([[0.2, 9.0, 0.6, 9.0, 0.5], [0.3, 9.0, 0.9, 9.0, 9.0]])
    made = step_difference(torch.tensor([1.0, 0.0]), values, mask, step_tokens=2)
    torch.testing.assert_close(made, torch.tensor([[0.4, 0.4, -0.1, -0.1, 0.5], [0.6, 0.6, -0.9, 0.0, 0.0]]))


def test_steps_of_one_token_are_gae_at_lambda_zero() -> None:
    values = torch.tensor([[0.2, 0.6, 1.0], [0.75, 0.0, 0.0]])
    rewards = torch.tensor([1.0, 0.5])
    expected, _ = gae(terminal(rewards, UNEVEN), values, UNEVEN, 1.0, 0.0)
    torch.testing.assert_close(step_difference(rewards, values, UNEVEN, step_tokens=1), expected)


def test_unit_spread_divides_and_does_not_shift() -> None:
    made = unit_spread(torch.tensor([[1.0, 2.0, 3.0], [6.0, 99.0, 99.0]]), UNEVEN, eps=0.5)
    scale = (14 / 3) ** 0.5 + 0.5
    torch.testing.assert_close(made, torch.tensor([[1.0, 2.0, 3.0], [6.0, 0.0, 0.0]]) / scale)
    assert unit_spread(torch.tensor([[2.0]]), torch.tensor([[True]]), 0.5).tolist() == [[0.0]]


def test_overlong_completions_pay_by_length_and_cut_ones_in_full() -> None:
    tokens, ended = torch.tensor([6, 7, 8, 10, 10, 3]), torch.tensor([True, True, True, True, False, False])
    made = overlong_punishment(tokens, ended, limit_tokens=10, buffer_tokens=4)
    torch.testing.assert_close(made, torch.tensor([0.0, -0.25, -0.5, -1.0, -1.0, -1.0]))
    assert overlong_punishment(tokens, ended, 10, 0).tolist() == [0.0, 0.0, 0.0, 0.0, -1.0, -1.0]


@pytest.mark.parametrize("size", [3, 10])
def test_a_constant_group_is_zero_beside_a_missing_reward(size: int) -> None:
    rewards = torch.cat([torch.full((size,), 0.1, dtype=torch.float64), torch.tensor([float("nan")]).double()])
    assert group_centered(rewards, torch.zeros(size + 1, dtype=torch.long)).tolist() == [0.0] * (size + 1)


def test_a_group_without_any_reward_is_zero() -> None:
    rewards, groups = torch.tensor([float("nan")] * 2 + [1.0, 0.0]), torch.tensor([0, 0, 1, 1])
    for made in (group_relative(rewards, groups), leave_one_out(rewards, groups), group_centered(rewards, groups)):
        assert made[:2].tolist() == [0.0, 0.0]
        assert float(made[2]) > 0
    assert over_the_batch(torch.tensor([float("nan"), 0.5])).tolist() == [0.0, 0.0]


def test_group_ids_need_not_be_dense() -> None:
    assert group_mean(torch.tensor([1.0, 3.0, 5.0, 5.0]), torch.tensor([4, 4, 1, 1])).tolist() == [2.0, 2.0, 5.0, 5.0]


def test_two_tokens_can_be_whitened_and_one_cannot() -> None:
    pair, both = torch.tensor([[1.0, 3.0]]), torch.tensor([[True, True]])
    torch.testing.assert_close(whiten(pair, both), torch.tensor([[-1.0, 1.0]]) / 2**0.5)
    torch.testing.assert_close(unit_spread(pair, both, 0.0), pair / 2**0.5)
    assert whiten(pair, torch.tensor([[True, False]])).tolist() == [[0.0, 0.0]]
    assert unit_spread(pair, torch.tensor([[True, False]]), 0.0).tolist() == [[0.0, 0.0]]


def test_gae_of_one_token() -> None:
    one = torch.tensor([[True]])
    advantages, returns = gae(torch.tensor([[1.0]]), torch.tensor([[0.25]]), one, 0.9, 0.8)
    assert (advantages.tolist(), returns.tolist()) == ([[0.75]], [[1.0]])

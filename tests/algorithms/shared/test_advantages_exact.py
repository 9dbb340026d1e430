"""Each advantage where every completion is written down: bias to rounding, in float64."""

from __future__ import annotations

from math import comb, sqrt

import pytest
import torch
from torch import Tensor

from exact import EXACT, WORLD, factor, group_moments, relative_error
from ppo_vs_grpo.algorithms.shared import advantages as adv
from ppo_vs_grpo.benchmarks.theory.enumeration import LENGTH, PROMPTS, Enumeration


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_baseline_is_unbiased(size: int) -> None:
    assert factor(group_moments(WORLD, size, lambda r, g, row: r).mean_D) == pytest.approx(1, abs=EXACT)


@pytest.mark.parametrize("size", [2, 3])
def test_leave_one_out_is_unbiased(size: int) -> None:
    moments = group_moments(WORLD, size, lambda r, g, row: adv.leave_one_out(r, g))
    assert factor(moments.mean_D) == pytest.approx(1, abs=EXACT)
    assert moments.variance < group_moments(WORLD, size, lambda r, g, row: r).variance


@pytest.mark.parametrize("size", [2, 3])
def test_the_mean_with_the_row_itself_shrinks_the_gradient_by_one_in_g(size: int) -> None:
    moments = group_moments(WORLD, size, lambda r, g, row: adv.group_centered(r, g))
    assert factor(moments.mean_D) == pytest.approx(1 - 1 / size, abs=EXACT)


@pytest.mark.parametrize("size", [2, 3])
def test_dividing_by_the_groups_spread_scales_each_prompt_by_its_own_factor(size: int) -> None:
    """With 0/1 rewards the factor is known: in a group with k right, all right rows have the same A."""
    passed_B = (WORLD.rewards_B > 0.5).double()
    world = Enumeration(WORLD.policy, WORLD.prompt_B, WORLD.completion_BT, WORLD.mask_BT, passed_B)
    mean_D = group_moments(world, size, lambda r, g, row: adv.group_relative(r, g, ddof=0, eps=0.0)).mean_D
    expected_D = torch.zeros_like(mean_D)
    for p in range(PROMPTS):
        rate = float((world.probability_B * passed_B)[world.prompt_B == p].sum())
        alone = Enumeration(
            world.policy, world.prompt_B, world.completion_BT, world.mask_BT, passed_B * (world.prompt_B == p)
        )
        expected_D += z_score_factor(rate, size) * alone.gradient_D()
    assert relative_error(mean_D, expected_D) < EXACT


def z_score_factor(rate: float, size: int) -> float:
    """E[A | right] - E[A | wrong] of one row of a group whose others pass with probability `rate`."""
    total = 0.0
    for k in range(size):  # right among the others
        weight = comb(size - 1, k) * rate**k * (1 - rate) ** (size - 1 - k)
        right, wrong = (k + 1) / size, k / size
        if right < 1:
            total += weight * (1 - right) / sqrt(right * (1 - right))
        if wrong > 0:
            total += weight * wrong / sqrt(wrong * (1 - wrong))
    return total


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_gae_with_the_true_value_is_unbiased_for_every_lambda(lam: float) -> None:
    """E[delta | s_t, a_t] with the true V is the true advantage, so lambda moves the variance only."""
    values_BT = WORLD.values_BT()
    rewards_BT = adv.terminal(WORLD.rewards_B, WORLD.mask_BT)
    advantages_BT, _ = adv.gae(rewards_BT, values_BT, WORLD.mask_BT, 1.0, lam)
    moments = group_moments(WORLD, 1, lambda r, g, row: advantages_BT[row])
    assert factor(moments.mean_D) == pytest.approx(1, abs=EXACT)
    assert moments.variance < group_moments(WORLD, 1, lambda r, g, row: r).variance


@pytest.mark.parametrize("alpha", [1.0, 2.0, 10.0])
def test_a_lambda_of_the_length_is_biased_even_with_the_true_value(alpha: float) -> None:
    """At a token the length is not known yet, and lambda weighs later errors by it: the bias falls as 1 / alpha."""
    lam_B = adv.length_lambda(WORLD.mask_BT, alpha)
    rewards_BT = adv.terminal(WORLD.rewards_B, WORLD.mask_BT)
    advantages_BT, _ = adv.gae(rewards_BT, WORLD.values_BT(), WORLD.mask_BT, 1.0, lam_B)
    moments = group_moments(WORLD, 1, lambda r, g, row: advantages_BT[row])
    assert alpha * relative_error(moments.mean_D, WORLD.gradient_D()) == pytest.approx(0.0519, abs=1e-4)
    assert moments.variance < group_moments(WORLD, 1, lambda r, g, row: r).variance


def test_gae_with_a_wrong_value_is_unbiased_at_lambda_one_only() -> None:
    generator = torch.Generator().manual_seed(5)
    rewards_BT = adv.terminal(WORLD.rewards_B, WORLD.mask_BT)
    # A value of the prefix, as a critic's is: the true one, disturbed by a function of position and prompt.
    noise_PT = torch.randn((PROMPTS, LENGTH), dtype=torch.float64, generator=generator)
    wrong_BT = (WORLD.values_BT() + noise_PT[WORLD.prompt_B]) * WORLD.mask_BT
    shares = []
    for lam in (1.0, 0.0):
        advantages_BT, _ = adv.gae(rewards_BT, wrong_BT, WORLD.mask_BT, 1.0, lam)
        mean_D = group_moments(WORLD, 1, lambda r, g, row, a_BT=advantages_BT: a_BT[row]).mean_D  # type: ignore[misc]
        shares.append(relative_error(mean_D, WORLD.gradient_D()))
    assert shares[0] < EXACT
    assert shares[1] > 0.1


def test_rewards_to_go_weigh_every_token_without_bias() -> None:
    to_go_BT = adv.reward_to_go(adv.terminal(WORLD.rewards_B, WORLD.mask_BT), WORLD.mask_BT)
    assert factor(group_moments(WORLD, 1, lambda r, g, row: to_go_BT[row]).mean_D) == pytest.approx(1, abs=EXACT)


@pytest.mark.parametrize("step_tokens", [1, 2, 3])
def test_differences_of_the_true_value_over_steps_are_unbiased(step_tokens: int) -> None:
    made_BT = adv.step_difference(WORLD.rewards_B, WORLD.values_BT(), WORLD.mask_BT, step_tokens)
    moments = group_moments(WORLD, 1, lambda r, g, row: made_BT[row])
    assert factor(moments.mean_D) == pytest.approx(1, abs=EXACT)


def grouped_gae(rewards_N: Tensor, group_N: Tensor, row_N: Tensor, lam: float) -> Tensor:
    """The hybrid ppo-group: V of every token is the mean of the group."""
    mask_NT = WORLD.mask_BT[row_N]
    values_NT = adv.group_mean(rewards_N, group_N)[:, None] * mask_NT
    return adv.gae(adv.terminal(rewards_N, mask_NT), values_NT, mask_NT, 1.0, lam)[0]


def test_gae_on_the_groups_mean_shrinks_by_one_in_g_at_lambda_one_and_is_biased_below() -> None:
    whole, decayed = (
        group_moments(WORLD, 2, lambda r, g, row, lam=lam: grouped_gae(r, g, row, lam)).mean_D  # type: ignore[misc]
        for lam in (1.0, 0.5)
    )
    assert factor(whole) == pytest.approx(1 - 1 / 2, abs=EXACT)
    assert relative_error(decayed, whole) > 0.1


def test_a_batch_of_one_group_is_scaled_as_the_group_is() -> None:
    def by_batch(rewards_N: Tensor, group_N: Tensor, row_N: Tensor) -> Tensor:
        one_group = torch.zeros(2, dtype=torch.long)
        pairs = rewards_N.view(-1, 2)
        return torch.cat([adv.group_relative(pair, one_group, eps=0.1, scale="batch") for pair in pairs])

    ours = group_moments(WORLD, 2, by_batch).mean_D
    theirs = group_moments(WORLD, 2, lambda r, g, row: adv.group_relative(r, g, eps=0.1)).mean_D
    assert relative_error(ours, theirs) < EXACT


def test_one_spread_for_all_only_scales_the_gradient() -> None:
    rewards_BT = adv.terminal(WORLD.rewards_B, WORLD.mask_BT)
    plain_BT, _ = adv.gae(rewards_BT, WORLD.values_BT(), WORLD.mask_BT, 1.0, 1.0)
    scaled_BT = adv.unit_spread(plain_BT, WORLD.mask_BT, eps=0.1)
    scale = 1 / (float(plain_BT[WORLD.mask_BT].std()) + 0.1)
    mean_D = group_moments(WORLD, 1, lambda r, g, row: scaled_BT[row]).mean_D
    assert factor(mean_D) == pytest.approx(scale, rel=EXACT)

"""Each formula against a world where every completion is written down: exact to rounding, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ppo_vs_grpo.algorithms.shared import advantages as adv
from ppo_vs_grpo.algorithms.shared import losses
from ppo_vs_grpo.algorithms.shared.config import Clip
from ppo_vs_grpo.benchmarks.enumeration import (
    LENGTH,
    PROMPTS,
    Enumeration,
    Policy,
    enumerate_all,
    group_moments,
)

WORLD = enumerate_all(seed=3)
EXACT = 1e-10


def relative_error(a_D: Tensor, b_D: Tensor) -> float:
    return float((a_D - b_D).norm() / b_D.norm())


def factor(mean_D: Tensor) -> float:
    """How much of the true gradient a mean holds; it must hold nothing else."""
    true_D = WORLD.gradient_D()
    share = float(mean_D @ true_D / (true_D @ true_D))
    assert relative_error(mean_D, share * true_D) < EXACT
    return share


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
    from math import comb, sqrt

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


def test_source_and_clipped_have_the_policy_gradient_at_the_sampling_policy() -> None:
    weight_B1 = WORLD.probability_B[:, None] / PROMPTS
    old_BT = WORLD.logp_BT()
    reward_BT = WORLD.rewards_B[:, None].expand_as(old_BT)

    def descend(name: str, theta_D: Tensor) -> Tensor:
        logp_BT = WORLD.logp_BT(Policy(theta_D))
        if name == "source":
            loss_BT = losses.source(logp_BT, reward_BT)
        else:
            loss_BT = losses.clipped(losses.token_ratio(logp_BT, old_BT), reward_BT, Clip())
        return (loss_BT * WORLD.mask_BT * weight_B1).sum()

    for name in ("source", "clipped"):
        gradient_D = torch.func.grad(lambda theta_D, name=name: descend(name, theta_D))(WORLD.policy.theta_D)
        assert factor(-gradient_D) == pytest.approx(1, abs=EXACT)


def kl_gradients(direction: str) -> Tensor:
    """The exact gradient of the whole completion's KL between the policy and a fixed other one."""
    other = Policy.random(seed=11)
    fixed_B = WORLD.logp_BT(other).sum(1)

    def kl(theta_D: Tensor) -> Tensor:
        logp_B = WORLD.logp_BT(Policy(theta_D)).sum(1)
        forward = (fixed_B.exp() * (fixed_B - logp_B)).sum()
        return (forward if direction == "forward" else (logp_B.exp() * (logp_B - fixed_B)).sum()) / PROMPTS

    gradient_D: Tensor = torch.func.grad(kl)(WORLD.policy.theta_D)
    return gradient_D


def estimator_gradient(name: str) -> Tensor:
    """Expected gradient of a KL estimator used as a loss on the whole completion's log-probability."""
    other_B = WORLD.logp_BT(Policy.random(seed=11)).sum(1)
    old_B, weight_B = WORLD.logp_BT().sum(1), WORLD.probability_B / PROMPTS

    def loss(theta_D: Tensor) -> Tensor:
        logp_B = WORLD.logp_BT(Policy(theta_D)).sum(1)
        if name == "k3_ratio":
            return (weight_B * losses.k3_ratio(logp_B, old_B, other_B)).sum()
        return (weight_B * getattr(losses, name)(logp_B, other_B)).sum()

    gradient_D: Tensor = torch.func.grad(loss)(WORLD.policy.theta_D)
    return gradient_D


@pytest.mark.parametrize(("name", "direction"), [("k2", "reverse"), ("k3", "forward"), ("k3_ratio", "reverse")])
def test_a_kl_estimators_gradient_as_a_loss(name: str, direction: str) -> None:
    assert relative_error(estimator_gradient(name), kl_gradients(direction)) < EXACT
    other = "forward" if direction == "reverse" else "reverse"
    assert relative_error(estimator_gradient(name), kl_gradients(other)) > 0.1


def test_k1_as_a_loss_has_no_gradient_at_all() -> None:
    assert float(estimator_gradient("k1").norm()) < EXACT


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_k1_and_k3_estimate_the_reverse_kl_without_bias(name: str) -> None:
    other_B, logp_B = WORLD.logp_BT(Policy.random(seed=11)).sum(1), WORLD.logp_BT().sum(1)
    exact = float((WORLD.probability_B * (logp_B - other_B)).sum())
    assert float((WORLD.probability_B * getattr(losses, name)(logp_B, other_B)).sum()) == pytest.approx(
        exact, abs=EXACT
    )


def test_the_exact_kl_summed_over_the_samples_positions_is_the_sequences_kl() -> None:
    mine_BTV = WORLD.policy.log_probs(WORLD.prompt_B, WORLD.completion_BT)
    other = Policy.random(seed=11)
    other_BTV = other.log_probs(WORLD.prompt_B, WORLD.completion_BT)
    per_token_BT = losses.exact_kl(mine_BTV, other_BTV) * WORLD.mask_BT
    expected = float((WORLD.probability_B * (WORLD.logp_BT() - WORLD.logp_BT(other)).sum(1)).sum())
    assert float((WORLD.probability_B[:, None] * per_token_BT).sum()) == pytest.approx(expected, abs=EXACT)


def test_the_exact_kl_to_the_previous_step_has_no_gradient_at_that_step() -> None:
    old_BTV = WORLD.policy.log_probs(WORLD.prompt_B, WORLD.completion_BT)

    def kl(theta_D: Tensor) -> Tensor:
        new_BTV = Policy(theta_D).log_probs(WORLD.prompt_B, WORLD.completion_BT)
        return (losses.exact_kl(old_BTV, new_BTV) * WORLD.mask_BT).sum()

    assert float(torch.func.grad(kl)(WORLD.policy.theta_D).norm()) < EXACT

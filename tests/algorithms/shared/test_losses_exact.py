"""Each objective, KL and aggregation where every completion is written down: gradients to rounding, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exact import EXACT, NEAR_D, WORLD, factor, gradient_at, group_moments, relative_error
from ppo_vs_grpo.algorithms.shared import advantages as adv
from ppo_vs_grpo.algorithms.shared import losses
from ppo_vs_grpo.algorithms.shared.config import Clip
from ppo_vs_grpo.algorithms.shared.types import Denominators
from ppo_vs_grpo.benchmarks.theory.enumeration import LENGTH, PROMPTS, Enumeration, Policy


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


@pytest.mark.parametrize(("name", "direction"), [("k3", "forward"), ("k3_ratio", "reverse")])
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


def test_the_ratio_of_whole_completions_is_exact_away_from_the_sampling_policy_and_that_of_tokens_is_not() -> None:
    last_BT = adv.terminal(torch.ones_like(WORLD.rewards_B), WORLD.mask_BT)  # a completion's ratio counts once
    reward_BT, old_BT, wide = WORLD.rewards_B[:, None].expand_as(last_BT), WORLD.logp_BT(), Clip(low=0.99, high=99)

    def whole(logp_BT: Tensor) -> Tensor:
        return losses.clipped(losses.sequence_ratio(logp_BT, old_BT, WORLD.mask_BT), reward_BT, wide) * last_BT

    def tokens(logp_BT: Tensor) -> Tensor:
        return losses.clipped(losses.token_ratio(logp_BT, old_BT), reward_BT, wide)

    true_D = Enumeration(
        Policy(NEAR_D), WORLD.prompt_B, WORLD.completion_BT, WORLD.mask_BT, WORLD.rewards_B
    ).gradient_D()
    assert relative_error(-gradient_at(NEAR_D, whole), true_D) < EXACT
    assert relative_error(-gradient_at(NEAR_D, tokens), true_D) > 0.01


def test_the_mean_ratio_divides_a_completions_gradient_by_its_length() -> None:
    old_BT, reward_BT = WORLD.logp_BT(), WORLD.rewards_B[:, None].expand(-1, LENGTH)
    last_BT = adv.terminal(torch.ones_like(WORLD.rewards_B), WORLD.mask_BT)

    def mean(logp_BT: Tensor) -> Tensor:
        return losses.clipped(losses.mean_sequence_ratio(logp_BT, old_BT, WORLD.mask_BT), reward_BT, Clip()) * last_BT

    def source(logp_BT: Tensor) -> Tensor:
        return losses.source(logp_BT, reward_BT) / WORLD.mask_BT.sum(1, keepdim=True)

    theta_D = WORLD.policy.theta_D
    assert relative_error(gradient_at(theta_D, mean), gradient_at(theta_D, source)) < EXACT


def test_a_dual_clip_leaves_the_gradient_at_the_sampling_policy_alone() -> None:
    old_BT, centred_BT = WORLD.logp_BT(), (WORLD.rewards_B - 0.5)[:, None].expand(-1, LENGTH)
    both = [
        gradient_at(
            WORLD.policy.theta_D,
            lambda logp_BT, clip=clip: losses.clipped(losses.token_ratio(logp_BT, old_BT), centred_BT, clip),  # type: ignore[misc]
        )
        for clip in (Clip(), Clip(dual=3.0))
    ]
    assert relative_error(*both) < EXACT


def test_the_penalty_in_the_reward_has_the_gradient_of_the_reverse_kl() -> None:
    other_BT, beta = WORLD.logp_BT(Policy.random(seed=11)), 0.3
    kl_BT = losses.k1(WORLD.logp_BT(), other_BT)
    rewards_BT = adv.penalised(adv.terminal(WORLD.rewards_B, WORLD.mask_BT), kl_BT, beta, WORLD.mask_BT)
    to_go_BT = adv.reward_to_go(rewards_BT, WORLD.mask_BT)
    mean_D = group_moments(WORLD, 1, lambda r, g, row: to_go_BT[row]).mean_D
    assert relative_error(mean_D, WORLD.gradient_D() - beta * kl_gradients("reverse")) < EXACT


def test_the_sampled_forward_kl_has_the_gradient_of_the_sources_direction() -> None:
    other_BT, old_BT = WORLD.logp_BT(Policy.random(seed=11)), WORLD.logp_BT()
    ours_D = gradient_at(
        WORLD.policy.theta_D, lambda logp_BT: losses.forward_kl(logp_BT, old_BT, other_BT, WORLD.mask_BT)
    )
    assert relative_error(ours_D, kl_gradients("forward")) < EXACT


def test_the_sampled_kl_to_the_previous_step_adds_beta_to_every_advantage_and_pulls_nowhere() -> None:
    old_BT, beta = WORLD.logp_BT(), 0.3
    reward_BT = WORLD.rewards_B[:, None].expand(-1, LENGTH)

    def with_kl(logp_BT: Tensor) -> Tensor:
        return losses.source(logp_BT, reward_BT) + beta * losses.forward_kl(logp_BT, old_BT, old_BT, WORLD.mask_BT)

    def shifted(logp_BT: Tensor) -> Tensor:
        return losses.source(logp_BT, reward_BT + beta)

    theta_D = NEAR_D
    assert relative_error(gradient_at(theta_D, with_kl), gradient_at(theta_D, shifted)) < EXACT
    at_old = gradient_at(
        WORLD.policy.theta_D, lambda logp_BT: losses.forward_kl(logp_BT, old_BT, old_BT, WORLD.mask_BT)
    )
    assert float(at_old.norm()) < EXACT


@pytest.mark.parametrize(("name", "share"), [("sequence_sum", 1.0), ("constant", 1 / LENGTH)])
def test_the_aggregations_that_keep_the_direction(name: str, share: float) -> None:
    """One row is a step of its own here; the other two divide by the length and bend the gradient."""
    assert factor(-aggregated(name)) == pytest.approx(share, abs=EXACT)


@pytest.mark.parametrize("name", ["token_mean", "sequence_mean"])
def test_the_aggregations_that_bend_it_by_length(name: str) -> None:
    gradient_D, true_D = -aggregated(name), WORLD.gradient_D()
    cosine = float(gradient_D @ true_D / (gradient_D.norm() * true_D.norm()))
    assert 0 < cosine < 0.9999


def aggregated(name: str) -> Tensor:
    """Expected gradient where every completion is an optimizer step of its own."""
    weight_B = WORLD.probability_B / PROMPTS
    reward_BT = WORLD.rewards_B[:, None].expand(-1, LENGTH)

    def descend(theta: Tensor) -> Tensor:
        loss_BT = losses.source(WORLD.logp_BT(Policy(theta)), reward_BT)
        lengths = WORLD.mask_BT.sum(1).tolist()
        rows = [
            getattr(losses, name)(loss_BT[i : i + 1], WORLD.mask_BT[i : i + 1], Denominators(n, 1, LENGTH))
            for i, n in enumerate(lengths)
        ]
        return (torch.stack(rows) * weight_B).sum()

    gradient_D: Tensor = torch.func.grad(descend)(WORLD.policy.theta_D)
    return gradient_D

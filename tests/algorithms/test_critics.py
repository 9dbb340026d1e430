"""EVPO and SAO: what each takes from where, by hand and where every completion is written down."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from copying import prompts
from exact import EXACT, WORLD, factor, gradient_at, group_moments, relative_error
from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared import advantages as adv
from ppo_vs_grpo.algorithms.shared.config import Clip, CriticConfig, TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import masked
from ppo_vs_grpo.algorithms.shared.trainer import make_batch
from ppo_vs_grpo.algorithms.shared.types import Advantages, Context, Rollouts, ScoredRollouts
from ppo_vs_grpo.benchmarks.theory.enumeration import Policy
from small_trainer import TRAIN, trainer

MASK = torch.tensor([[True, True], [True, False]])
LOGP = torch.tensor([[-1.0, -2.0], [-0.5, 0.0]])
REFERENCE = torch.tensor([[-1.5, -1.0], [-1.5, 0.0]])
POOR, GOOD = torch.tensor([[0.2, 0.6], [0.5, 0.0]]), torch.tensor([[0.9, 1.0], [0.1, 0.0]])


def made(name: str, train: TrainConfig | None = None, **config: Any) -> Algorithm:
    kind = find(name)
    return kind(kind.Config.model_validate(entry(name).config | config), train or TrainConfig(beta=0.1))


def scored(sampler_logp: Tensor = LOGP) -> ScoredRollouts:
    """Two completions of one prompt, of two tokens with reward 1 and of one token with reward 0."""
    zeros = torch.zeros(2, 2).long()
    rollouts = Rollouts(prompts((3,)), torch.tensor([0, 0]), zeros, MASK, LOGP, sampler_logp, MASK.any(1), 2)
    return ScoredRollouts(rollouts, torch.tensor([1.0, 0.0]), torch.tensor([True, False]), {})


@pytest.mark.parametrize("lam", [0.0, 0.95])
def test_evpo_takes_the_groups_mean_where_the_critic_explains_nothing(lam: float) -> None:
    # Penalised: -0.1 * (0.5, -1) + (0, 1) and -0.1 * 1. To come: (1.05, 1.1) and -0.1, mean of the rows' 0.475.
    # Less V: (0.85, 0.5) and -0.6; squares about the means 1.145 and 0.92167. Against lambda-returns at lambda 0,
    # (0.55, 1.1) and -0.1, these would be 0.71167 and 0.72167, and the critic's.
    found = made("evpo", whiten=False, lam=lam).advantages(scored(), Context(REFERENCE, POOR))
    torch.testing.assert_close(found.advantages_BT, torch.tensor([[0.575, 0.625], [-0.575, 0.0]]))
    assert found.metrics == {
        "monte_carlo_explained_variance": pytest.approx(1 - 1.145 / (2.765 / 3)),
        "baseline_by_critic": 0.0,
    }


def test_evpo_is_ppo_where_the_critic_explains_something() -> None:
    # Less V: (0.15, 0.1) and -0.2, whose squares about their mean are 0.07167.
    found = made("evpo").advantages(scored(), Context(REFERENCE, GOOD))
    ppo = made("ppo").advantages(scored(), Context(REFERENCE, GOOD))
    assert torch.equal(found.advantages_BT, ppo.advantages_BT)
    assert found.metrics == {
        "monte_carlo_explained_variance": pytest.approx(1 - 0.215 / 2.765),
        "baseline_by_critic": 1.0,
    }


@pytest.mark.parametrize("values", [POOR, GOOD])
def test_evpo_fits_its_critic_as_ppo_whatever_the_baseline(values: Tensor) -> None:
    ours, theirs = (made(name).advantages(scored(), Context(REFERENCE, values)) for name in ("evpo", "ppo"))
    assert torch.equal(ours.returns_BT, theirs.returns_BT)


def test_evpo_without_a_difference_in_rewards_has_no_explained_variance_and_no_advantage() -> None:
    alike = ScoredRollouts(scored().rollouts, torch.tensor([0.1, 0.1]), torch.tensor([True, True]), {})
    found = made("evpo", whiten=False).advantages(alike, Context(None, GOOD))
    assert not found.advantages_BT.any()
    assert found.metrics == {"monte_carlo_explained_variance": None, "baseline_by_critic": 0.0}


def of_world(algorithm: Algorithm, rewards_N: Tensor, group_N: Tensor, row_N: Tensor, values_BT: Tensor) -> Advantages:
    """The advantages of rows of the enumerated world."""
    mask_NT, logp_NT = WORLD.mask_BT[row_N], WORLD.logp_BT()[row_N]
    rollouts = Rollouts(
        prompts((3,)), group_N, WORLD.completion_BT[row_N], mask_NT, logp_NT, logp_NT, mask_NT.any(1), mask_NT.shape[1]
    )
    sampled = ScoredRollouts(rollouts, rewards_N, rewards_N > 0.5, {})
    return algorithm.advantages(sampled, Context(None, values_BT[row_N]))


@pytest.mark.parametrize("size", [2, 3])
def test_evpos_gradient_is_exact_by_its_critic_and_that_of_the_groups_mean_without_one(size: int) -> None:
    """The batch holds every completion alike, so V is that of a policy that draws them so, and lambda 1 forgives it.

    A new critic's V is 0 everywhere: it explains exactly nothing.
    """
    algorithm, gates = made("evpo", whiten=False, lam=1.0), []

    def advantages(values_BT: Tensor, r: Tensor, g: Tensor, row: Tensor) -> Tensor:
        found = of_world(algorithm, r, g, row, values_BT)
        gates.append(found.metrics["baseline_by_critic"])
        return found.advantages_BT

    even_BT = replace(WORLD, policy=Policy(0 * WORLD.policy.theta_D)).values_BT()
    by_critic = group_moments(WORLD, size, lambda r, g, row: advantages(even_BT, r, g, row))
    by_group = group_moments(WORLD, size, lambda r, g, row: advantages(0 * even_BT, r, g, row))
    assert gates == [1.0, 0.0]
    assert factor(by_critic.mean_D) == pytest.approx(1, abs=EXACT)
    assert factor(by_group.mean_D) == pytest.approx(1 - 1 / size, abs=EXACT)


def test_saos_mask_leaves_tokens_outside_the_bounds_out_on_both_sides() -> None:
    ratio = torch.tensor([[0.7, 0.85, 1.0, 1.3, 1.5]] * 2)
    log_ratio = ratio.log().requires_grad_()
    advantages = torch.tensor([[2.0], [-3.0]]).expand(2, 5)
    loss = masked(log_ratio, advantages, Clip(low=0.2, high=0.4))
    expected = torch.tensor([[0.0, -1.7, -2.0, -2.6, 0.0], [0.0, 2.55, 3.0, 3.9, 0.0]])
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    torch.testing.assert_close(log_ratio.grad, expected)  # that of -rho * A in log rho is -rho * A


def test_saos_objective_has_the_exact_gradient_at_the_sampling_policy() -> None:
    advantages_BT = adv.reward_to_go(adv.terminal(WORLD.rewards_B, WORLD.mask_BT), WORLD.mask_BT)
    logp_old_BT = WORLD.logp_BT()
    found_D = gradient_at(WORLD.policy.theta_D, lambda logp_BT: masked(logp_BT - logp_old_BT, advantages_BT, Clip()))
    assert relative_error(found_D, -WORLD.gradient_D()) < EXACT


def test_saos_critic_has_monte_carlo_targets() -> None:
    found = made("sao").advantages(scored(), Context(REFERENCE, POOR))
    torch.testing.assert_close(found.returns_BT, torch.tensor([[1.05, 1.1], [-0.1, 0.0]]))
    critic = made("sao").needs.critic
    assert critic is not None
    assert (critic.kind, critic.passes, critic.frozen_attention) == ("model", 2, True)


@pytest.mark.parametrize("corrected", [False, True])
def test_saos_ratio_is_to_the_sampler_and_has_the_importance_weight_in_it(corrected: bool) -> None:
    sampler = LOGP + math.log(2)
    train = TrainConfig(beta=0.1, top_k=3 * corrected, importance_correction=corrected)
    batches = {}
    for name in ("sao", "ppo"):
        algorithm = made(name, train, whiten=False, value_lam=1.0)
        batches[name] = make_batch(algorithm, scored(sampler), Context(REFERENCE, POOR), train)
    assert torch.equal(batches["sao"].logp_old_BT, sampler)
    assert torch.equal(batches["ppo"].logp_old_BT, LOGP)
    torch.testing.assert_close(batches["ppo"].advantages_BT, batches["sao"].advantages_BT * (0.5 if corrected else 1.0))


def test_a_record_says_which_baseline_an_update_took() -> None:
    (record,) = trainer("evpo").updates(1)
    assert record.metrics["monte_carlo_explained_variance"] == 0.0  # of a value head that starts at zero
    assert record.metrics["baseline_by_critic"] == 0.0
    (other,) = trainer("ppo").updates(1)
    assert "baseline_by_critic" not in other.metrics


def test_sao_samples_one_completion_a_prompt_and_steps_its_critic_twice_as_often() -> None:
    train = TRAIN.model_copy(update=entry("sao").train(TRAIN))
    (record,) = trainer("sao", train=train).updates(1)
    assert record.scored.rollouts.group_B.tolist() == list(range(64))
    assert record.metrics["optimizer_steps"] == 2 * train.epochs * train.mini_batches


@pytest.mark.parametrize("rank", [None, 2])
def test_a_frozen_attention_stays_as_it_starts_while_the_rest_of_the_critic_learns(rank: int | None) -> None:
    train = TRAIN.model_copy(update=entry("sao").train(TRAIN) | {"lora_rank": rank})
    run = trainer("sao", train=train)
    assert run.models.trunk is not None
    before = {name: p.detach().clone() for name, p in run.models.trunk.named_parameters()}
    list(run.updates(2))
    moved = {name for name, p in run.models.trunk.named_parameters() if not torch.equal(p, before[name])}
    assert any(".mlp." in name for name in moved)
    assert not any(".self_attn." in name for name in moved)
    policys = {name.removeprefix("model."): p for name, p in run.models.policy.named_parameters()}
    assert any(".self_attn." in name and not torch.equal(policys[name], p) for name, p in before.items())


def test_a_head_has_no_attention_to_freeze() -> None:
    with pytest.raises(ValidationError, match="frozen_attention: a head has no attention; set kind to model"):
        CriticConfig(frozen_attention=True)

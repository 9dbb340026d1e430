"""The gradient probe: against exact variances, known Gaussians, and the gradient that the trainer's update takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from math import inf, nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from copying import PAD, llama
from exact import WORLD, Moments, group_moments
from gaussians import (
    MEAN_D,
    SIGNAL,
    TRACE,
    TRAIN,
    arm,
    certain,
    gaussian,
    gradients_of,
    prepared,
    units_of,
    world_of_rows,
)
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared import advantages as adv
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, join, pack
from ppo_vs_grpo.algorithms.shared.types import Batch
from ppo_vs_grpo.algorithms.shared.update import learner, update
from ppo_vs_grpo.benchmarks.probes import gradient as probes
from ppo_vs_grpo.benchmarks.probes import noise
from ppo_vs_grpo.benchmarks.theory.enumeration import PROMPTS

ARMS = ("ppo", "grpo", "dr-grpo", "rloo", "grpo-value")
Advantage = Callable[[Tensor, Tensor, Tensor], Tensor]


def gae_with_true_values(lam: float) -> Advantage:
    rewards_BT = adv.terminal(WORLD.rewards_B, WORLD.mask_BT)
    advantages_BT, _ = adv.gae(rewards_BT, WORLD.values_BT(), WORLD.mask_BT, 1.0, lam)
    return lambda rewards_N, group_N, row_N: advantages_BT[row_N]


BASELINES: dict[str, Advantage] = {
    "none": lambda rewards_N, group_N, row_N: rewards_N,
    "group mean": lambda rewards_N, group_N, row_N: adv.group_centered(rewards_N, group_N),
    "leave-one-out": lambda rewards_N, group_N, row_N: adv.leave_one_out(rewards_N, group_N),
    "z-score": lambda rewards_N, group_N, row_N: adv.group_relative(rewards_N, group_N),
    "gae 1": gae_with_true_values(1.0),
    "gae 0.95": gae_with_true_values(0.95),
}


def sampled(advantage: Advantage, units: int, seed: int, scale: float = 1.0) -> Tensor:
    """Gradients of rows of pairs drawn from the enumerated world: (U, G, D)."""
    generator = torch.Generator().manual_seed(seed)
    prompt_U = torch.randint(PROMPTS, (units,), generator=generator)
    probability_UR = WORLD.probability_B.view(PROMPTS, -1)[prompt_U]
    rows_UG = torch.multinomial(probability_UR, 2, replacement=True, generator=generator)
    row_N = (rows_UG + prompt_U[:, None] * probability_UR.shape[1]).flatten()
    made_N = scale * advantage(WORLD.rewards_B[row_N], torch.arange(units).repeat_interleave(2), row_N)
    made_NT = made_N if made_N.dim() == 2 else made_N[:, None].expand(-1, WORLD.mask_BT.shape[1])
    return torch.einsum("nt,ntd->nd", made_NT, WORLD.scores_BTD()[row_N]).view(units, 2, -1)


def exact(name: str) -> Moments:
    return group_moments(WORLD, 2, BASELINES[name])


@pytest.mark.parametrize("name", BASELINES)
def test_trace_noise_scale_and_cosine_are_the_enumerations(name: str) -> None:
    true, gradient_D, units = exact(name), WORLD.gradient_D(), 4000
    seen = noise.statistics(sampled(BASELINES[name], units, seed=1).mean(1), gradient_D)
    square = float(true.mean_D.square().sum())
    cosine = float(true.mean_D @ gradient_D / (true.mean_D.norm() * gradient_D.norm()))
    error = true.variance / units / square  # squared, as an angle: of the mean of so many units
    assert 0 < 3 * certain(seen.trace_se) < 0.2 * true.variance
    assert seen.trace == pytest.approx(true.variance, abs=3 * certain(seen.trace_se))
    assert seen.noise_scale == pytest.approx(true.variance / square, abs=3 * certain(seen.noise_scale_se))
    assert seen.cosine == pytest.approx(cosine, abs=3 * (error / 2 + (error * (1 - min(1, cosine**2))) ** 0.5))
    assert 3 * certain(seen.noise_scale_se) < 0.3 * true.variance / square  # or the tolerances would say nothing


@pytest.mark.parametrize("name", ["none", "gae 1", "leave-one-out"])
def test_the_split_of_the_variance_is_the_enumerations(name: str) -> None:
    parts = [noise.split(sampled(BASELINES[name], 40, seed)) for seed in range(100)]
    between = np.array([certain(p.between) for p in parts])
    unit = between + np.array([certain(p.within) for p in parts]) / 2
    assert unit.mean() == pytest.approx(exact(name).variance, abs=3 * unit.std() / 10)
    if name != "leave-one-out":  # a row's variance is between + within, a pair's between + within / 2
        true = 2 * exact(name).variance - group_moments(WORLD, 1, BASELINES[name]).variance
        assert between.mean() == pytest.approx(true, abs=3 * between.std() / 10)


SIDEWAYS_D = torch.tensor([1.0, 2.0, 0.0, 1.0, -1.0], dtype=torch.float64)


def test_few_units_estimate_trace_and_signal_without_bias() -> None:
    seen = [noise.statistics(gaussian(5, seed)) for seed in range(2000)]
    for numbers, true in (([s.trace for s in seen], TRACE), ([s.signal for s in seen], SIGNAL)):
        estimates = np.array(numbers, dtype=float)
        assert estimates.mean() == pytest.approx(true, abs=3 * estimates.std() / 2000**0.5)


def test_standard_errors_are_as_large_as_the_errors() -> None:
    seen = [noise.statistics(gaussian(300, seed), SIDEWAYS_D) for seed in range(300)]
    few_UD = 3 * MEAN_D + gaussian(9, seed=1)
    without = [noise.statistics(few_UD[torch.arange(9) != unit], SIDEWAYS_D) for unit in range(9)]
    for name, true in {"trace": TRACE, "noise_scale": TRACE / SIGNAL, "cosine": 0.0}.items():
        estimates = np.array([getattr(s, name) for s in seen])
        errors = np.array([getattr(s, f"{name}_se") for s in seen])
        assert errors.mean() == pytest.approx(estimates.std(), rel=0.15)
        assert np.mean(np.abs(estimates - true) < 1.96 * errors) == pytest.approx(0.95, abs=0.04)
        error = 8**0.5 * float(np.std([getattr(s, name) for s in without]))
        assert getattr(noise.statistics(few_UD, SIDEWAYS_D), f"{name}_se") == pytest.approx(error, rel=1e-9)


def test_the_advantages_scale_moves_the_trace_and_no_ratio() -> None:
    for name, advantage in BASELINES.items():
        units = (sampled(advantage, 50, seed=2, scale=scale).mean(1) for scale in (1, 5))
        one, five = (noise.statistics(units_UD, WORLD.gradient_D()) for units_UD in units)
        assert five.trace == pytest.approx(25 * certain(one.trace), rel=1e-6), name
        for ratio in ("noise_scale", "cosine", "noise_scale_se", "cosine_se"):
            assert getattr(five, ratio) == pytest.approx(getattr(one, ratio), rel=1e-6), (name, ratio)


def test_units_that_are_not_finite_are_counted_and_left_out() -> None:
    clean_UD = gaussian(6, seed=0)
    dirty_UD = torch.cat([clean_UD, clean_UD[:2]])
    dirty_UD[6, 1], dirty_UD[7, 3] = nan, inf
    assert noise.statistics(dirty_UD, MEAN_D) == replace(noise.statistics(clean_UD, MEAN_D), skipped=2)
    parts = noise.split(torch.stack([dirty_UD, dirty_UD.flip(1)], 1))
    assert parts == replace(noise.split(torch.stack([clean_UD, clean_UD.flip(1)], 1)), skipped=2)
    with pytest.raises(ValueError, match="reference"):
        noise.statistics(clean_UD, dirty_UD[6])


def test_what_is_undefined_is_none() -> None:
    assert noise.statistics(MEAN_D[None]) == noise.GradientNoise(1)
    assert noise.statistics(MEAN_D[None], MEAN_D).cosine == pytest.approx(1)
    assert noise.statistics(torch.full((2, 3), nan)) == noise.GradientNoise(0, 2)
    opposed = noise.statistics(torch.stack([MEAN_D, -MEAN_D]), MEAN_D)
    assert opposed == noise.GradientNoise(2, trace=2 * SIGNAL, signal=-SIGNAL)
    assert noise.statistics(torch.zeros(4, 3)).noise_scale is None
    assert noise.statistics(torch.eye(4)[:, :2], torch.zeros(2)).cosine is None
    assert noise.split(torch.ones(3, 1, 2)) == noise.Split(None, None)
    assert noise.split(torch.eye(2)[None]) == noise.Split(None, 1.0)


def step_gradient(algorithm: Algorithm, models: Models, sequences: Sequences, batch: Batch) -> Tensor:
    """The gradient that the trainer's update descends, from a copy of the policy: (D,)."""
    policy = llama(0)
    learning = learner(replace(models, policy=policy), algorithm, TRAIN)
    update(learning, algorithm, sequences, batch, np.random.default_rng(7), False)
    return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


UNEVEN = torch.tensor([i for i in range(30) if i not in (0, 1, 2, 5, 11, 17, 23)])


def frozen(models: Models, train: TrainConfig = TRAIN) -> Any:
    """What the probe reads of a trainer."""
    engine, limit = SimpleNamespace(pad=PAD), train.max_new_tokens
    return SimpleNamespace(models=models, train=train, engine=engine, max_new_tokens=limit)


@pytest.mark.parametrize("name", ARMS)
def test_the_mean_of_the_units_is_the_gradient_of_one_step(name: str) -> None:
    """The update's critic is detached, so the value loss is not in its gradient; the probe needs no such setting."""
    detached = arm(name, detach=arm(name).needs.critic is not None)
    models, sequences, batch, group_B = prepared(arm(name), UNEVEN)
    parts = probes._gradients(frozen(models), {name: (arm(name), batch)}, sequences, units_of(group_B))
    units_UD = torch.stack([part[name] for part in parts])
    whole_D = step_gradient(detached, models, sequences, batch)
    torch.testing.assert_close(units_UD.mean(0), whole_D, atol=1e-6, rtol=1e-5)
    expected_UD = gradients_of(units_of(group_B), arm(name), models, sequences, batch, TRAIN)
    torch.testing.assert_close(units_UD, expected_UD, atol=1e-5, rtol=1e-5)
    assert all(p.grad is None for p in models.policy_parameters())


def test_rows_of_even_groups_split_the_variance_of_a_unit() -> None:
    algorithm = arm("grpo")
    models, sequences, batch, group_B = prepared(algorithm)
    parts = noise.split(rows_by_group(algorithm, models, sequences, batch, group_B))
    units = noise.statistics(gradients_of(units_of(group_B), algorithm, models, sequences, batch, TRAIN))
    assert certain(parts.between) + certain(parts.within) / 6 == pytest.approx(units.trace, rel=1e-4)


def rows_by_group(algorithm: Algorithm, models: Models, sequences: Sequences, batch: Batch, group_B: Tensor) -> Tensor:
    """Gradients of rows, scaled so that a unit's gradient is the mean of its rows: (U, G, D)."""
    rows = list(torch.arange(len(group_B))[:, None])
    rows_BD = gradients_of(rows, algorithm, models, sequences, batch, TRAIN)
    return torch.stack([rows_BD[unit] for unit in units_of(group_B)])


def test_the_reference_is_reinforce_with_leave_one_out() -> None:
    models, scored, _ = world_of_rows()
    advantages_B = adv.leave_one_out(scored.rewards_B, scored.rollouts.group_B)
    logp_BT = logp(models.policy, pack(join(scored.rollouts, PAD), torch.arange(30)), TRAIN.temperature)
    gradients = torch.autograd.grad(-(advantages_B * logp_BT.sum(1)).mean(), models.policy_parameters())
    expected_D = torch.cat([g.flatten() for g in gradients])
    torch.testing.assert_close(probes.reference_gradient(frozen(models), scored), expected_D, atol=1e-6, rtol=1e-5)


def test_the_probe_measures_every_arm_on_the_same_rollouts() -> None:
    models, scored, context = world_of_rows()
    no_penalty = replace(context, reference_logp_BT=None)
    arms = {**{name: arm(name) for name in ARMS}, "no penalty": arm("rloo")}
    contexts = {**dict.fromkeys(ARMS, context), "no penalty": no_penalty}
    headless = frozen(replace(models, value_head=None))
    seen = probes.probe(headless, arms, scored, contexts, reference=scored)
    reference_D = probes.reference_gradient(frozen(models), scored)
    for name in ARMS:
        sequences, batch, group_B = prepared(arms[name])[1:]
        gradients_UD = gradients_of(units_of(group_B), arms[name], models, sequences, batch, TRAIN)
        whole = noise.statistics(gradients_UD, reference_D)
        rows_UGD = rows_by_group(arms[name], models, sequences, batch, group_B)
        between = noise.split(rows_UGD.unflatten(1, (2, 3)).mean(2)).between
        expected = {k: v for k, v in asdict(replace(whole, between=between)).items() if v is not None}
        assert {k: asdict(seen[name])[k] for k in expected} == pytest.approx(expected, rel=1e-4), name
    assert seen["no penalty"].cosine == pytest.approx(1, abs=1e-5)
    assert abs(certain(seen["ppo"].cosine)) < 0.99
    missing = replace(scored, rewards_B=torch.where(torch.arange(30) == 3, nan, scored.rewards_B))
    with pytest.raises(ValueError, match="missing"):
        probes.probe(headless, arms, missing, contexts)


def test_a_truncated_sampler_and_the_length_limit_are_the_trainers() -> None:
    """Tokens weigh policy / sampler, and a loss per possible token is divided by the limit, not by T."""
    models, scored, context = world_of_rows()
    halved = replace(scored.rollouts, sampler_logp_BT=scored.rollouts.logp_BT + np.log(2))
    algorithm, contexts = arm("dr-grpo", TRAIN.model_copy(update={"beta": 0.0})), {"dr-grpo": context}
    train = TRAIN.model_copy(update={"importance_correction": True, "max_new_tokens": 24})
    arms, half = {"dr-grpo": algorithm}, replace(scored, rollouts=halved)
    plain = probes.probe(frozen(models), arms, scored, contexts)["dr-grpo"]
    corrected = probes.probe(frozen(models, train), arms, half, contexts)
    assert corrected["dr-grpo"].trace == pytest.approx(certain(plain.trace) / (2 * 24 / 12) ** 2, rel=1e-4)

"""The value and baseline probe: what it says of a critic and of baselines whose quality is known."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from copying import Copying
from exact import WORLD
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.enumeration import LENGTH, PROMPTS
from ppo_vs_grpo.benchmarks.probes import values
from ppo_vs_grpo.benchmarks.probes.baselines import (
    BaselineQuality,
    Estimate,
    Floats,
    Prefixes,
    States,
    baseline_quality,
    break_even_group_size,
    jackknife,
    moments,
    summarised,
    variance,
)
from ppo_vs_grpo.benchmarks.probes.values import NO_CRITIC, ValueProbe, measure, value_quality
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.splits import heldout, rng
from test_trainer import AnyLetter, trainer
from test_update import weights


def near(estimate: Estimate, expected: float, errors: float = 3) -> bool:
    assert estimate.value is not None
    assert estimate.se is not None
    return abs(estimate.value - expected) <= errors * estimate.se


def value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def conditional_cdf() -> Floats:
    """The distribution over the world's completions given the prefix of row r before token t: (R, T, R)."""
    tokens, prompt_R = WORLD.completion_BT.numpy(), WORLD.prompt_B.numpy()
    cdf = np.empty((len(prompt_R), LENGTH, len(prompt_R)))
    for t in range(LENGTH):
        same = (prompt_R[:, None] == prompt_R) & (tokens[:, None, :t] == tokens[None, :, :t]).all(2)
        weight = same * WORLD.probability_B.numpy()
        cdf[:, t] = np.cumsum(weight / weight.sum(1, keepdims=True), 1)
    return cdf


CDF, EXACT_V, LENGTHS = conditional_cdf(), WORLD.values_BT().numpy(), WORLD.mask_BT.sum(1).numpy()


def pick(rng: np.random.Generator, cdf: Floats) -> np.ndarray:
    """An index for each row of cumulative probabilities (..., R)."""
    picked: np.ndarray = (rng.random((*cdf.shape[:-1], 1)) > cdf).sum(-1).clip(max=cdf.shape[-1] - 1)
    return picked


def probed(seed: int, prompts: int, continuations: int, per_prompt: int = 3) -> Prefixes:
    """Prefixes of sampled completions of the enumerated world, its exact values as V, and sampled continuations."""
    rng = np.random.default_rng(seed)
    rows = len(EXACT_V) // PROMPTS
    first_N = np.repeat(rng.integers(PROMPTS, size=prompts) * rows, per_prompt)
    row_N = pick(rng, CDF[first_N, 0])
    t_N = (rng.random(len(row_N)) * LENGTHS[row_N]).astype(int)
    reward_NK = WORLD.rewards_B.numpy()[pick(rng, np.repeat(CDF[row_N, t_N][:, None], continuations, 1))]
    return Prefixes(
        prompt_N=np.arange(prompts).repeat(per_prompt),
        position_N=t_N / LENGTHS[row_N],
        mean_N=reward_NK.mean(1),
        variance_N=reward_NK.var(1, ddof=1) if continuations > 1 else None,
        rated_N=np.full(len(row_N), continuations),
        value_N=EXACT_V[row_N, t_N],
    )


def uncorrected(prefixes: Prefixes) -> Prefixes:
    assert prefixes.variance_N is not None
    return replace(prefixes, variance_N=0 * prefixes.variance_N)


TRUE_MEAN = float(probed(99, 20_000, 2).value_N.mean())  # type: ignore[union-attr]


def test_the_exact_value_scores_one_at_any_number_of_continuations_and_without_the_correction_it_drifts() -> None:
    naive = []
    for k in (2, 4, 16):
        prefixes = probed(k, 800, k)
        quality = value_quality(prefixes)
        assert near(quality.mse, 0)
        assert near(quality.explained_variance, 1)
        assert near(quality.bias, 0)
        drifted = value_quality(uncorrected(prefixes))
        assert quality.mse_uncorrected == pytest.approx(value(drifted.mse))
        assert not near(drifted.mse, 0)
        assert not near(drifted.explained_variance, 1)
        naive.append(value(drifted.explained_variance))
    assert naive[0] < naive[1] - 0.05 < naive[2] - 0.1


@pytest.mark.parametrize("k", [2, 4, 16])
def test_a_critic_that_knows_nothing_explains_nothing(k: int) -> None:
    prefixes = probed(10 + k, 800, k)
    constant = value_quality(replace(prefixes, value_N=np.full(len(prefixes.mean_N), TRUE_MEAN)))
    assert near(constant.explained_variance, 0)
    assert constant.kendall_tau == Estimate(None, None)
    noise_N = np.random.default_rng(k).normal(TRUE_MEAN, 0.1, len(prefixes.mean_N))
    noisy = value_quality(replace(prefixes, value_N=noise_N))
    explained = noisy.explained_variance
    assert value(explained) < -3 * (explained.se or 0)  # it adds its own noise
    assert near(noisy.kendall_tau, 0)


@pytest.mark.parametrize("knows", [True, False])
def test_few_prompts_and_continuations_bias_nothing_and_the_error_is_honest(knows: bool) -> None:
    estimates = []
    for seed in range(150):
        prefixes = probed(1000 + seed, 24, 2)
        if not knows:
            prefixes = replace(prefixes, value_N=np.full(len(prefixes.mean_N), TRUE_MEAN))
        estimates.append(value_quality(prefixes).mse)
    values_S = np.array([value(e) for e in estimates])
    true = 0.0 if knows else float(probed(98, 20_000, 2).value_N.var())  # type: ignore[union-attr]
    assert abs(values_S.mean() - true) < 3 * values_S.std() / 150**0.5
    assert np.mean([e.se or 0 for e in estimates]) == pytest.approx(values_S.std(), rel=0.15)


@pytest.mark.parametrize("error", [0.1, 0.3])
def test_a_known_error_is_recovered(error: float) -> None:
    prefixes = probed(5, 3_000, 8)
    assert prefixes.value_N is not None
    off_N = np.random.default_rng(6).normal(0, error, len(prefixes.mean_N))
    quality = value_quality(replace(prefixes, value_N=prefixes.value_N + off_N))
    assert value(quality.mse) == pytest.approx(error**2, rel=0.05)
    whole = float(prefixes.value_N.var())
    assert near(quality.explained_variance, 1 - error**2 / whole)
    shifted = value_quality(replace(prefixes, value_N=prefixes.value_N + error))
    assert near(shifted.bias, error)


def prefixes_of(value_N: list[float], mean_N: list[float], position_N: list[float] | None = None) -> Prefixes:
    """A prompt per prefix, four continuations without variance."""
    n = len(value_N)
    return Prefixes(
        prompt_N=np.arange(n),
        position_N=np.array(position_N or [0.0] * n),
        mean_N=np.array(mean_N),
        variance_N=np.zeros(n),
        rated_N=np.full(n, 4),
        value_N=np.array(value_N),
    )


def test_error_explained_variance_and_their_jackknife_by_hand() -> None:
    given = replace(prefixes_of([0.0, 0.5, 1.0], [0.0, 1.0, 1.0]), variance_N=np.array([0.0, 0.0, 0.12]))
    quality = value_quality(given)
    assert quality.mse_uncorrected == pytest.approx(0.25 / 3)
    assert value(quality.mse) == pytest.approx(0.25 / 3 - 0.01)
    assert value(quality.explained_variance) == pytest.approx(1 - (0.25 / 3 - 0.01) / (1 / 3 - 0.01))
    # Without each prompt in turn: (0.25 - 0.03) / 2, (0 - 0.03) / 2, 0.25 / 2.
    left = np.array([0.11, -0.015, 0.125])
    assert quality.mse.se == pytest.approx((2 * left.var()) ** 0.5)
    assert value(quality.bias) == pytest.approx(-0.5 / 3)


def test_the_unit_of_every_error_is_the_prompt() -> None:
    given = prefixes_of([0.0] * 5, [0.5, 0.5, 1.0, 1.0, 0.0])
    quality = value_quality(replace(given, prompt_N=np.array([7, 7, 2, 2, 2])))
    # Squares .25 .25 and 1 1 0; without prompt 7: 2/3, without prompt 2: 1/4.
    assert quality.mse.value == pytest.approx(0.5)
    assert quality.mse.se == pytest.approx((2 / 3 - 1 / 4) / 2)
    assert quality.bias.se == pytest.approx((2 / 3 - 1 / 2) / 2)
    assert (quality.n, quality.prompts) == (5, 2)


def test_continuations_are_summarised_by_hand() -> None:
    nan = np.nan
    rewards_NK = np.array([[0.0, 1.0, 1.0, 1.0], [0.0, 1.0, nan, nan], [1.0, nan, nan, nan], [nan] * 4])
    made = summarised(rewards_NK, None, np.arange(4), np.zeros(4))
    assert made.mean_N[:2].tolist() == [0.75, 0.5]
    assert np.isnan(made.mean_N[2:]).all()
    assert made.rated_N.tolist() == [4, 2, 1, 0]
    assert made.noise_N is not None
    assert made.noise_N[:2].tolist() == pytest.approx([0.25 / 4, 0.5 / 2])
    single = summarised(rewards_NK[:, :1], None, np.arange(4), np.zeros(4))
    assert single.mean_N[:3].tolist() == [0.0, 0.0, 1.0]
    assert (single.variance_N, single.noise_N) == (None, None)


def test_kendalls_tau_b_by_hand() -> None:
    quality = value_quality(prefixes_of([1.0, 2.0, 2.0, 3.0], [1.0, 1.0, 2.0, 3.0]))
    # Six pairs: one tied in V, another in m, four concordant.
    assert value(quality.kendall_tau) == pytest.approx(4 / 5)
    # Without the first V: V 2 2 3, m 1 2 3: one tie in V, two concordant of three; and so on.
    left = np.array([2 / 6**0.5, 1.0, 2 / 6**0.5, 1 / 2])
    assert quality.kendall_tau.se == pytest.approx((3 * left.var()) ** 0.5)
    assert value(value_quality(prefixes_of([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])).kendall_tau) == pytest.approx(-1)


def test_kendalls_tau_b_is_scipys_with_ties_and_prompts_of_several_prefixes() -> None:
    prefixes = probed(3, 30, 2)
    assert prefixes.value_N is not None
    value_N = prefixes.value_N.round(1)
    made = value_quality(replace(prefixes, value_N=value_N)).kendall_tau
    assert made.value == pytest.approx(kendalltau(value_N, prefixes.mean_N).statistic)
    others = [prefixes.prompt_N != p for p in range(30)]
    left = np.array([kendalltau(value_N[o], prefixes.mean_N[o]).statistic for o in others])
    assert made.se == pytest.approx((29 * left.var()) ** 0.5)


def test_deciles_of_the_position_by_hand() -> None:
    given = prefixes_of([0.0, 0.5, 1.0, 1.0], [0.0, 1.0, 1.0, 0.5], [0.0, 0.09, 0.1, 0.99])
    deciles = value_quality(given).deciles
    assert [d.n for d in deciles] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [d.low for d in deciles] == pytest.approx([i / 10 for i in range(10)])
    assert value(deciles[0].mse) == pytest.approx(0.125)
    assert value(deciles[0].explained_variance) == pytest.approx(1 - 0.125 / 0.5)
    assert value(deciles[0].bias) == pytest.approx(-0.25)
    assert deciles[0].bias.se == pytest.approx(0.25)
    assert deciles[1].mse == Estimate(0.0, None)
    assert deciles[1].explained_variance == Estimate(None, None)
    assert deciles[5].bias == Estimate(None, None)
    assert value(deciles[9].bias) == pytest.approx(0.5)


def test_calibration_by_hand() -> None:
    value_N = [i / 20 for i in range(20)]
    bins = value_quality(prefixes_of(value_N, [v**2 for v in value_N])).calibration
    assert [b.n for b in bins] == [2] * 10
    assert [b.value for b in bins] == pytest.approx([(4 * i + 1) / 40 for i in range(10)])
    assert bins[3].mean == pytest.approx((0.3**2 + 0.35**2) / 2)
    tied = value_quality(prefixes_of([0.5] * 6, [0.0, 1.0] * 3)).calibration
    assert [b.n for b in tied] == [0] * 9 + [6]
    assert (tied[0].value, tied[9].value, tied[9].mean) == (None, 0.5, 0.5)


def spread_of(prompt_N: np.ndarray, x_N: Floats) -> float | None:
    return variance(moments(prompt_N, np.ones(len(x_N)), x_N).sum(0))


def test_variance_is_the_usual_one_for_a_row_per_prompt_and_forgets_where_zero_is() -> None:
    x = np.array([0.3, 0.7, 0.9, 0.2])
    assert spread_of(np.arange(4), x) == pytest.approx(x.var(ddof=1))
    uneven = np.array([0, 0, 1, 2])
    assert spread_of(uneven, x) == pytest.approx(spread_of(uneven, x + 5))
    assert spread_of(uneven, x) == pytest.approx(spread_of(uneven, -x))
    assert spread_of(uneven, x) == pytest.approx(spread_of(uneven, x + 2.0**24), rel=1e-6)
    # n 4, c .525, off -.225 .175 .375 -.325; sums by prompt -.05 .375 -.325; pairs 16 - 6.
    assert spread_of(uneven, x) == pytest.approx(0.327500 / 4 + (0.05**2 + 0.375**2 + 0.325**2) / 10)
    assert spread_of(np.zeros(4, dtype=int), x) is None
    assert spread_of(uneven, 0 * x + 0.1) == 0


@pytest.mark.parametrize("rows", [[5, 5, 5, 5, 5, 5], [5, 4, 6, 5, 4, 6]])
def test_variance_is_unbiased_where_the_rows_of_a_prompt_are_alike(rows: list[int]) -> None:
    rng, found = np.random.default_rng(0), []
    prompt_N = np.arange(6).repeat(rows)
    for _ in range(3000):
        x_N = rng.normal(0, 1, 6)[prompt_N] + rng.normal(0, 1, len(prompt_N))
        found.append(spread_of(prompt_N, x_N) or 0.0)
    assert abs(np.mean(found) - 2) < 3 * np.std(found) / 3000**0.5


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(0).random(30)
    made = jackknife(np.stack([np.ones(30), x], 1), lambda total_C: float(total_C[1] / total_C[0]))
    assert made.value == pytest.approx(x.mean())
    assert made.se == pytest.approx(x.std(ddof=1) / 30**0.5)


GROUP = 8
WITHIN, BETWEEN = 1 / 6, 1 / 12
"""Of 0/1 rewards whose pass rates are uniform: E v(1 - v) and Var v; their sum is 1/4."""


def coin_flips(prompts: int, k: int, error: float = 0.0, seed: int = 0) -> tuple[Floats, States, States]:
    """Rewards 0/1 of prompts with uniform pass rates, and states: the prompt; and it and one after a step.

    The step moves the pass rate v up or down by half of min(v, 1 - v). V is exact but for an error at every state.
    """
    rng = np.random.default_rng(seed)
    rate_P = rng.random(prompts)
    step_PG = rng.choice([-0.5, 0.5], (prompts, GROUP)) * np.minimum(rate_P, 1 - rate_P)[:, None]
    true_PG = rate_P[:, None] + step_PG
    rewards_PG = (rng.random((prompts, GROUP)) < true_PG).astype(float)

    def prefixes(true_N: Floats, prompt_N: np.ndarray) -> Prefixes:
        mean_N = rng.binomial(k, true_N) / k
        variance_N = mean_N * (1 - mean_N) * k / (k - 1)
        value_N = true_N + rng.normal(0, error, len(true_N))
        return Prefixes(prompt_N, 0 * true_N, mean_N, variance_N, np.full(len(true_N), k), value_N)

    rows_B = np.arange(prompts * GROUP)
    at_prompts = prefixes(rate_P, np.arange(prompts)).at(rows_B // GROUP)
    after = prefixes(true_PG.ravel(), rows_B // GROUP)
    both = Prefixes(*(np.concatenate(pair) for pair in zip(_columns(at_prompts), _columns(after), strict=True)))
    return rewards_PG, States(rows_B, at_prompts), States(np.tile(rows_B, 2), both)


def _columns(prefixes: Prefixes) -> list[Any]:
    return [getattr(prefixes, name) for name in Prefixes.__dataclass_fields__]


def by_name(made: tuple[BaselineQuality, ...]) -> dict[str, BaselineQuality]:
    return {quality.name: quality for quality in made}


def test_every_baseline_leaves_the_variance_that_its_closed_form_says() -> None:
    error, whole = 0.2, WITHIN + BETWEEN
    made = by_name(baseline_quality(*coin_flips(4_000, 4, error)))
    inside = (WITHIN + (WITHIN - 1 / 48)) / 2  # half of the states are after the step: E step^2 = 1/48
    closed = {
        "none": 1.0,
        "batch_mean": 1.0,
        "group_mean": (1 - 1 / GROUP) * WITHIN / whole,
        "leave_one_out": (1 + 1 / (GROUP - 1)) * WITHIN / whole,
        "value_prompt": (WITHIN + error**2) / whole,
        "monte_carlo_prompt": WITHIN / whole,
        "value": (inside + error**2) / whole,
        "monte_carlo": inside / whole,
    }
    assert set(made) == set(closed)
    for name, expected in closed.items():
        assert made[name].plain.value == pytest.approx(expected, rel=0.03), name
        if name not in ("none", "batch_mean"):  # those two have no error at all
            assert near(made[name].plain, expected), name
            assert not near(made[name].plain, expected * 1.15), name
            assert made[name].square.value == pytest.approx(value(made[name].comparable), rel=1e-3), name
    assert value(made["none"].plain) == pytest.approx(1, rel=1e-12)
    assert near(made["none"].square, (1 / 4 + whole) / whole)
    assert value(made["batch_mean"].plain) == pytest.approx(1, rel=1e-9)
    batch = 4_000 * GROUP
    assert value(made["batch_mean"].comparable) == pytest.approx((batch / (batch - 1)) ** 2, rel=1e-9)


def test_the_group_mean_is_comparable_only_as_the_leave_one_out_mean() -> None:
    made = by_name(baseline_quality(coin_flips(50, 4)[0]))
    own, others = made["group_mean"], made["leave_one_out"]
    assert value(own.comparable) == pytest.approx(value(others.plain), rel=1e-12)
    assert value(own.plain) == pytest.approx(value(others.plain) * (1 - 1 / GROUP) ** 2, rel=1e-12)


def test_an_error_is_undefined_where_one_prompt_holds_all_the_variance() -> None:
    rewards_PG = np.full((9, 7), 0.1)
    rewards_PG[0] = np.linspace(0.05, 0.93, 7)
    for made in baseline_quality(rewards_PG):
        assert made.plain.value is not None
        assert made.plain.se is None  # without that prompt there is nothing, rounding aside


def test_a_long_completion_weighs_what_a_short_one_does() -> None:
    seen = prefixes_of([0.5, 0.7, 0.5, 0.5, 1.0], [0.0] * 5)
    along = States(np.array([0, 0, 1, 2, 3]), seen)
    made = by_name(baseline_quality(np.array([[1.0, 0.0], [1.0, 1.0]]), None, along))["value"]
    # Var(R) = 3/4 - (9 - 5) / (16 - 8) = 1/4; residuals .5 and .3 share the first row.
    assert value(made.square) == pytest.approx(((0.25 + 0.09) / 2 + 0.25 + 0.25 + 0) / 4 / 0.25)
    # Means by prompt: (.4 - .5) and (.5 + 0): (.4)^2 less .01 and .25, over 8 pairs.
    assert value(made.plain) == pytest.approx((0.67 / 4 - (0.16 - 0.26) / 8) / 0.25)


def test_all_baselines_see_the_same_rows() -> None:
    rewards_PG, at_prompt, along = coin_flips(40, 4, 0.1)
    holes_PG = rewards_PG.copy()
    holes_PG[0, 0] = np.nan
    holes_PG[1, 1:] = np.nan  # the one row left has no group
    kept = (np.arange(holes_PG.size) != 0) & (np.arange(holes_PG.size) // GROUP != 1)
    lost = along.row_M != 17  # a row without a state
    fewer = States(along.row_M[lost], along.prefixes_M.at(lost))
    made = by_name(baseline_quality(holes_PG, at_prompt, fewer))
    rewards_B = rewards_PG.ravel()[kept & (np.arange(holes_PG.size) != 17)]
    for name in ("none", "value_prompt", "value", "monte_carlo"):
        assert made[name].plain.se is not None
    whole = spread_of(np.arange(320)[kept & (np.arange(320) != 17)] // GROUP, rewards_B)
    assert whole is not None
    assert value(made["none"].square) == pytest.approx((rewards_B**2).mean() / whole)


def at_prompts(states: States) -> Prefixes:
    """The states of the first row of every group: the prompts."""
    return states.prefixes_M.at(states.row_M % GROUP == 0)


def test_the_break_even_group_size_is_recovered() -> None:
    error = 0.14
    rewards_PG, at_prompt, _ = coin_flips(3_000, 8, error)
    made = break_even_group_size(rewards_PG, at_prompts(at_prompt))
    expected = 1 + WITHIN / error**2
    assert made.group_size == pytest.approx(expected, rel=0.1)
    assert made.low is not None
    assert made.high is not None
    assert made.low < expected < made.high < 1.2 * expected
    assert near(made.within_variance, WITHIN)
    assert near(made.value_mse, error**2)
    assert made.note == ""


def test_the_interval_of_the_break_even_group_size_covers() -> None:
    covered = 0
    for seed in range(200):
        rewards_PG, at_prompt, _ = coin_flips(40, 8, 0.2, seed)
        made = break_even_group_size(rewards_PG, at_prompts(at_prompt))
        assert made.low is not None
        covered += made.low <= 1 + WITHIN / 0.04 <= (made.high or np.inf)
    assert 0.9 <= covered / 200 <= 0.99


def test_break_even_by_hand_and_at_its_edges() -> None:
    rewards_PG = np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, np.nan, 0.0], [0.0, np.nan, np.nan, np.nan]])
    made = break_even_group_size(rewards_PG, prefixes_of([0.5, 0.5, 9.0], [0.7, 0.3, 0.5]))
    assert made.group_size == pytest.approx(1 + 1 / 3 / 0.04)  # the third prompt has one reward
    terrible = break_even_group_size(rewards_PG, prefixes_of([5.0, 5.0, 5.0], [0.5, 0.5, 0.5]))
    assert terrible.group_size == 2
    perfect = break_even_group_size(rewards_PG, prefixes_of([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]))
    assert (perfect.group_size, perfect.low, perfect.high) == (None, None, None)
    assert "better than any group" in perfect.note
    noisy = replace(prefixes_of([0.5, 0.5, 0.5], [0.75, 0.5, 0.5]), variance_N=np.array([0.0, 0.32, 0.0]))
    unsure = break_even_group_size(rewards_PG, noisy)  # MSE_c = (0.0625 - 0.08) / 2
    assert unsure.group_size is None
    assert unsure.low is not None
    assert unsure.high is None
    flat = break_even_group_size(np.ones((2, 4)) * 0.1, prefixes_of([0.5, 0.5], [0.1, 0.1]))
    assert flat.group_size == 2
    assert "no reward varies" in flat.note
    agreed = break_even_group_size(np.ones((2, 4)) * 0.1, prefixes_of([0.1, 0.1], [0.1, 0.1]))
    assert agreed.group_size is None


TRAIN = TrainConfig(prompts_per_update=4, group_size=4, learning_rate=1e-3, warmup_completions=0, completions=160)
ASKED = heldout(AnyLetter(), "heldout", 6)


def probe_of(made: Trainer, **changes: int) -> ValueProbe:
    return measure(made, ASKED, **{"group_size": 4, "continuations": 4, "prefixes": 3, "seed": 0, **changes})


def arm(name: str, task: Copying | None = None) -> Trainer:
    """An arm whose critic, where it has one, says something."""
    made = trainer(name, train=TRAIN, task=task or AnyLetter())
    if made.models.value_head is not None:
        with torch.no_grad():
            made.models.value_head.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    return made


def test_a_run_with_a_critic_is_probed() -> None:
    probe = probe_of(arm("ppo"))
    prefixes = probe.prefixes
    assert probe.rewards_PG.shape == (6, 4)
    assert probe.completions == 24 + 4 * len(prefixes.mean_N)
    assert sorted(set(prefixes.prompt_N.tolist())) == list(range(6))
    assert (prefixes.position_N == 0).sum() == 6
    assert prefixes.position_N.max() < 1
    assert probe.values is not None
    assert probe.values.n == len(prefixes.mean_N) > 12
    assert probe.break_even is not None
    assert probe.note == ""
    expected = ["none", "batch_mean", "group_mean", "leave_one_out"]
    expected += ["value_prompt", "monte_carlo_prompt", "value", "monte_carlo"]
    assert [b.name for b in probe.baselines] == expected


def test_a_run_without_a_critic_is_probed_for_the_rest() -> None:
    probe, with_critic = probe_of(arm("grpo")), probe_of(arm("ppo"))
    assert (probe.values, probe.break_even, probe.prefixes.value_N) == (None, None, None)
    assert probe.note == NO_CRITIC
    assert {"leave_one_out", "monte_carlo_prompt", "monte_carlo"} < set(by_name(probe.baselines))
    assert not any(name.startswith("value") for name in by_name(probe.baselines))
    # The same policy, the same random numbers: the same of everything that needs no critic.
    assert np.array_equal(probe.prefixes.mean_N, with_critic.prefixes.mean_N)
    assert by_name(probe.baselines)["monte_carlo"] == by_name(with_critic.baselines)["monte_carlo"]


def raw(probe: ValueProbe) -> list[list[float]]:
    return [probe.rewards_PG.ravel().tolist(), *(c.tolist() for c in _columns(probe.prefixes) if c is not None)]


def test_a_seed_fixes_the_probe() -> None:
    first, again, other = probe_of(arm("ppo")), probe_of(arm("ppo")), probe_of(arm("ppo"), seed=1)
    assert raw(first) == raw(again) != raw(other)
    assert not np.array_equal(first.rewards_PG, other.rewards_PG)
    assert (first.values, first.baselines, first.break_even) == (again.values, again.baselines, again.break_even)


def test_every_random_stream_is_the_probes_own_and_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str | int, ...]] = []
    monkeypatch.setattr(values, "rng", lambda *parts: drawn.append(parts) or rng(*parts))  # type: ignore[func-returns-value]
    probe_of(arm("ppo"), seed=3)
    assert len(set(drawn)) == len(drawn) >= 4
    assert {parts[:3] for parts in drawn} == {("probe-values", "copying", 3)}


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_a_probe_leaves_models_random_numbers_and_training_alone(name: str) -> None:
    probed_run, plain = arm(name), arm(name)
    torch.manual_seed(5)
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    networks = [m for m in (probed_run.models.policy, probed_run.models.value_head) if m is not None]
    weights_before = [weights(m) for m in networks]
    probe_of(probed_run)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]
    assert all(torch.equal(weights(m), w) for m, w in zip(networks, weights_before, strict=True))
    assert all(p.grad is None and p.requires_grad for m in networks for p in m.parameters())
    list(plain.updates(1))
    list(probed_run.updates(1))
    probe_of(probed_run)
    (ours,), (theirs,) = probed_run.updates(1), plain.updates(1)
    assert torch.equal(weights(probed_run.models.policy), weights(plain.models.policy))
    assert {k: v for k, v in ours.metrics.items() if k[-2:] != "_s"} == {
        k: v for k, v in theirs.metrics.items() if k[-2:] != "_s"
    }


def test_every_row_is_matched_with_its_own_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reward hangs on the first letter: after it, every continuation gets what the row got. V is what V was."""
    seen: dict[str, tuple[Any, ...]] = {}

    def listen(name: str) -> None:
        original = getattr(values, name)

        def listening(*given: Any) -> Any:
            seen[name] = given
            return original(*given)

        monkeypatch.setattr(values, name, listening)

    listen("_judged")
    listen("_values")
    made = arm("ppo")
    probe_of(made, continuations=3)
    rewards_PG, measured, _, prompt_P, along_M = seen["_judged"]
    row_M, rolled = np.arange(24).repeat(3), seen["_values"][1]
    assert measured.prompt_N[prompt_P].tolist() == list(range(6))
    assert (measured.position_N[prompt_P] == 0).all()
    assert (measured.prompt_N[along_M] == row_M // 4).all()
    special = made.tokenizer.all_special_ids  # they are no text, so the letter after one is the first
    begun_M = ~np.isin(rolled.completion_BT[:, 0].numpy(), special)[row_M]
    later_M = (measured.position_N[along_M] > 0) & begun_M
    assert later_M.sum() > 12
    assert 0 < rewards_PG.ravel()[row_M][later_M].mean() < 1
    assert (measured.mean_N[along_M] == rewards_PG.ravel()[row_M])[later_M].all()
    assert (measured.variance_N[along_M][later_M] == 0).all()
    for row, state in zip(row_M, along_M, strict=True):
        tokens = rolled.completion_BT[row, rolled.mask_BT[row]].tolist()
        t = round(float(measured.position_N[state]) * len(tokens))
        ids = torch.tensor([[*rolled.prompts.ids[row // 4], *tokens[:t]]])
        with torch.no_grad():
            hidden = made.models.policy.base_model(input_ids=ids).last_hidden_state[0, -1]
            assert made.models.value_head is not None
            exact = float(made.models.value_head(hidden)[0])
        assert measured.value_N[state] == pytest.approx(exact, abs=1e-5)


def test_continuations_find_the_value_of_the_prompt() -> None:
    made = arm("ppo")
    probe = probe_of(made, continuations=300, prefixes=1, group_size=2)
    letters = made.tokenizer.convert_tokens_to_ids(list("abcdefgh"))
    start_N = probe.prefixes.position_N == 0
    for problem, mean in zip(ASKED, probe.prefixes.mean_N[start_N], strict=True):
        with torch.no_grad():
            logits = made.models.policy(input_ids=torch.tensor(made.encode([problem]).ids)).logits[0, -1]
        exact = float(torch.softmax(logits.float(), -1)[letters].sum())
        assert mean == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 300) ** 0.5)


class Long(Copying):
    """Forty tokens at most; hears every completion; scores its length, the missing reward of some aside."""

    max_new_tokens = 40

    def __init__(self, missing: bool = False) -> None:
        self.heard: list[tuple[str, str]] = []
        self.missing = missing

    def score(self, problem: Problem, completion: str) -> Score:
        """The share of the forty tokens."""
        self.heard.append((problem.prompt, completion))
        lost = self.missing and len(completion) % 3 != 0
        return Score(None if lost else len(completion) / 40, False)


def test_continuations_keep_their_problem_their_prefix_and_the_limit() -> None:
    task = Long()
    made = trainer("grpo", train=TRAIN, task=task)
    with torch.no_grad():
        made.models.policy.lm_head.weight[2] = 0.0  # the end is no likelier than the rest
    probe = probe_of(made, continuations=2, group_size=2)
    heard = task.heard
    assert len(heard) == probe.completions
    assert max(len(completion) for _, completion in heard) <= 40
    rolled = {(prompt, completion) for prompt, completion in heard[:12]}
    assert {prompt for prompt, _ in heard} == {p.prompt for p in ASKED}
    deep = [(p, c) for p, c in heard[-8:]]  # from the prefixes with most tokens
    for prompt, completion in deep:
        assert any(prompt == p and completion[:20] == c[:20] for p, c in rolled)
    assert len(set(deep)) > len({c[:20] for _, c in deep})


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_missing_rewards_are_left_out(name: str) -> None:
    probe = probe_of(arm(name, Long(missing=True)))
    assert np.isnan(probe.rewards_PG).any()
    assert (probe.prefixes.rated_N >= 2).all()
    assert (probe.prefixes.rated_N < 4).any()
    _no_nan(probe)


def _no_nan(probe: ValueProbe) -> None:
    def walk(x: object) -> None:
        if isinstance(x, dict):
            for part in x.values():
                walk(part)
        elif isinstance(x, list | tuple):
            for part in x:
                walk(part)
        elif isinstance(x, float):
            assert np.isfinite(x)

    walk([asdict(b) for b in probe.baselines])
    walk([asdict(x) for x in (probe.values, probe.break_even) if x is not None])
    assert not np.isnan(probe.prefixes.mean_N).any()


class Never(Copying):
    """Nothing scores."""

    def score(self, problem: Problem, completion: str) -> Score:
        """No reward."""
        return Score(None, False)


class Same(Copying):
    """Everything scores a number that binary fractions do not hold."""

    def score(self, problem: Problem, completion: str) -> Score:
        """A tenth."""
        return Score(0.1, True)


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_equal_rewards_leave_nothing_to_explain(name: str) -> None:
    probe = probe_of(arm(name, Same()))
    _no_nan(probe)
    assert all(b.plain == b.comparable == b.square == Estimate(None, None) for b in probe.baselines)
    if name == "ppo":
        assert probe.values is not None
        assert probe.values.explained_variance == probe.values.kendall_tau == Estimate(None, None)
        assert value(probe.values.mse) > 0
        assert probe.break_even is not None
        assert probe.break_even.group_size == 2


@pytest.mark.parametrize("changes", [{"continuations": 1}, {"group_size": 1}, {"prefixes": 0}, {"group_size": 2}])
@pytest.mark.parametrize("task", [AnyLetter, Never])
def test_degenerate_sizes_are_defined(changes: dict[str, int], task: type[Copying]) -> None:
    probe = probe_of(arm("ppo", task()), **changes)
    _no_nan(probe)
    if task is Never:
        assert probe.values is None
        assert all(b.plain == Estimate(None, None) for b in probe.baselines)
    elif "continuations" in changes:
        assert probe.values is not None
        assert probe.values.mse == probe.values.explained_variance == Estimate(None, None)
        assert probe.values.mse_uncorrected > 0
        assert probe.break_even is not None
        assert "not measured" in probe.break_even.note
        assert not any(b.name.startswith("monte_carlo") for b in probe.baselines)


def test_one_prompt_has_values_without_errors() -> None:
    made = arm("ppo")
    probe = measure(made, ASKED[:1], group_size=4, continuations=4, prefixes=3, seed=0)
    _no_nan(probe)
    assert probe.values is not None
    assert probe.values.mse.value is not None
    assert probe.values.mse.se is None
    assert probe.values.explained_variance == Estimate(None, None)
    assert all(b.plain == Estimate(None, None) for b in probe.baselines)
    assert probe.break_even is not None
    assert (probe.break_even.low, probe.break_even.high) == (None, None)


def test_a_critic_is_needed_to_judge_it() -> None:
    with pytest.raises(ValueError, match="needs a critic"):
        value_quality(replace(probed(0, 4, 2), value_N=None))

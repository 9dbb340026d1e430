"""The value probe: what it says of critics whose quality is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau

from ppo_vs_grpo.benchmarks.probes.critic import value_quality
from ppo_vs_grpo.benchmarks.probes.estimates import Estimate, jackknife
from ppo_vs_grpo.benchmarks.probes.prefixes import summarised
from probe_oracle import TRUE_MEAN, near, prefixes_of, probed, spread_of, uncorrected, value


def test_the_exact_value_scores_one_at_any_number_of_continuations_and_without_the_correction_it_drifts() -> None:
    naive = []
    for k in (2, 4, 16):
        prefixes = probed(k, 800, k)
        quality = value_quality(prefixes)
        assert near(quality.mse, 0)
        assert near(quality.explained_variance, 1)
        assert near(quality.bias, 0)
        drifted = value_quality(uncorrected(prefixes))
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


def test_error_explained_variance_and_their_jackknife_by_hand() -> None:
    given = replace(prefixes_of([0.0, 0.5, 1.0], [0.0, 1.0, 1.0]), variance_N=np.array([0.0, 0.0, 0.12]))
    quality = value_quality(given)
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

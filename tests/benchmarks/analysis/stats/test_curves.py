"""Area, thresholds and fits of training curves."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import OptimizeWarning
from scipy.stats import quantile_test

from ppo_vs_grpo.benchmarks.analysis.stats.curves import (
    Crossing,
    area_under_curve,
    first_crossing,
    fit_curve,
    reaching,
    saturating,
)

NAN, INF = math.nan, math.inf
X = np.linspace(0.0, 19200.0, 31)


def test_area_is_a_mean_height() -> None:
    assert area_under_curve([0, 1, 3], [0.0, 1.0, 0.5]) == pytest.approx((0.5 + 1.5) / 3)
    assert area_under_curve([100, 300], [0.2, 0.4]) == pytest.approx(0.3)
    assert math.isnan(area_under_curve([5], [0.2]))
    assert math.isnan(area_under_curve([0, 1, 2], [0.2, NAN, 0.2]))


@pytest.mark.parametrize("x", [[0, 2, 1], [0, 0, 1], [0, NAN, 1], [0, 1]])
def test_what_is_no_curve_is_refused(x: list[float]) -> None:
    with pytest.raises(ValueError, match="finite, increasing x"):
        area_under_curve(x, [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.0, 0.2, 0.6, 0.6], Crossing(175.0, True)),
        ([0.0, 0.6, 0.2, 0.8], Crossing(100 * 0.5 / 0.6, True)),
        ([0.0, 0.2, 0.5, 0.4], Crossing(200.0, True)),
        ([0.7, 0.2, 0.6, 0.6], Crossing(0.0, True)),
        ([0.0, 0.2, 0.4, 0.49], Crossing(300.0, False)),
        ([0.0, NAN, 1.0, 1.0], Crossing(100.0, True)),
        ([0.0, 0.2, 0.4, NAN], Crossing(200.0, False)),
    ],
)
def test_the_first_crossing_is_linear_between_points_or_censored(scores: list[float], expected: Crossing) -> None:
    found = first_crossing([0, 100, 200, 300], scores, 0.5)
    assert (found.x, found.reached) == (pytest.approx(expected.x), expected.reached)


def test_a_run_without_scores_never_reached_anything() -> None:
    assert first_crossing([0, 100], [NAN, NAN], 0.5) == Crossing(0.0, False)


@given(st.lists(st.integers(0, 16), min_size=2, max_size=8), st.integers(1, 15))
def test_a_crossing_is_on_the_curve_and_nothing_before_it_is_above(sixteenths: list[int], level: int) -> None:
    x, scores, threshold = np.arange(len(sixteenths)), np.array(sixteenths) / 16, level / 16
    found = first_crossing(x, scores, threshold)
    assert found.reached == bool((scores >= threshold).any())
    if found.reached and found.x > 0:
        assert np.interp(found.x, x, scores) == pytest.approx(threshold)
    if found.reached:
        assert (scores[x < found.x] < threshold).all()


def crossings(times: list[float], censored: list[float]) -> list[Crossing]:
    return [Crossing(x, True) for x in times] + [Crossing(x, False) for x in censored]


@pytest.mark.parametrize(
    ("times", "censored", "median", "low", "high"),
    [
        ([5, 3, 1, 4, 2, 6], [], 3.5, 1, 6),
        (list(range(1, 11)), [], 5.5, 2, 9),
        (list(range(1, 21)), [], 10.5, 6, 15),
        ([1, 2, 3, 4, 5], [9, 9, 9], 4.5, 1, INF),
        ([1, 2, 3, 4], [9, 9, 9, 9], INF, 1, INF),
        ([], [9] * 8, INF, 9, INF),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [99], 5.5, 2, 9),
    ],
)
def test_the_median_counts_runs_that_never_reached_it_as_infinitely_late(
    times: list[float], censored: list[float], median: float, low: float, high: float
) -> None:
    found = reaching(crossings(times, censored))
    assert (found.median, found.low, found.high) == (median, low, high)
    assert (found.share.n, found.share.share) == (len(times + censored), len(times) / len(times + censored))
    assert found.reason == ("" if median < INF else f"{len(times)} of 8 runs reached it: too few for a median")


def test_few_runs_have_a_median_and_no_interval() -> None:
    found = reaching(crossings([1, 2, 3], [9, 9]))
    assert (found.median, found.reason) == (3, "5 runs are too few for an interval")
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(reaching([]).median)
    assert reaching([]).reason == "no runs"


@pytest.mark.parametrize("n", [6, 8, 9, 15, 30])
def test_the_medians_interval_is_scipys(n: int) -> None:
    times = np.random.default_rng(n).exponential(100.0, n)
    expected = quantile_test(times, q=100, p=0.5).confidence_interval(0.95)
    found = reaching(crossings(times.tolist(), []))
    assert (found.low, found.high) == (expected.low, expected.high)


def test_the_medians_interval_covers_what_it_says_when_most_are_censored() -> None:
    times = np.random.default_rng(0).exponential(1.0, (4000, 10))
    budget, median = math.log(2) - 0.1, math.log(2)
    covered = []
    for row in times:
        found = reaching([Crossing(min(x, budget), bool(x <= budget)) for x in row])
        covered.append(found.low <= median <= found.high)
    assert np.mean(covered) >= 1 - 2 * 11 / 1024 - 3 * math.sqrt(0.0215 * 0.9785 / 4000)


@pytest.mark.parametrize(
    ("asymptote", "midpoint", "steepness"), [(0.6, 4000, 2.0), (0.9, 1000, 1.0), (0.1, 5000, 3.0), (1.0, 6000, 8.0)]
)
def test_a_fit_finds_the_curve_that_made_the_data(asymptote: float, midpoint: float, steepness: float) -> None:
    scores = np.append(0.2, saturating(X[1:], 0.2, asymptote, midpoint, steepness))
    found = fit_curve(X, scores, start=0.2)
    assert found.reason == ""
    assert (found.asymptote, found.midpoint, found.steepness) == (
        pytest.approx(asymptote, abs=1e-6),
        pytest.approx(midpoint, rel=1e-4),
        pytest.approx(steepness, rel=1e-4),
    )
    assert found.rmse == pytest.approx(0, abs=1e-6)


def test_the_curve_is_half_way_at_its_midpoint() -> None:
    assert saturating(np.array([100.0, 200.0, 400.0]), 0.2, 0.8, 200.0, 2.0) == pytest.approx([0.32, 0.5, 0.68])


@pytest.mark.parametrize("step", [-0.01, 0.01])
def test_the_asymptote_is_given_only_past_the_knee(step: float) -> None:
    midpoint = X[-1] / 2 * (1 - step)
    found = fit_curve(X[1:], saturating(X[1:], 0.2, 0.7, midpoint, 2.0), start=0.2)
    assert found.midpoint == pytest.approx(midpoint, rel=1e-3)
    if step > 0:
        assert found.asymptote == pytest.approx(0.7, abs=1e-4)
        assert found.asymptote_se is not None
    else:
        assert found.asymptote is found.asymptote_se is None
        assert found.reason == "the curve has not passed its knee: it ends at 1.92e+04, not at 1.939e+04"


def test_the_standard_error_is_the_asymptotes_spread_over_noisy_curves() -> None:
    generator = np.random.default_rng(0)
    clean = saturating(X[1:], 0.05, 0.95, 4000.0, 2.0)
    fits = [fit_curve(X[1:], clean + generator.normal(0, 0.01, 30), start=0.05) for _ in range(100)]
    found = np.array([(fit.asymptote, fit.asymptote_se) for fit in fits], float)
    assert found[:, 0].mean() == pytest.approx(0.95, abs=0.003)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(ddof=1), rel=0.25)


def test_what_cannot_be_fitted_says_why() -> None:
    few = fit_curve([0, 1, 2, 3, 4], [0.2, 0.3, 0.4, NAN, 0.5], start=0.2)
    assert (few.asymptote, few.reason) == (None, "3 points, a fit needs 5")
    flat = fit_curve(X, np.full(31, 0.2), start=0.2)
    assert (flat.asymptote, flat.reason) == (None, "the curve never leaves its start")
    logarithm = fit_curve(X[1:], 0.2 + 0.02 * np.log(X[1:]), start=0.0)
    assert logarithm.asymptote is None
    assert "at the bound 0.2" in logarithm.reason


def test_a_fit_is_no_worse_than_the_best_of_a_grid() -> None:
    """Noisy curves of every shape; for given midpoint and steepness the best asymptote is a ratio of sums."""
    generator = np.random.default_rng(0)
    x = X[1:]
    shapes = [
        saturating(x, 0.0, 1.0, midpoint, steepness)
        for midpoint in x[-1] * np.geomspace(0.01, 10, 40)
        for steepness in np.geomspace(0.25, 18, 30)
    ]
    h = np.array(shapes)
    refused = 0
    for _ in range(40):
        asymptote, start = generator.uniform(0, 1), generator.uniform(0.05, 0.4)
        midpoint, steepness = x[-1] * 10 ** generator.uniform(-2, 0.7), 10 ** generator.uniform(-0.5, 1.2)
        scores = saturating(x, start, asymptote, midpoint, steepness) + generator.normal(0, 0.015, 30)
        best = np.clip(start + h @ (scores - start) / (h**2).sum(axis=1), 0, 1)
        grid = np.sqrt(((start + (best - start)[:, None] * h - scores) ** 2).mean(axis=1)).min()
        found = fit_curve(x, scores, start).rmse
        refused += found is None
        assert found is None or found <= grid * 1.0001
    assert refused <= 1


@pytest.mark.parametrize("warns", [False, True])
def test_an_optimizer_that_gives_up_is_said_and_not_raised(monkeypatch: pytest.MonkeyPatch, warns: bool) -> None:
    def gives_up(*_: object, **__: object) -> tuple[np.ndarray, np.ndarray]:
        if not warns:
            raise RuntimeError("Optimal parameters not found")
        warnings.warn("Covariance of the parameters could not be estimated", OptimizeWarning, stacklevel=1)
        return np.array([0.5, 0.2, 1.0]), np.full((3, 3), INF)

    monkeypatch.setattr("scipy.optimize.curve_fit", gives_up)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fit_curve(X, np.linspace(0.2, 0.9, 31), start=0.2)
    assert (found.asymptote, found.reason) == (None, "the fit did not converge")

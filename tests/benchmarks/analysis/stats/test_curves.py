"""Area and thresholds of training curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import quantile_test

from ppo_vs_grpo.benchmarks.analysis.stats.curves import (
    Crossing,
    area_under_curve,
    first_crossing,
    reaching,
)

NAN, INF = math.nan, math.inf


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

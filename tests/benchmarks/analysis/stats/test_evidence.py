"""Comparisons of two arms: every interval and p-value against a number worked out by hand, or another way to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from handmade import OTHER_WAVE, WAVE
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import (
    DIFFERENCE,
    RATIO,
    SHARE,
    arrival_evidence,
    mcnemar_evidence,
    mean_evidence,
    noise_sample,
    paced_evidence,
    spread_evidence,
)
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import t_interval

T6, T7 = 2.4469118511449692, 2.364624251592785
"""t(0.975) of 6 and of 7 degrees of freedom."""
SE = math.sqrt(5 / 7 / 8)
INF = math.inf


def one_sided_p(values: list[float], null: float = 0.0) -> float:
    """That the mean is above `null`: Student's t, and sign flips without spread."""
    interval = t_interval(values)
    if interval.se == 0:
        return 0.5 ** len(values) if interval.mean > null else 1.0
    return float(oracle.t.sf((interval.mean - null) / interval.se, interval.freedom))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(0.01, 0.5))
def test_one_sample_is_the_paired_t_test_and_tost(values: list[float], margin: float) -> None:
    found, interval = mean_evidence([values], margin), t_interval(values)
    assert (found.n, found.estimate, found.low, found.high) == pytest.approx(
        (interval.n, interval.mean, interval.low, interval.high)
    )
    turned = [-value for value in values]
    assert found.p == pytest.approx(2 * min(one_sided_p(values), one_sided_p(turned), 0.5))
    assert found.same_p == pytest.approx(max(one_sided_p(values, -margin), one_sided_p(turned, -margin)))


def test_a_mean_over_tasks_adds_squared_errors() -> None:
    found = mean_evidence([0.1 + 0.01 * WAVE, 0.05 * WAVE], 0.05)
    squares = np.array([0.01, 0.05]) ** 2 * SE**2
    freedom = squares.sum() ** 2 / (squares**2 / 7).sum()
    t = 0.05 / (math.sqrt(squares.sum()) / 2)
    assert (found.n, found.estimate) == (8, pytest.approx(0.05))
    assert found.p == pytest.approx(2 * oracle.t.sf(t, freedom))
    assert found.high == pytest.approx(0.05 + oracle.t.ppf(0.975, freedom) * 0.05 / t)
    assert found.same_p == pytest.approx(0.5)  # the mean is the margin
    assert (found.test, mean_evidence([WAVE], 0.05).test) == ("t test of the mean over tasks", "paired t test")


def test_logs_give_ratios() -> None:
    found = mean_evidence([math.log(0.8) + 0.1 * WAVE], 1.25, ratio=True)
    assert (found.effect, found.estimate) == (RATIO, pytest.approx(0.8))
    assert found.low == pytest.approx(0.8 * math.exp(-T7 * 0.1 * SE))
    assert found.same_p == pytest.approx(0.5)  # 0.8 is 1 / 1.25


@pytest.mark.parametrize("sds", [(1, 1, 1, 1), (1, 1, 1, 5), (1, 2, 4, 8)])
def test_a_mean_over_four_tasks_of_two_values_keeps_its_level(sds: tuple[float, ...]) -> None:
    """As few as a timing pass has: one degree of freedom each. At most 5% of equal arms differ, with 3 errors' room."""
    noise = np.random.default_rng(0).normal(size=(2000, 4, 2)) * np.array(sds)[:, None]
    differ = np.mean([mean_evidence(list(tasks), 0.05).p < 0.05 for tasks in noise])
    assert 0.005 < differ < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_without_spread_p_is_that_of_sign_flips() -> None:
    assert mean_evidence([np.full(8, 0.2)], 0.05).p == 2 * 0.5**8
    assert mean_evidence([np.full(8, 0.2), np.full(8, 0.2)], 0.05).p == 2 * 0.5**16
    assert mean_evidence([np.zeros(8)], 0.05).p == 1.0
    assert mean_evidence([np.zeros(8)], 0.05).same_p == 0.5**8


def test_spreads_by_hand() -> None:
    """Distances 0.02 and 0.04 of |WAVE|, 1 and 0.5 in turn: D = 0.015 / 0.0225, and its error is (2/9) / sqrt(7)."""
    found = spread_evidence([(0.5 + 0.02 * WAVE, 0.7 + 0.04 * OTHER_WAVE)], 1.25)
    assert (found.n, found.effect, found.estimate) == (8, RATIO, pytest.approx(2.0))
    assert found.p == pytest.approx(2 * oracle.t.sf(3 * math.sqrt(7), 7))
    ends = [2 / 3 + side * T7 * 2 / 9 / math.sqrt(7) for side in (-1, 1)]
    assert (found.low, found.high) == pytest.approx([(2 + end) / (2 - end) for end in ends])
    beyond = (2 / 3 - 2 / 9) / (2 / 9) * math.sqrt(7)  # a factor of 1.25 is a relative difference of 2/9
    assert found.same_p == pytest.approx(oracle.t.cdf(beyond, 7))


@given(st.integers(0, 999), st.floats(-0.9, 0.9))
def test_spreads_are_a_paired_t_test_of_distances_from_the_median(seed: int, shared: float) -> None:
    noise = np.random.default_rng(seed).normal(size=(2, 9))
    first, second = noise[0], shared * noise[0] + noise[1]
    found, turned = spread_evidence([(first, second)], 1.25), spread_evidence([(second, first)], 1.25)
    far = [np.abs(values - np.median(values)) for values in (first, second)]
    assert found.p == pytest.approx(oracle.ttest_rel(far[1], far[0]).pvalue)
    assert found.estimate == pytest.approx(far[1].mean() / far[0].mean())
    assert (turned.estimate, turned.p) == pytest.approx((1 / found.estimate, found.p))
    assert (turned.low, turned.high) == pytest.approx((1 / found.high, 1 / found.low), nan_ok=True)


def test_an_end_that_no_ratio_reaches_is_missing() -> None:
    found = spread_evidence([(WAVE, np.array([0.0] * 7 + [90.0]))], 1.25)
    assert found.estimate > 1
    assert math.isnan(found.high)
    assert found.p > 0.05


DRAWS = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "t3": lambda draw, shape: draw.standard_t(3, shape),
    "exponential": lambda draw, shape: draw.standard_exponential(shape),
    "collapsing": lambda draw, shape: np.where(draw.random(shape) < 0.05, -15.0, draw.normal(size=shape)),
    "a ceiling": lambda draw, shape: np.minimum(draw.normal(size=shape), 0.3),
}


@pytest.mark.parametrize("name", DRAWS)
def test_spreads_keep_their_level_whatever_the_seeds_distribution(name: str) -> None:
    """800 pairs of equal arms, four tasks of eight seeds: 0.05 and three errors where seeds are normal, else 0.08."""
    arms = DRAWS[name](np.random.default_rng(5), (800, 4, 2, 8))
    room = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800) if name == "normal" else 0.08
    one = [spread_evidence([tuple(tasks[0])], 1.25).p < 0.05 for tasks in arms]
    four = [spread_evidence([tuple(task) for task in tasks], 1.25).p < 0.05 for tasks in arms]
    assert np.mean(one) < room
    assert np.mean(four) < room
    assert np.mean(four) > 0.005


def test_spreads_of_pairs_that_correlate_keep_their_level() -> None:
    noise = np.random.default_rng(6).normal(size=(800, 3, 8))
    found = [spread_evidence([(both + one, both + other)], 1.25).p < 0.05 for both, one, other in noise]
    assert np.mean(found) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800)


def test_a_spread_twice_as_wide_is_found() -> None:
    """Four tasks of eight normal seeds: four suites of five, as docs/method.md says."""
    arms = np.random.default_rng(7).normal(size=(500, 4, 2, 8)) * np.array([1.0, 2.0])[:, None]
    found = [spread_evidence([tuple(task) for task in tasks], 1.25).p < 0.05 for tasks in arms]
    assert np.mean(found) == pytest.approx(0.81, abs=0.05)


def test_several_tasks_have_the_mean_of_their_relative_differences() -> None:
    """Ratios of 2 and 8 are relative differences of 2/3 and 14/9, and their mean of 10/9 is a ratio of 3.5."""
    found = spread_evidence([(WAVE, 2 * OTHER_WAVE), (WAVE, 8 * OTHER_WAVE)], 1.25)
    assert found.estimate == pytest.approx(3.5)
    error = math.hypot(2 / 9, 14 / 27) / math.sqrt(7) / 2
    squares = np.array([2 / 9, 14 / 27]) ** 2
    assert found.p == pytest.approx(2 * oracle.t.sf(10 / 9 / error, 7 * squares.sum() ** 2 / (squares**2).sum()))


def test_no_spread_is_undefined_and_equal_arms_are_equal() -> None:
    assert "all seeds of one arm" in spread_evidence([(WAVE, np.full(8, 0.3))], 1.25).undefined
    assert "all seeds of both arms" in spread_evidence([(np.full(8, 0.1 + 0.2), np.full(8, 0.3))], 1.25).undefined
    rounded = np.array([0.1 + 0.2, 0.3] * 4)
    assert "one arm" in spread_evidence([(rounded, WAVE)], 1.25).undefined
    same = spread_evidence([(WAVE, WAVE + 1)], 1.25)
    assert (same.estimate, same.low, same.high, same.p, same.same_p) == pytest.approx((1, 1, 1, 1, 0.5**8))
    assert spread_evidence([(WAVE, WAVE + 1), (WAVE, WAVE + 2)], 1.25).same_p == pytest.approx(0.5**16)


def test_spreads_need_three_pairs_in_every_task() -> None:
    few, many = (WAVE[:2], 2 * WAVE[:2] + OTHER_WAVE[1:3]), (WAVE, OTHER_WAVE)
    for pairs in ([few], [many, few], [few, many]):
        found = spread_evidence(pairs, 1.25)
        assert (found.n, found.test) == (2, "none")
        assert np.isnan([found.estimate, found.p]).all()
    three = spread_evidence([many, (WAVE[:3], 2 * OTHER_WAVE[1:4])], 1.25)
    assert (three.n, three.test) == (3, "t test of distances from the median over tasks")
    assert spread_evidence([many], 1.25).test == "t test of distances from the median"


def test_the_jackknife_of_noise_scales_leaves_out_a_seed_of_both_arms() -> None:
    traces, signals = (8 + WAVE, 4 + 2 * OTHER_WAVE), (2 + OTHER_WAVE, 3 - WAVE)

    def log_ratio(kept: list[int]) -> float:
        first, second = (traces[i][kept].sum() / signals[i][kept].sum() for i in (0, 1))
        return math.log(second / first)

    without = np.array([log_ratio([j for j in range(8) if j != i]) for i in range(8)])
    se = math.sqrt(7 / 8 * ((without - without.mean()) ** 2).sum())
    sample = noise_sample(traces, signals)
    assert sample is not None
    assert sample.mean() == pytest.approx(math.log((4 / 3) / (8 / 2)))
    assert sample.std(ddof=1) / math.sqrt(8) == pytest.approx(se)


def test_the_jackknife_of_two_seeds_by_hand() -> None:
    """The second arm's traces are 1 and 3, else all is 1: log 2; without the first log 3, without the other 0."""
    ones = np.ones(2)
    sample = noise_sample((ones, np.array([1.0, 3.0])), (ones, ones))
    half = math.log(3) / 2
    assert sample == pytest.approx([math.log(2) - half, math.log(2) + half])


def test_noise_scales_need_sums_above_zero_without_any_seed() -> None:
    ones = np.ones(3)
    assert noise_sample((ones, ones), (ones, np.array([1.0, -2.0, 0.5]))) is None
    assert noise_sample((ones, ones), (np.array([2.0, -0.5, -0.5]), ones)) is None  # without the first, -1
    assert noise_sample((np.ones(1), np.ones(1)), (np.ones(1), np.full(1, 2.0))) == pytest.approx([-math.log(2)])


def test_mcnemar_counts_pairs_that_differ() -> None:
    first, second = np.array([1.0] * 7 + [0.0]), np.zeros(8)
    found = mcnemar_evidence(first, second, 8)
    assert (found.estimate, found.p) == (-7 / 8, 2 * 0.5**7)
    assert found.low == pytest.approx(-oracle.binomtest(7, 8).proportion_ci(0.975).high)
    assert found.high == pytest.approx(1 - 0.0125 ** (1 / 8) - oracle.binomtest(7, 8).proportion_ci(0.975).low)
    assert (found.n, found.effect, found.test) == (8, DIFFERENCE, "exact McNemar test")
    assert mcnemar_evidence(second, second, 8).p == 1.0
    assert mcnemar_evidence(first[6:], 1 - first[6:], 2).p == 1.0  # one up, one down: twice 0.75 is no probability
    of_two_tasks = mcnemar_evidence(np.tile(first, 2), np.zeros(16), 8)
    assert (of_two_tasks.n, of_two_tasks.estimate) == (8, -14 / 16)
    assert mcnemar_evidence(np.zeros(0), np.zeros(0), 3).n == 0


def test_arrivals_of_all_are_a_ratio_and_else_a_sign_test() -> None:
    found = arrival_evidence([(np.full(8, 200.0), np.full(8, 100.0))], 1.25)
    assert (found.effect, found.estimate, found.p) == (RATIO, pytest.approx(0.5), 2 * 0.5**8)
    first = np.array([INF, INF, 200, 200, 200, 200, 100, INF])
    second = np.array([100, 100, 100, 100, 100, INF, 100, INF])
    found = arrival_evidence([(first, second)], 1.25)
    assert (found.effect, found.estimate) == (SHARE, (5 + 1) / 8)  # five earlier, two ties, one later
    assert found.p == pytest.approx(oracle.binomtest(5, 6).pvalue)
    assert math.isnan(found.same_p)
    ends = [oracle.binomtest(k, 8).proportion_ci(method="exact") for k in (5, 7)]  # ties all lost, all won
    assert (found.low, found.high) == pytest.approx((ends[0].low, ends[1].high))


def test_seconds_to_a_threshold_carry_the_pace_s_own_error() -> None:
    """Half the completions, log ratios 0.1 WAVE about it; 0.8 of the pace, log ratios 0.01 to either side of it."""
    places = (np.full(8, 100.0), 100 * np.exp(math.log(0.5) + 0.1 * WAVE))
    pace = (np.array([5.0, 5.0]), 4 * np.exp([-0.01, 0.01]))
    found = paced_evidence([places], [pace], 1.25)
    squares = np.array([0.01 * 5 / 7 / 8, 0.0002 / 2])
    error, freedom = math.sqrt(squares.sum()), squares.sum() ** 2 / (squares**2 / [7, 1]).sum()
    assert (found.n, found.estimate) == (8, pytest.approx(0.4))
    assert found.p == pytest.approx(2 * oracle.t.sf(-math.log(0.4) / error, freedom))
    assert found.high == pytest.approx(0.4 * math.exp(oracle.t.isf(0.025, freedom) * error))
    two = paced_evidence([places, places], [pace, pace], 1.25)
    assert (two.estimate, two.n) == (pytest.approx(0.4), 8)
    assert two.p == pytest.approx(2 * oracle.t.sf(-math.log(0.4) / error * math.sqrt(2), 2 * freedom))
    assert two.test == "t test of completions and of 2 paired repeats of seconds"


def test_a_pace_cannot_order_runs_that_never_arrive() -> None:
    pace = (np.array([5.0, 5.1]), np.array([4.0, 4.1]))
    found = paced_evidence([(np.full(8, 100.0), np.array([INF] + [50.0] * 7))], [pace], 1.25)
    assert found.undefined.startswith("not every run got there")
    assert math.isnan(found.p)
    once = paced_evidence([(np.full(8, 100.0), np.full(8, 50.0))], [(pace[0][:1], pace[1][:1])], 1.25)
    assert math.isnan(once.p)


def test_arrivals_of_several_tasks_have_the_pairs_of_the_smallest() -> None:
    one = np.array([1.0, 2.0, 3.0])
    for pairs in ([(one, one), (one[:2], one[:2])], [(one, one), (one[:2], np.array([INF, 3.0]))]):
        assert arrival_evidence(pairs, 1.25).n == 2
    share = arrival_evidence([(one, one), (one[:2], np.array([INF, 3.0]))], 1.25)
    assert (share.estimate, share.p, share.test) == (1.5 / 5, 2 * 0.5**2, "sign test")
    none = arrival_evidence([(np.zeros(0), np.zeros(0))], 1.25)
    assert (none.n, none.effect, none.test) == (0, RATIO, "none")
    assert math.isnan(none.estimate)


def test_a_run_that_starts_at_the_threshold_has_no_logarithm() -> None:
    found = arrival_evidence([(np.array([0.0, 5.0]), np.array([0.0, 4.0]))], 1.25)
    assert (found.effect, found.estimate) == (SHARE, 0.75)

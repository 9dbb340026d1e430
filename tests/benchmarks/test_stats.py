"""Estimates, intervals and exact tests: literals by hand, scipy.stats and rliable as oracles.

`data/rliable.json` holds scores of two arms (seeds x tasks) and what rliable 1.2.0 makes of them. It was made from
rliable's source distribution, whose package does not import with pandas 3 but whose metrics module needs numpy and
scipy only, by

    spec = importlib.util.spec_from_file_location("metrics", "rliable-1.2.0/rliable/metrics.py")
    metrics = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(metrics)
    generator = np.random.default_rng(20)
    x = generator.beta(2, 3, (7, 5)).round(3)
    y = generator.beta(2, 4, (5, 5)).round(3)
    x[:3, 1] = y[:3, 1]  # ties
    x[:5, 3], x[5:, 3], y[:, 3] = 0.0, 0.125, 0.0  # a task where nearly every run collapsed
    out = {"made_with": f"rliable 1.2.0, numpy {np.__version__}, scipy {scipy.__version__}"}
    out |= {"x": x.tolist(), "y": y.tolist()}
    for name in ("mean", "median", "iqm"):
        for arm, scores in (("x", x), ("y", y)):
            out[f"{name}_{arm}"] = float(getattr(metrics, f"aggregate_{name}")(scores))
    out["improvement_x_over_y"] = float(metrics.probability_of_improvement(x, y))
    lines = ",\\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in out.items())
    print("{\\n" + lines + "\\n}")
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from ppo_vs_grpo.benchmarks.analysis.stats import intervals

NAN = math.nan
SAMPLES = [np.random.default_rng(i).normal(0.3, 1.0, n) for i, n in enumerate((2, 3, 5, 8, 12))]


def test_a_pair_needs_both_seeds_and_rounding_is_a_tie() -> None:
    found = intervals.paired_differences([0.1 + 0.2, 0.5, NAN, 0.25], [0.3, NAN, 0.1, 0.75])
    assert found.tolist() == [0.0, 0.5]
    with pytest.raises(ValueError, match=r"equal length, not shapes \(2,\) and \(3,\)"):
        intervals.paired_differences([0.0, 1.0], [0.0, 1.0, 2.0])


def test_a_tiny_difference_that_is_no_rounding_is_kept() -> None:
    assert intervals.paired_differences([0.5], [0.5 + 1e-9]).tolist() == [pytest.approx(1e-9, rel=1e-6)]


@pytest.mark.parametrize("bad", [[0.1, NAN], [0.1, math.inf], [[0.1, 0.2]]])
def test_what_is_no_sample_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="a row of finite numbers"):
        intervals.t_interval(bad)


def test_the_t_interval_of_three_values_by_hand() -> None:
    found = intervals.t_interval([0.1, 0.2, 0.3])
    se = 0.1 / math.sqrt(3)
    assert (found.n, found.freedom) == (3, pytest.approx(2))
    assert (found.mean, found.se) == (pytest.approx(0.2), pytest.approx(se))
    assert (found.low, found.high) == (
        pytest.approx(0.2 - 4.302652729911275 * se),
        pytest.approx(0.2 + 4.302652729911275 * se),
    )


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_paired_t_is_scipys(sample: np.ndarray, level: float) -> None:
    first = np.linspace(0.0, 3.0, len(sample))
    expected = oracle.ttest_rel(first + sample, first)
    found = intervals.t_interval(intervals.paired_differences(first, first + sample), level)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(level)), abs=1e-12)
    assert intervals.two_sided_p(sample) == pytest.approx(expected.pvalue, rel=1e-9)
    above = oracle.ttest_1samp(sample, 0.2, alternative="greater").pvalue
    assert intervals.one_sided_p(sample, 0.2) == pytest.approx(above, rel=1e-9)


@pytest.mark.parametrize("sample", [[], [0.25]])
def test_fewer_than_two_values_have_no_interval_and_no_p(sample: list[float]) -> None:
    found = intervals.t_interval(sample)
    assert found.n == len(sample)
    assert found.mean == 0.25 if sample else math.isnan(found.mean)
    assert all(map(math.isnan, (found.se, found.freedom, found.low, found.high)))
    assert math.isnan(intervals.two_sided_p(sample))
    assert math.isnan(intervals.standardised_effect(sample))


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, 2 / 2**8), (-0.1, 2 / 2**8)])
def test_without_spread_the_interval_has_no_width_and_p_is_that_of_sign_flips(value: float, p: float) -> None:
    sample = [value] * 7 + [value * (1 + 1e-15)]
    found = intervals.t_interval(sample)
    assert found.se == 0
    assert found.low == found.mean == found.high == pytest.approx(value)
    assert math.isnan(found.freedom)
    assert intervals.two_sided_p(sample) == intervals.sign_flip_test(sample).p == p
    assert intervals.one_sided_p(sample, value - 0.05) == 1 / 2**8
    assert intervals.one_sided_p(sample, value + 0.05) == 1
    assert math.isnan(intervals.standardised_effect(sample))


def test_satterthwaite_is_welchs_test_of_two_samples() -> None:
    """The mean over two tasks of a and -b is half the difference of means that Welch's test looks at."""
    for a in SAMPLES:
        for b in SAMPLES:
            welch = oracle.ttest_ind(a, 3 * b, equal_var=False)
            found = intervals.satterthwaite_interval([a, -3 * b])
            assert found.n == min(len(a), len(b))
            assert found.freedom == pytest.approx(welch.df)
            assert (2 * found.low, 2 * found.high) == pytest.approx(tuple(welch.confidence_interval(0.95)))


def test_the_mean_over_tasks_weighs_tasks_and_not_seeds() -> None:
    found = intervals.satterthwaite_interval([[0.0, 0.2], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    assert found.mean == pytest.approx((0.1 + 1.0) / 2)
    assert (found.se, found.freedom) == (pytest.approx(0.1 / 2), pytest.approx(1))


def test_one_task_without_an_interval_leaves_the_mean_without() -> None:
    found = intervals.satterthwaite_interval([[0.0, 0.2], [0.5]])
    assert (found.n, found.mean) == (1, pytest.approx(0.3))
    assert math.isnan(found.low)
    assert intervals.satterthwaite_interval([]).n == 0


@pytest.mark.parametrize(
    ("sample", "p"),
    [
        ([1, 2, 3], 2 / 8),
        ([1, 1, 1, -1], 10 / 16),
        ([-3, -1, -2, -5], 2 / 16),
        ([0, 0, 1], 1.0),
        ([0, 1, 2], 0.5),
        ([0.1, 0.2, -0.3], 1.0),
        ([0.3, 0.1, 0.2, -0.6, 0.4], 24 / 32),
        ([0.7], 1.0),
    ],
)
def test_sign_flips_by_hand(sample: list[float], p: float) -> None:
    assert intervals.sign_flip_test(sample) == intervals.SignFlip(p, 2.0 ** (1 - len(sample)), True)


def test_five_seeds_can_never_reach_five_percent() -> None:
    assert (
        intervals.sign_flip_test([0.9, 1.0, 1.1, 1.2, 1.3]).p == intervals.sign_flip_test([1.0] * 5).smallest == 0.0625
    )
    assert intervals.sign_flip_test([1.0] * 8).p == 0.0078125
    assert math.isnan(intervals.sign_flip_test([]).p)


@pytest.mark.parametrize("sample", SAMPLES)
def test_sign_flips_are_scipys(sample: np.ndarray) -> None:
    expected = oracle.permutation_test((sample,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert intervals.sign_flip_test(sample).p == pytest.approx(expected.pvalue, abs=1e-12)


def test_random_sign_flips_agree_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = SAMPLES[-1]
    exact = intervals.sign_flip_test(sample).p
    monkeypatch.setattr(intervals, "EXACT_SEEDS", 10)
    drawn = intervals.sign_flip_test(sample, np.random.default_rng(0))
    assert not drawn.exact
    assert 0 < abs(drawn.p - exact) < 3 * math.sqrt(exact * (1 - exact) / intervals.DRAWS)
    assert drawn == intervals.sign_flip_test(sample, np.random.default_rng(0))
    assert intervals.sign_flip_test([1.0] * 40, np.random.default_rng(0)).p == 1 / (1 + intervals.DRAWS)
    with pytest.raises(ValueError, match=r"12 differences: above 10 .* needs a generator"):
        intervals.sign_flip_test(sample)


@pytest.mark.parametrize("n", [1, 5, 8, 40])
def test_clopper_pearson_is_scipys(n: int) -> None:
    for k in range(n + 1):
        expected = oracle.binomtest(k, n).proportion_ci(0.9, method="exact")
        found = intervals.clopper_pearson(k, n, 0.9)
        assert (found.n, found.share) == (n, k / n)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_run_in_five_collapsed_still_allows_for_half() -> None:
    found = intervals.clopper_pearson(0, 5)
    assert (found.low, found.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 5)))
    assert math.isnan(intervals.clopper_pearson(0, 0).low)
    with pytest.raises(ValueError, match="6 of 5"):
        intervals.clopper_pearson(6, 5)


def test_improvement_counts_ties_half_and_its_interval_holds_every_way_to_break_them() -> None:
    found = intervals.improvement([0.3, 0.1, -0.2, 0.0])
    assert (found.n, found.share) == (4, 2.5 / 4)
    assert (found.low, found.high) == (intervals.clopper_pearson(2, 4).low, intervals.clopper_pearson(3, 4).high)
    assert intervals.improvement([0.0] * 4) == intervals.Proportion(4, 0.5, 0.0, 1.0)
    assert intervals.improvement([0.1, 0.2, -0.1]) == intervals.clopper_pearson(2, 3)
    assert math.isnan(intervals.improvement([]).share)


def test_point_estimates_are_rliables() -> None:
    fixture = json.loads((Path(__file__).parent / "data/rliable.json").read_text())
    for arm in ("x", "y"):
        found = intervals.aggregates(fixture[arm])
        assert found.mean == pytest.approx(fixture[f"mean_{arm}"], rel=0, abs=1e-12)
        assert found.median == pytest.approx(fixture[f"median_{arm}"], rel=0, abs=1e-12)
        assert found.iqm == pytest.approx(fixture[f"iqm_{arm}"], rel=0, abs=1e-12)


def test_aggregates_by_hand_with_a_missing_run_and_a_missing_task() -> None:
    found = intervals.aggregates([[0.0, 0.5, 1.0, NAN], [0.2, 0.7, NAN, NAN]])
    assert found.mean == pytest.approx((0.1 + 0.6 + 1.0) / 3)
    assert found.median == pytest.approx(0.6)
    assert found.iqm == pytest.approx((0.2 + 0.5 + 0.7) / 3)  # of five scores the lowest and the highest go
    assert math.isnan(intervals.aggregates([[NAN]]).iqm)


def test_the_standardised_effect_is_that_of_paired_differences() -> None:
    assert intervals.standardised_effect([0.1, 0.2, 0.3]) == pytest.approx(2.0)
    assert intervals.standardised_effect([-0.1, -0.2, -0.3]) == pytest.approx(-2.0)


def test_holm_by_hand() -> None:
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert intervals.holm([0.01, NAN, 0.03]) == pytest.approx([0.02, NAN, 0.03], nan_ok=True)
    assert intervals.holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), max_size=8), st.integers(0, 3))
def test_holm_keeps_the_order_is_never_below_raw_and_ignores_what_was_not_tested(ps: list[float], gaps: int) -> None:
    adjusted = intervals.holm(ps)
    assert (adjusted >= ps).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(ps, kind="stable")]) >= 0).all()
    assert intervals.holm([NAN] * gaps + ps)[gaps:].tolist() == adjusted.tolist()


@given(st.lists(st.integers(-64, 64), min_size=2, max_size=12), st.integers(-64, 64))
def test_swapped_arms_flip_every_sign_and_a_shift_moves_only_the_mean(eighths: list[int], shift: int) -> None:
    sample = np.array(eighths) / 8
    plain, flipped, moved = (intervals.t_interval(values) for values in (sample, -sample, sample + shift / 8))
    assert (flipped.mean, flipped.low, flipped.high) == (-plain.mean, -plain.high, -plain.low)
    assert intervals.two_sided_p(sample) == intervals.two_sided_p(-sample)
    assert intervals.sign_flip_test(sample) == intervals.sign_flip_test(-sample)
    there, back = intervals.improvement(sample), intervals.improvement(-sample)
    assert (back.share, back.low, back.high) == pytest.approx((1 - there.share, 1 - there.high, 1 - there.low))
    assert (moved.mean, moved.se) == pytest.approx((plain.mean + shift / 8, plain.se), abs=1e-12)
    first = np.arange(len(sample)) / 8
    assert intervals.paired_differences(first + shift, first + sample + shift).tolist() == sample.tolist()

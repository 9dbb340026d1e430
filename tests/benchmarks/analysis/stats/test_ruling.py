"""Which claims may be made, and how many seeds they take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import stats as oracle
from scipy.integrate import quad

from handmade import WAVE, verdicts_on
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import mean_evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import t_interval
from ppo_vs_grpo.benchmarks.analysis.stats.power import power, seeds_needed, smallest_effect
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MARGIN, Adjusted, Ruling, p_words, ruling
from ppo_vs_grpo.tasks.errors import UserError

T7 = {0.95: 2.364624251592785, 0.9: 1.894578605061305}
SE = math.sqrt(5 / 7 / 8)
"""Of m + s WAVE, whose t interval can be worked out by hand."""


def verdict(sample: ArrayLike, margin: float = MARGIN) -> Verdict:
    """What a report says of one task that was the only question asked."""
    return verdicts_on({"": sample}, margin=margin)[""]


@pytest.mark.parametrize(
    ("mean", "spread", "text", "reason"),
    [
        (0.10, 0.01, "B better", "p < 0.0001 is below 0.05"),
        (-0.10, 0.01, "A better", "p < 0.0001 is below 0.05"),
        (
            0.02,
            0.02,
            "B ahead, by less than matters",
            "p = 0.012 is below 0.05; within 0.05, TOST p = 0.00077; a close call, p from 0.01 to 0.1",
        ),
        (
            0.00,
            0.05,
            "equivalent within 0.05",
            "TOST p = 0.0062 is below 0.05, that of a difference is not, p = 1",
        ),
        (
            0.02,
            0.20,
            "inconclusive",
            "neither a difference, p = 0.75, nor equivalence within 0.05, TOST p = 0.32",
        ),
    ],
)
def test_the_four_verdicts(mean: float, spread: float, text: str, reason: str) -> None:
    found = verdict(mean + spread * WAVE)
    assert (found.verdict, found.reason) == (text, reason)
    assert (found.estimate, found.high) == pytest.approx((mean, mean + T7[0.95] * spread * SE))


CALL = "; a close call, p from 0.01 to 0.1"


@pytest.mark.parametrize(
    ("p", "same_p", "second", "says"),
    [
        (0.009, 0.2, True, Ruling("B faster", "p = 0.009 (of 3) is below 0.05", "B")),
        (0.01, 0.2, True, Ruling("B faster", f"p = 0.01 (of 3) is below 0.05{CALL}", "B")),
        (0.03, math.nan, False, Ruling("A faster", f"p = 0.03 (of 3) is below 0.05{CALL}", "A")),
        (
            0.003,
            0.04,
            False,
            Ruling("A ahead, by less than matters", "p = 0.003 (of 3) is below 0.05; within 5%, TOST p = 0.04", "A"),
        ),
        (
            0.2,
            0.004,
            True,
            Ruling("equivalent within 5%", "TOST p = 0.004 (of 3) is below 0.05, that of a difference is not, p = 0.2"),
        ),
        (
            0.05,
            0.05,
            True,
            Ruling(
                "inconclusive",
                f"neither a difference, p = 0.05 (of 3), nor equivalence within 5%, TOST p = 0.05{CALL}",
            ),
        ),
        (
            0.1,
            math.nan,
            True,
            Ruling("inconclusive", "no difference shows, p = 0.1 (of 3), and equivalence is not tested"),
        ),
    ],
)
def test_the_rule_in_words(p: float, same_p: float, second: bool, says: Ruling) -> None:
    assert ruling(Adjusted(p, same_p, " (of 3)"), ("A", "B"), "faster", second, "5%") == says


@pytest.mark.parametrize(("p", "words"), [(0.0, "p < 0.0001"), (1e-4, "p = 0.0001"), (0.0375, "p = 0.037")])
def test_a_p_value_in_words(p: float, words: str) -> None:
    assert p_words(p) == words


@pytest.mark.parametrize("step", [-1e-6, 1e-6])
def test_better_begins_where_the_interval_leaves_zero(step: float) -> None:
    found = verdict(0.2 * (T7[0.95] * SE * (1 + step) + WAVE), margin=1e-9)
    assert found.verdict == ("B better" if step > 0 else "inconclusive")


@pytest.mark.parametrize("step", [-1e-6, 1e-6])
def test_equivalence_begins_where_the_90_percent_interval_fits_into_the_margin(step: float) -> None:
    mean, spread = 0.01, 0.1
    found = verdict(mean + spread * WAVE, margin=(mean + T7[0.9] * spread * SE) * (1 + step))
    assert found.verdict.startswith("equivalent" if step > 0 else "inconclusive")


@pytest.mark.parametrize("n", [1, 5, 7])
def test_fewer_than_eight_seeds_get_no_verdict_and_a_reason(n: int) -> None:
    found = verdict(np.linspace(0.9, 1.0, n))
    assert (found.verdict, found.p) == ("no verdict", None)
    assert found.reason == f"{n} paired seed{'s' * (n > 1)}, a verdict needs 8"


def test_holm_decides_over_the_family_and_counts_only_tasks_with_a_verdict() -> None:
    """p = 0.02 is a claim alone or beside a task without a verdict, and none beside a task with p near 1."""
    t = float(oracle.t(7).isf(0.01))
    sample, same = 0.3 * (t * SE + WAVE), 0.3 * WAVE
    assert verdict(sample).p == pytest.approx(0.02)
    for others, p, text in (
        ({"few": same[:7]}, 0.02, "B better"),
        ({"same": same}, 0.04, "B better"),
        ({"same": same, "too": same}, 0.06, "inconclusive"),
    ):
        found = verdicts_on({"sure": sample, **others})
        assert (found["sure"].p, found["sure"].verdict) == (pytest.approx(p), text)


def test_equivalence_is_adjusted_over_the_family_too() -> None:
    spread = 0.05 / float(oracle.t(7).isf(0.03)) / SE  # TOST p = 0.03
    alone, pair = verdict(spread * WAVE), verdicts_on({"a": spread * WAVE, "b": spread * WAVE})
    assert alone.verdict.startswith("equivalent")
    assert alone.reason.startswith("TOST p = 0.03 is below")
    assert pair["a"].verdict == "inconclusive"
    assert pair["a"].reason.endswith(f"TOST p = 0.06{CALL}")


@pytest.mark.parametrize(("value", "text"), [(0.0, "equivalent within 0.05"), (0.2, "B better"), (-0.2, "A better")])
def test_arms_that_differ_by_the_same_in_every_seed_get_a_verdict(value: float, text: str) -> None:
    assert verdict([value] * 8).verdict == text


def test_tost_is_two_one_sided_tests() -> None:
    sample = 0.02 + 0.1 * WAVE
    upper = oracle.ttest_1samp(sample, 0.05, alternative="less").pvalue
    lower = oracle.ttest_1samp(sample, -0.05, alternative="greater").pvalue
    assert upper > lower
    found, turned = (mean_evidence([values], 0.05).same_p for values in (sample, -sample))
    assert found == pytest.approx(turned) == pytest.approx(upper)
    assert math.isnan(mean_evidence([[0.1]], 0.05).same_p)


FAMILIES = st.lists(st.lists(st.integers(-64, 64), min_size=6, max_size=12), min_size=1, max_size=4)


@given(FAMILIES, st.sampled_from([0.01, 0.05, 0.2]))
def test_a_verdict_names_an_arm_only_off_zero_and_swaps_with_the_arms(rows: list[list[int]], margin: float) -> None:
    family = {str(i): np.array(row) / 128 for i, row in enumerate(rows)}
    plain = verdicts_on(family, margin=margin)
    mirror = verdicts_on({task: -sample for task, sample in family.items()}, arms=("B", "A"), margin=margin)
    scaled = verdicts_on({task: 4 * sample for task, sample in family.items()}, margin=4 * margin)
    for task, found in plain.items():
        if found.winner:
            interval = t_interval(family[task])
            assert not interval.low <= 0 <= interval.high
            assert found.p is not None
            assert found.p >= mean_evidence([family[task]], margin).p
        if found.verdict.startswith("equivalent"):
            inner = t_interval(family[task], 0.9)
            assert -margin < inner.low <= inner.high < margin
        assert mirror[task].verdict == found.verdict
        assert scaled[task].verdict.partition(" within")[0] == found.verdict.partition(" within")[0]


def test_power_is_the_published_one() -> None:
    """Cohen's d 0.5, two-sided 0.05: 34 pairs have power 0.808 (G*Power 3), and 80% needs those 34."""
    assert power(0.5, 1.0, 34) == pytest.approx(0.8077775, abs=1e-6)
    assert seeds_needed(1.0, 0.5) == 34
    assert power(0.0, 1.0, 8) == pytest.approx(0.05)


@pytest.mark.parametrize("n", [2, 3, 8, 20, 100])
@pytest.mark.parametrize("alpha", [0.05, 0.0125])
@pytest.mark.parametrize("effect", [0.3, 1.0, 8.0])
def test_power_is_the_chance_that_t_passes_its_critical_value(n: int, alpha: float, effect: float) -> None:
    """t = (z + shift) / s with z normal and s the root of a mean square, integrated over s."""
    freedom, shift, critical = n - 1, effect * math.sqrt(n), oracle.t.isf(alpha / 2, n - 1)
    spread = oracle.chi(freedom, scale=1 / math.sqrt(freedom))

    def density(s: float) -> float:
        passes = oracle.norm.cdf(shift - critical * s) + oracle.norm.cdf(-shift - critical * s)
        return float(passes * spread.pdf(s))

    expected, _ = quad(density, 0, spread.isf(1e-15), epsabs=1e-11, points=[shift / critical], limit=200)
    assert power(effect * 0.02, 0.02, n, alpha) == pytest.approx(expected, abs=1e-9)
    assert power(-effect * 0.02, 0.02, n, alpha) == power(effect * 0.02, 0.02, n, alpha)


@pytest.mark.parametrize("n", [2, 5, 8, 16])
@pytest.mark.parametrize("target", [0.8, 0.95])
def test_the_smallest_effect_has_the_power_asked_for(n: int, target: float) -> None:
    effect = smallest_effect(0.03, n, 0.05, target)
    assert power(effect, 0.03, n, 0.05) == pytest.approx(target, abs=1e-9)


@pytest.mark.parametrize("sd", [0.001, 0.01, 0.03, 0.1, 0.4])
@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_the_seeds_needed_are_enough_and_one_less_is_not(sd: float, alpha: float) -> None:
    n = seeds_needed(sd, 0.05, alpha)
    assert n is not None
    assert power(0.05, sd, n, alpha) >= 0.8
    assert n == 2 or power(0.05, sd, n - 1, alpha) < 0.8
    assert smallest_effect(sd, n, alpha) <= 0.05 + 1e-12


def test_power_without_seeds_or_spread() -> None:
    assert math.isnan(power(0.05, 0.03, 1))
    assert math.isnan(smallest_effect(0.03, 1))
    assert math.isnan(smallest_effect(math.nan, 8))
    assert seeds_needed(math.nan) is None
    assert (power(0.05, 0.0, 8), power(0.0, 0.0, 8)) == (1.0, 0.05)
    assert (smallest_effect(0.0, 8), seeds_needed(0.0)) == (0.0, 2)


def test_powers_mistakes_are_named() -> None:
    with pytest.raises(UserError, match=r"power: 80: must lie between 0 and 1"):
        smallest_effect(0.03, 8, target=80)
    with pytest.raises(UserError, match=r"power: 0.01: must be above alpha, 0.05"):
        smallest_effect(0.03, 8, target=0.01)
    with pytest.raises(UserError, match=r"alpha: 5: must lie between 0 and 1"):
        power(0.05, 0.03, 8, alpha=5)
    with pytest.raises(UserError, match=r"effect: 0: must be above 0"):
        seeds_needed(0.03, 0)

"""Which claims may be made, and how many seeds they take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle
from scipy.integrate import quad

from ppo_vs_grpo.benchmarks.analysis.stats.intervals import t_interval, two_sided_p
from ppo_vs_grpo.benchmarks.analysis.stats.power import power, seeds_needed, smallest_effect
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import Outcome, equivalence_p, p_words, ruling, verdict, verdicts
from ppo_vs_grpo.tasks.errors import UserError

WAVE = np.array([1.0, -1.0, 0.5, -0.5, 1.0, -1.0, 0.5, -0.5])
"""Eight values of mean 0 and sample variance 5/7: m + s WAVE has a t interval that can be worked out by hand."""
T7 = {0.95: 2.364624251592785, 0.9: 1.894578605061305}
SE = math.sqrt(5 / 7 / 8)


@pytest.mark.parametrize(
    ("mean", "spread", "outcome", "text", "reason"),
    [
        (0.10, 0.01, Outcome.SECOND, "B better", "p < 0.0001 is below 0.05"),
        (-0.10, 0.01, Outcome.FIRST, "A better", "p < 0.0001 is below 0.05"),
        (0.02, 0.02, Outcome.SECOND, "B better", "p = 0.012 is below 0.05; all the same within 0.05, TOST p = 0.00077"),
        (
            0.00,
            0.05,
            Outcome.EQUIVALENT,
            "equivalent within 0.05",
            "TOST p = 0.0062 is below 0.05, that of a difference is not, p = 1",
        ),
        (
            0.02,
            0.20,
            Outcome.INCONCLUSIVE,
            "inconclusive",
            "neither a difference, p = 0.75, nor equivalence within 0.05, TOST p = 0.32",
        ),
    ],
)
def test_the_four_verdicts(mean: float, spread: float, outcome: Outcome, text: str, reason: str) -> None:
    found = verdict(mean + spread * WAVE, arms=("A", "B"))
    assert (found.outcome, found.text) == (outcome, text)
    assert found.reason.endswith(reason)
    assert found.interval.mean == pytest.approx(mean)
    assert found.interval.high == pytest.approx(mean + T7[0.95] * spread * SE)


WORDS = ("A faster", "B faster")


@pytest.mark.parametrize(
    ("p", "same_p", "second", "says"),
    [
        (0.03, 0.2, True, (Outcome.SECOND, "B faster", "p = 0.03 (of 3) is below 0.05")),
        (0.03, math.nan, False, (Outcome.FIRST, "A faster", "p = 0.03 (of 3) is below 0.05")),
        (
            0.03,
            0.04,
            False,
            (Outcome.FIRST, "A faster", "p = 0.03 (of 3) is below 0.05; all the same within 5%, TOST p = 0.04"),
        ),
        (
            0.05,
            0.04,
            True,
            (
                Outcome.EQUIVALENT,
                "equivalent within 5%",
                "TOST p = 0.04 (of 3) is below 0.05, that of a difference is not, p = 0.05",
            ),
        ),
        (
            0.05,
            0.05,
            True,
            (
                Outcome.INCONCLUSIVE,
                "inconclusive",
                "neither a difference, p = 0.05 (of 3), nor equivalence within 5%, TOST p = 0.05",
            ),
        ),
        (
            0.4,
            math.nan,
            True,
            (
                Outcome.INCONCLUSIVE,
                "inconclusive",
                "no difference shows, p = 0.4 (of 3), and equivalence is not tested",
            ),
        ),
    ],
)
def test_the_rule_in_words(p: float, same_p: float, second: bool, says: tuple[Outcome, str, str]) -> None:
    assert ruling(p, same_p, WORDS, second, "5%", over=" (of 3)") == says


def test_a_rule_at_another_level() -> None:
    assert ruling(0.03, 0.02, WORDS, True, "5%", alpha=0.01)[0] is Outcome.INCONCLUSIVE
    assert ruling(0.03, 0.005, WORDS, True, "5%", alpha=0.01)[0] is Outcome.EQUIVALENT
    sample = 0.3 * (float(oracle.t(7).isf(0.01)) * SE + WAVE)  # p = 0.02
    assert verdict(sample, alpha=0.03).reason == "p = 0.02 is below 0.03"
    assert verdict(sample, alpha=0.01).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("p", "words"), [(0.0, "p < 0.0001"), (1e-4, "p = 0.0001"), (0.0375, "p = 0.037")])
def test_a_p_value_in_words(p: float, words: str) -> None:
    assert p_words(p) == words


@pytest.mark.parametrize("step", [-1e-6, 1e-6])
def test_better_begins_where_the_interval_leaves_zero(step: float) -> None:
    found = verdict(0.2 * (T7[0.95] * SE * (1 + step) + WAVE), margin=1e-9)
    assert found.outcome is (Outcome.SECOND if step > 0 else Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("step", [-1e-6, 1e-6])
def test_equivalence_begins_where_the_90_percent_interval_fits_into_the_margin(step: float) -> None:
    mean, spread = 0.01, 0.1
    found = verdict(mean + spread * WAVE, margin=(mean + T7[0.9] * spread * SE) * (1 + step))
    assert found.outcome is (Outcome.EQUIVALENT if step > 0 else Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("n", [0, 1, 5, 7])
def test_fewer_than_eight_seeds_get_no_verdict_and_a_reason(n: int) -> None:
    found = verdict(np.linspace(0.9, 1.0, n))
    assert (found.outcome, found.text) == (Outcome.NONE, "no verdict")
    assert found.reason.startswith(f"{n} paired seeds, a verdict needs 8")
    assert math.isnan(found.p)


def test_holm_decides_over_the_family_and_counts_only_tasks_with_a_verdict() -> None:
    """p = 0.02 is a claim alone or beside a task without a verdict, and none beside a task with p near 1."""
    t = float(oracle.t(7).isf(0.01))
    sample, same = 0.3 * (t * SE + WAVE), 0.3 * WAVE
    assert verdict(sample).p == pytest.approx(0.02)
    for others, p, outcome in (
        ({"few": same[:7]}, 0.02, Outcome.SECOND),
        ({"same": same}, 0.04, Outcome.SECOND),
        ({"same": same, "too": same}, 0.06, Outcome.INCONCLUSIVE),
    ):
        found = verdicts({"sure": sample, **others})
        assert found["sure"].p == pytest.approx(p)
        assert found["sure"].outcome is outcome


def test_equivalence_is_adjusted_over_the_family_too() -> None:
    spread = 0.05 / float(oracle.t(7).isf(0.03)) / SE  # TOST p = 0.03
    alone, pair = verdict(spread * WAVE), verdicts({"a": spread * WAVE, "b": spread * WAVE})
    assert (alone.outcome, alone.equivalence_p) == (Outcome.EQUIVALENT, pytest.approx(0.03))
    assert (pair["a"].outcome, pair["a"].equivalence_p) == (Outcome.INCONCLUSIVE, pytest.approx(0.06))


@pytest.mark.parametrize(
    ("value", "outcome"), [(0.0, Outcome.EQUIVALENT), (0.2, Outcome.SECOND), (-0.2, Outcome.FIRST)]
)
def test_arms_that_differ_by_the_same_in_every_seed_get_a_verdict_that_says_so(value: float, outcome: Outcome) -> None:
    found = verdict([value] * 8)
    assert found.outcome is outcome
    assert found.reason.endswith("seeds do not differ, so p is that of sign flips")
    assert "seeds do not differ" not in verdict(value + 0.01 * WAVE).reason


def test_tost_is_two_one_sided_tests() -> None:
    sample = 0.02 + 0.1 * WAVE
    upper = oracle.ttest_1samp(sample, 0.05, alternative="less").pvalue
    lower = oracle.ttest_1samp(sample, -0.05, alternative="greater").pvalue
    assert upper > lower
    assert equivalence_p(sample) == equivalence_p(-sample) == pytest.approx(upper)
    assert math.isnan(equivalence_p([0.1]))


@pytest.mark.parametrize(("key", "value"), [("margin", 0.0), ("margin", math.nan), ("alpha", 5.0), ("alpha", 0.0)])
def test_a_margin_or_alpha_that_is_none_is_a_mistake(key: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^{key}: {value}: must .* such as 0\.05$"):
        verdict(WAVE, **{key: value})


FAMILIES = st.lists(st.lists(st.integers(-64, 64), min_size=6, max_size=12), min_size=1, max_size=4)
SWAPPED = {Outcome.FIRST: Outcome.SECOND, Outcome.SECOND: Outcome.FIRST}


@given(FAMILIES, st.sampled_from([0.01, 0.05, 0.3]))
def test_a_verdict_is_better_only_off_zero_and_swaps_with_the_arms(rows: list[list[int]], margin: float) -> None:
    family = {str(i): np.array(row) / 128 for i, row in enumerate(rows)}
    plain = verdicts(family, arms=("A", "B"), margin=margin)
    mirror = verdicts({task: -sample for task, sample in family.items()}, arms=("B", "A"), margin=margin)
    scaled = verdicts({task: 4 * sample for task, sample in family.items()}, arms=("A", "B"), margin=4 * margin)
    for task, found in plain.items():
        if found.outcome in SWAPPED:
            assert not found.interval.low <= 0 <= found.interval.high
            assert found.p >= two_sided_p(family[task])
        if found.outcome is Outcome.EQUIVALENT:
            inner = t_interval(family[task], 0.9)
            assert -margin < inner.low <= inner.high < margin
        assert mirror[task].outcome is SWAPPED.get(found.outcome, found.outcome)
        assert mirror[task].text == found.text
        assert scaled[task].outcome is found.outcome


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

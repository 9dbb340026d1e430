"""Do intervals cover what they should, and how often is a claim false? Simulated, and exact where counting suffices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from handmade import verdicts_on
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import mean_evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import (
    clopper_pearson,
    improvement,
    satterthwaite_interval,
    t_interval,
)
from ppo_vs_grpo.benchmarks.analysis.stats.power import power
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import ALPHA, MARGIN

SAMPLES = 20_000
SUITES = 200
Draw = Callable[[np.random.Generator, float, int], np.ndarray]


def normal(generator: np.random.Generator, sd: float, n: int) -> np.ndarray:
    return generator.normal(0.0, sd, n)


def collapsing(generator: np.random.Generator, sd: float, n: int) -> np.ndarray:
    """Differences of two equal arms, either of which collapses in one seed of ten: five spreads up or down."""
    collapses = generator.random((2, n)) < 0.1
    return np.asarray(generator.normal(0.0, sd, n) + 5 * sd * (collapses[0].astype(float) - collapses[1]))


def winner(sample: np.ndarray) -> str | None:
    """Which arm a report names on one task."""
    return verdicts_on({"": sample})[""].winner


def standard_error(share: float, n: int) -> float:
    return math.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize("n", [5, 10, 20])
def test_t_intervals_cover_what_they_say_for_normal_differences(n: int) -> None:
    samples = np.random.default_rng(n).normal(0.02, 0.03, (SAMPLES, n))
    covered = [found.low <= 0.02 <= found.high for found in map(t_interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=2 * standard_error(0.95, SAMPLES))


@pytest.mark.parametrize(("n", "low", "high"), [(5, 0.64, 0.68), (10, 0.87, 0.90), (20, 0.91, 0.935)])
def test_t_intervals_fall_short_where_one_seed_in_five_collapses(n: int, low: float, high: float) -> None:
    """The docstring's numbers. A sample without a collapse, 0.33 of them at n = 5, is sure of the wrong mean."""
    generator = np.random.default_rng(n)
    samples = np.where(generator.random((SAMPLES, n)) < 0.2, -0.4, generator.normal(0.02, 0.02, (SAMPLES, n)))
    mean = 0.8 * 0.02 - 0.2 * 0.4
    assert low < np.mean([found.low <= mean <= found.high for found in map(t_interval, samples)]) < high


def test_satterthwaite_covers_means_over_tasks_of_unequal_spread_and_size() -> None:
    generator = np.random.default_rng(0)
    tasks = [generator.normal(i / 10, sd, (SAMPLES, n)) for i, (sd, n) in enumerate([(0.01, 8), (0.05, 8), (0.02, 6)])]
    covered = [found.low <= 0.1 <= found.high for found in map(satterthwaite_interval, zip(*tasks, strict=True))]
    assert np.mean(covered) == pytest.approx(0.95, abs=2 * standard_error(0.95, SAMPLES))


@pytest.mark.parametrize("n", [1, 5, 8, 20])
def test_clopper_pearson_covers_at_least_what_it_says(n: int) -> None:
    """Exact: the probability of every k whose interval holds the truth."""
    found = [clopper_pearson(k, n) for k in range(n + 1)]
    low, high = np.array([f.low for f in found]), np.array([f.high for f in found])
    for truth in np.linspace(0.001, 0.999, 499):
        covers = (low <= truth) & (truth <= high)
        assert binom.pmf(np.arange(n + 1), n, truth)[covers].sum() >= 0.95


@pytest.mark.parametrize("win", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("tie", [0.0, 0.05, 0.5, 0.98])
def test_improvements_interval_covers_with_any_share_of_ties(win: float, tie: float) -> None:
    """Exact, over every number of wins and ties in eight seeds."""
    n, loss = 8, 1 - tie
    shares = (win * loss, tie, (1 - win) * loss)
    covered = 0.0
    for wins in range(n + 1):
        for ties in range(n + 1 - wins):
            found = improvement([1.0] * wins + [0.0] * ties + [-1.0] * (n - wins - ties))
            if found.low <= shares[0] + tie / 2 <= found.high:
                covered += float(multinomial.pmf((wins, ties, n - wins - ties), n, shares))
    assert covered >= 0.95


@pytest.mark.parametrize("draw", [normal, collapsing])
def test_an_arm_against_itself_gives_a_false_verdict_no_more_often_than_stated(draw: Draw) -> None:
    """Four tasks of eight seeds: suites in which any task has a better arm."""
    generator = np.random.default_rng(1)
    false = 0
    for _ in range(SUITES):
        suite = {str(task): draw(generator, sd, 8) for task, sd in enumerate(generator.uniform(0.01, 0.05, 4))}
        false += any(found.winner is not None for found in verdicts_on(suite).values())
    assert false / SUITES <= ALPHA + 3 * standard_error(ALPHA, SUITES)


def test_the_same_suites_without_holm_would_fail() -> None:
    """So the test above can see a missing correction."""
    generator = np.random.default_rng(1)
    false = 0
    for _ in range(SUITES):
        samples = [normal(generator, sd, 8) for sd in generator.uniform(0.01, 0.05, 4)]
        false += any(winner(sample) is not None for sample in samples)
    assert false / SUITES > ALPHA + 3 * standard_error(ALPHA, SUITES)


def test_a_collapse_that_the_sample_missed_is_not_seen() -> None:
    """What the module says it cannot do: equal means, one arm collapses in one seed of five, eight seeds."""
    generator = np.random.default_rng(4)
    samples = generator.normal(0.0, 0.02, (2000, 8)) - 0.4 * ((generator.random((2000, 8)) < 0.2) - 0.2)
    false = np.mean([winner(sample) is not None for sample in samples])
    assert false == pytest.approx(0.8**8, abs=3 * standard_error(0.8**8, 2000))


def test_arms_at_the_margin_are_called_equivalent_as_often_as_stated() -> None:
    samples = np.random.default_rng(2).normal(0.05, 0.02, (2000, 8))
    same = np.mean([mean_evidence([sample], MARGIN).same_p < ALPHA for sample in samples])
    assert same == pytest.approx(ALPHA, abs=3 * standard_error(ALPHA, 2000))


def test_a_real_difference_is_found_as_often_as_power_says() -> None:
    """0.05 with sd 0.03 at eight seeds: power 0.9796."""
    samples = np.random.default_rng(3).normal(0.05, 0.03, (2000, 8))
    found = np.mean([winner(sample) == "B" for sample in samples])
    expected = power(0.05, 0.03, 8)
    assert found == pytest.approx(expected, abs=3 * standard_error(expected, 2000))

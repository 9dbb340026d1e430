"""Estimates over seeds and how sure they are: intervals, exact tests, effect sizes.

Pure functions of arrays. A sample is a row of finite numbers, one per seed; a difference is a seed's score under the
second arm less that under the first. What too little data cannot tell is NaN, never an exception;
anything but a row of finite numbers raises ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, stdtrit

Array = NDArray[np.float64]

LEVEL = 0.95
EXACT_SEEDS = 20
"""Sign flips are all listed up to this many seeds: half a million sums, some milliseconds."""
DRAWS = 50_000
ROUNDING = 1e-12
"""Differences and spreads below this share of the numbers they come from are floating point, not data."""


@dataclass(frozen=True)
class MeanInterval:
    """A mean with its t interval: `n` is the smallest sample's size, `freedom` the degrees of freedom.

    All but `n` and `mean` are NaN below two values. Samples without spread have `se` 0, an interval of no width and
    no degrees of freedom (NaN).
    """

    n: int
    mean: float
    se: float = math.nan
    freedom: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Proportion:
    """A share of `n` with its exact interval; NaN where n is 0."""

    n: int
    share: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class SignFlip:
    """The two-sided p of a sign-flip test, the smallest that any data of this size could have, and whether p is exact.

    `smallest` is 2^(1-n): 0.0625 at n = 5, so five seeds can never reach p < 0.05; 0.0078 at n = 8.
    """

    p: float
    smallest: float
    exact: bool


@dataclass(frozen=True)
class Aggregates:
    """Of scores over seeds and tasks: mean and median of the tasks' means, interquartile mean of all scores."""

    mean: float
    median: float
    iqm: float


def paired_differences(first_S: ArrayLike, second_S: ArrayLike) -> Array:
    """Second less first of every seed that has both, shape (pairs,); NaN stands for a missing run.

    A difference that is only rounding is 0, a tie: 0.1 + 0.2 is no better than 0.3.
    """
    first, second = np.asarray(first_S, float), np.asarray(second_S, float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"pairs need two rows of equal length, not shapes {first.shape} and {second.shape}")
    there = ~(np.isnan(first) | np.isnan(second))
    first, second = first[there], second[there]
    differences = second - first
    rounding = np.abs(differences) <= ROUNDING * np.maximum(np.abs(first), np.abs(second))
    return _sample(np.where(rounding, 0.0, differences))


def t_interval(differences_S: ArrayLike, level: float = LEVEL) -> MeanInterval:
    """Student's t interval of the mean.

    Exact for normal differences. Where seeds collapse it falls short: with a collapse in one seed of five (0.02 with sd
    0.02, else -0.4) a nominal 0.95 covers about 0.66, 0.89 and 0.92 at n = 5, 10 and 20, because a sample without a
    collapse knows nothing of them.
    """
    return satterthwaite_interval([differences_S], level)


def satterthwaite_interval(samples: Sequence[ArrayLike], level: float = LEVEL, over: int | None = None) -> MeanInterval:
    """The equal-weight mean of independent samples' means with its t interval; sizes and variances may differ.

    With `over` it is the sum of the samples' means divided by that number.
    Squared standard errors s_i^2/n_i add up; the degrees of freedom are (sum)^2 / sum of squares/(n_i - 1)
    (Satterthwaite 1946). Undefined where a sample has fewer than two values.
    """
    rows = [_sample(values) for values in samples]
    n = min((len(row) for row in rows), default=0)
    if n == 0:
        return MeanInterval(n, math.nan)
    over = over or len(rows)
    mean = float(np.mean([row.mean() for row in rows])) * (len(rows) / over)
    if n < 2:
        return MeanInterval(n, mean)
    squares = np.array([_variance(row) / len(row) for row in rows])
    if squares.sum() == 0:
        return MeanInterval(n, mean, se=0.0, low=mean, high=mean)
    shares = squares / squares.sum()  # of the whole, so that no square of a square vanishes
    freedom = float(1 / sum(share**2 / (len(row) - 1) for share, row in zip(shares, rows, strict=True)))
    root = math.sqrt(squares.sum())
    half = float(stdtrit(freedom, (1 + level) / 2)) * root / over
    return MeanInterval(n, mean, root / over, freedom, mean - half, mean + half)


def sign_flip_test(differences_S: ArrayLike, generator: np.random.Generator | None = None) -> SignFlip:
    """Two-sided test that differences are symmetric around 0: how often is |mean| as large if signs are coins?

    All 2^n signs up to 20 seeds. Beyond, 50,000 random ones from `generator`, with the data's own signs counted as one
    more, so p is valid and never 0 (Phipson & Smyth 2010); its Monte-Carlo error is 0.001 at p = 0.05.
    """
    sample = _sample(differences_S)
    n = len(sample)
    if n == 0:
        return SignFlip(math.nan, math.nan, True)
    # Sums in another order differ in their last digits: an equal sum must count as equal.
    observed = abs(float(sample.sum())) - ROUNDING * float(np.abs(sample).sum())
    smallest = 2.0 ** (1 - n)
    if n <= EXACT_SEEDS:
        sums = sample[:1]  # its mirror image has the same |sum|
        for value in sample[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return SignFlip(float(np.mean(np.abs(sums) >= observed)), smallest, True)
    if generator is None:
        raise ValueError(f"{n} differences: above {EXACT_SEEDS} a sign-flip test draws signs and needs a generator")
    signs = generator.integers(0, 2, size=(DRAWS, n)) * 2.0 - 1.0
    extreme = int(np.count_nonzero(np.abs(signs @ sample) >= observed))
    return SignFlip((1 + extreme) / (1 + DRAWS), smallest, False)


def clopper_pearson(k: int, n: int, level: float = LEVEL) -> Proportion:
    """k of n with the exact binomial interval (Clopper & Pearson 1934): it covers at least `level`, never less."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share")
    if n == 0:
        return Proportion(0)
    tail = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Proportion(n, k / n, low, high)


def improvement(differences_S: ArrayLike, level: float = LEVEL) -> Proportion:
    """P(difference > 0), ties counted half, over paired seeds.

    If coins broke the ties, wins would be binomial with exactly this probability, and Clopper and Pearson's interval
    would cover it. The interval here holds every such interval, from all ties lost to all ties won: it covers at least
    `level`. Wins among the pairs that are no ties would estimate another thing, P(difference > 0 | no tie).
    """
    sample = _sample(differences_S)
    n, wins, ties = len(sample), int(np.count_nonzero(sample > 0)), int(np.count_nonzero(sample == 0))
    if n == 0:
        return Proportion(0)
    low, high = clopper_pearson(wins, n, level).low, clopper_pearson(wins + ties, n, level).high
    return Proportion(n, (wins + ties / 2) / n, low, high)


def aggregates(scores_ST: ArrayLike) -> Aggregates:
    """Aggregates of scores (seeds, tasks). NaN is a missing run; a task without any is left out.

    The interquartile mean leaves out the lowest and the highest quarter of all scores, each rounded down to whole
    scores (Agarwal et al. 2021, section 4.3).
    """
    scores = np.asarray(scores_ST, float)
    tasks = [column[~np.isnan(column)] for column in scores.T]
    means = [column.mean() for column in tasks if len(column)]
    if not means:
        return Aggregates(math.nan, math.nan, math.nan)
    pooled = np.sort(np.concatenate(tasks))
    cut = len(pooled) // 4
    return Aggregates(float(np.mean(means)), float(np.median(means)), float(pooled[cut : len(pooled) - cut].mean()))


def standardised_effect(differences_S: ArrayLike) -> float:
    """Cohen's d_z: mean of the paired differences over their sample standard deviation; NaN without spread.

    Not comparable with the d of unpaired arms: pairing takes the seeds' common spread out of the denominator. At small
    n it overstates, by a factor of about (4n - 5)/(4n - 8), 1.13 at n = 8 (Hedges 1981).
    """
    sample = _sample(differences_S)
    variance = _variance(sample) if len(sample) > 1 else 0.0
    return float(sample.mean()) / math.sqrt(variance) if variance > 0 else math.nan


def _sample(values: ArrayLike) -> Array:
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise ValueError("a sample is a row of finite numbers; paired_differences leaves missing runs out")
    return sample


def _variance(sample: Array) -> float:
    """The sample variance, exactly 0 where values differ by rounding only."""
    if np.ptp(sample) <= ROUNDING * np.abs(sample).max():
        return 0.0
    return float(sample.var(ddof=1))

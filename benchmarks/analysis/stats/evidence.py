"""From paired values to an estimate, its interval and its p-values: one function per kind of comparison.

Pure functions. What the data cannot give is NaN; `undefined` says why a comparison does not exist at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, stdtr

from ppo_vs_grpo.benchmarks.analysis.stats.intervals import (
    LEVEL,
    ROUNDING,
    Array,
    clopper_pearson,
    improvement,
    paired_differences,
    satterthwaite_interval,
)

DIFFERENCE, RATIO, SHARE = "difference", "ratio", "share of pairs"
NULL = {DIFFERENCE: 0.0, RATIO: 1.0, SHARE: 0.5}
"""What an estimate is where the arms are equal."""


@dataclass(frozen=True)
class Evidence:
    """A comparison of the second arm with the first: difference, ratio, or share of pairs in which it was earlier.

    `n` is the number of pairs, of the smallest task where there are several. `p` is that of the test that the estimate
    is its null, `same_p` that of two one-sided tests (TOST) that it lies within the margin. Neither is adjusted.
    `freedom` are the degrees of freedom of a t interval; NaN where the interval is none.
    """

    effect: str
    n: int
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    same_p: float = math.nan
    test: str = "none"
    undefined: str = ""
    freedom: float = math.nan


def mean_evidence(
    samples: Sequence[ArrayLike], margin: float, *, ratio: bool = False, over: int | None = None
) -> Evidence:
    """The equal-weight mean of the samples' means with its t interval, tested against 0 and against the margin.

    `over` divides their sum instead of their number: a task may have two samples that add up. With `ratio` samples are
    logarithms, and estimate, interval and margin are ratios: a margin of 1.25 is from 1/1.25 to 1.25. One sample is the
    paired t test, several are Satterthwaite's. Without spread in any sample p is that of sign flips of all values.
    """
    rows = [np.asarray(values, float) for values in samples]
    interval = satterthwaite_interval(rows, over=over)
    total, half = sum(map(len, rows)), math.log(margin) if ratio else margin

    def beyond(distance: float) -> float:
        if interval.n < 2:
            return math.nan
        if interval.se == 0:
            return 0.5**total if distance > 0 else 1.0
        return float(stdtr(interval.freedom, -distance / interval.se))

    p, same_p = _two_tests(beyond, interval.mean, half)
    test = "paired t test" if len(rows) == 1 else "t test of the mean over tasks"
    ends = np.array([interval.mean, interval.low, interval.high])
    estimate, low, high = np.exp(ends) if ratio else ends
    return Evidence(
        effect=RATIO if ratio else DIFFERENCE,
        n=interval.n,
        estimate=float(estimate),
        low=float(low),
        high=float(high),
        p=p,
        same_p=same_p,
        test=test,
        freedom=interval.freedom,
    )


def shifted_evidence(samples: Sequence[ArrayLike], than: float, margin: float) -> Evidence:
    """`mean_evidence`, tested against `than` instead of 0."""
    evidence = mean_evidence([paired_differences(np.full_like(row, than), row) for row in samples], margin)
    return replace(evidence, estimate=evidence.estimate + than, low=evidence.low + than, high=evidence.high + than)


def spread_evidence(pairs: Sequence[tuple[Array, Array]], margin: float) -> Evidence:
    """The ratio of the arms' mean distances from their own median, second over first.

    Of one task it is the paired t test of these distances (Brown and Forsythe 1974; of pairs, Grambsch 1994). Distances
    are in units of the two arms' mean distance, so that tasks of any spread weigh the same, and D, the mean of their
    differences, is 2 (r - 1) / (r + 1) with r the ratio. The interval and the margin are those of D, turned into
    ratios; an end that no ratio reaches is NaN. Several tasks have the mean of their D.

    Ratios of standard deviations are exact for normal seeds alone: one low seed then carries a whole verdict. Of equal
    arms this test names one over all tasks in 1 to 5% of suites, whatever their distribution (docs/method.md).
    Undefined where an arm's seeds do not differ, and below three pairs.
    """
    n = min(len(first) for first, _ in pairs)
    if n < 3:
        return Evidence(RATIO, n)
    samples = []
    for both in pairs:
        differ = [np.ptp(values) > ROUNDING * np.abs(values).max() for values in both]
        if not all(differ):
            which = "one arm" if any(differ) else "both arms"
            return Evidence(RATIO, n, undefined=f"all seeds of {which} score the same: no spread to compare")
        first, second = (np.abs(values - np.median(values)) for values in both)
        samples.append(paired_differences(first, second) / ((first.mean() + second.mean()) / 2))
    found = mean_evidence(samples, _distance(margin))
    test = "t test of distances from the median"
    return replace(
        found,
        effect=RATIO,
        estimate=_ratio(found.estimate),
        low=_ratio(found.low),
        high=_ratio(found.high),
        test=test if len(pairs) == 1 else f"{test} over tasks",
    )


def _distance(ratio: float) -> float:
    """The relative difference of a ratio, between -2 and 2."""
    return 2 * (ratio - 1) / (ratio + 1)


def _ratio(distance: float) -> float:
    """The ratio of a relative difference; NaN beyond -2 and 2, where there is none."""
    return (2 + distance) / (2 - distance) if abs(distance) < 2 else math.nan


def noise_sample(trace: tuple[Array, Array], signal: tuple[Array, Array]) -> Array | None:
    """Jackknife pseudo-values of the log ratio of two arms' noise scales, shape (seeds,), shifted to the log ratio.

    A noise scale is the runs' summed trace over their summed signal: a run's own ratio is no estimate, its signal can
    be below 0. Leaving out a seed leaves out its run of both arms. The values' mean is the log ratio itself and their
    t interval the jackknife's (Tukey 1958). None where a sum, of all seeds or of all but one, is not above 0.
    """
    arms_SQ = np.stack([trace[1], signal[0], trace[0], signal[1]], axis=1)
    n, whole_Q = len(arms_SQ), arms_SQ.sum(axis=0)
    sums_Q = np.vstack([whole_Q, whole_Q - arms_SQ]) if n > 1 else whole_Q[None]
    if not (sums_Q > 0).all():
        return None
    log_ratio, *without = np.log(sums_Q) @ np.array([1.0, 1.0, -1.0, -1.0])
    return log_ratio + (n - 1) * (np.mean(without) - np.array(without)) if n > 1 else np.array([log_ratio])


def mcnemar_evidence(first: Array, second: Array, n: int) -> Evidence:
    """The difference of two shares of paired yes-or-no values (0 and 1), second less first.

    The pairs that differ are coins if the arms are equal (McNemar's test, exact). The interval takes each kind of
    differing pair's share with Clopper and Pearson's interval at 97.5%, and the differences that both allow: it covers
    at least 95%, and is wider than the test needs. There is no test of equivalence: it would take some 70 pairs.
    """
    if len(first) == 0:
        return Evidence(DIFFERENCE, 0)
    up, down, total = int(np.sum(second > first)), int(np.sum(first > second)), len(first)
    more, fewer = (clopper_pearson(k, total, (1 + LEVEL) / 2) for k in (up, down))
    return Evidence(
        DIFFERENCE,
        n,
        (up - down) / total,
        more.low - fewer.high,
        more.high - fewer.low,
        _coins(up, down),
        test="exact McNemar test",
    )


def arrival_evidence(pairs: Sequence[tuple[Array, Array]], margin: float) -> Evidence:
    """Who reached a threshold first, from the completions at which runs did; infinite is never.

    Where all did, the ratio of places, by logarithms. Otherwise, or where a run starts there, the share of pairs in
    which the second arm was earlier, ties counted half (two that never did are a tie): a sign test over all tasks'
    pairs, without a test of equivalence.
    """
    n = min(len(first) for first, _ in pairs)
    if not any(len(first) for first, _ in pairs):
        return Evidence(RATIO, 0)
    if _arrived(pairs):
        return mean_evidence(_log_ratios(pairs), margin, ratio=True)
    # Not the sign of a difference: two infinities have none.
    leads = np.concatenate([(second < first).astype(float) - (second > first) for first, second in pairs])
    share = improvement(leads)
    p = _coins(int(np.sum(leads > 0)), int(np.sum(leads < 0)))
    return Evidence(SHARE, n, share.share, share.low, share.high, p, test="sign test")


def paced_evidence(
    pairs: Sequence[tuple[Array, Array]], paces: Sequence[tuple[Array, Array]], margin: float
) -> Evidence:
    """The ratio of seconds to a threshold: completions of each pair of seeds, times seconds of each pair of repeats.

    The pace of a task is one number for all its seeds, measured a few times. Its log ratio is a sample of its own that
    is added to that of the completions, and its variance with it. Undefined where a run never got there: an order of
    pairs would take the pace for exact.
    """
    n = min(len(first) for first, _ in pairs)
    if not n:
        return Evidence(RATIO, 0)
    if not _arrived(pairs):
        return Evidence(RATIO, n, undefined="not every run got there after its start: see completions to the threshold")
    found = mean_evidence([*_log_ratios(pairs), *_log_ratios(paces)], margin, ratio=True, over=len(pairs))
    repeats = min(len(first) for first, _ in paces)
    return replace(found, n=n, test=f"t test of completions and of {repeats} paired repeats of seconds")


def _arrived(pairs: Sequence[tuple[Array, Array]]) -> bool:
    """Whether every run reached the threshold, and none started there."""
    places = np.concatenate([values for pair in pairs for values in pair])
    return bool(np.isfinite(places).all() and (places > 0).all())


def _log_ratios(pairs: Sequence[tuple[Array, Array]]) -> list[Array]:
    """Each task's logarithms of second over first, pair by pair."""
    return [np.log(second) - np.log(first) for first, second in pairs]


def _coins(heads: int, tails: int) -> float:
    """Two-sided exact p that heads and tails are as likely; 1 without a throw."""
    return min(1.0, 2 * float(bdtr(min(heads, tails), heads + tails, 0.5)))


def _two_tests(beyond: Callable[[float], float], mean: float, margin: float) -> tuple[float, float]:
    """p that the mean is not 0, and of TOST. `beyond` is the one-sided p of a distance from a null."""
    p = 2 * min(beyond(mean), beyond(-mean), 0.5)
    return p, max(beyond(mean + margin), beyond(margin - mean))

"""Statistics of training curves: area, and completions to a threshold.

A curve is an increasing x of shape (points,), in completions, tokens, seconds or operations, and a score per point.
The functions are pure. They raise ValueError for anything but a curve; too few data give NaN and a reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from ppo_vs_grpo.benchmarks.analysis.stats.intervals import LEVEL, Array, Proportion, clopper_pearson


@dataclass(frozen=True)
class Crossing:
    """The x at which a run first reached a threshold; the last x with a score if it never did (censored)."""

    x: float
    reached: bool


@dataclass(frozen=True)
class Reaching:
    """The share of runs that reached a threshold, and the median x at which they did, with its exact interval.

    A run that never did counts as infinitely late, so the median is infinite if half of them never did. `low` and
    `high` are NaN below six runs. `reason` says what is missing; it is empty if nothing is.
    """

    share: Proportion
    median: float
    low: float
    high: float
    reason: str


def area_under_curve(x_P: ArrayLike, score_P: ArrayLike) -> float:
    """The area under the curve by trapezoids, divided by its width: a mean height, in the score's unit.

    NaN if a score is missing (NaN) or the curve has no width.
    """
    x, scores = _curve(x_P, score_P)
    if len(x) < 2:
        return math.nan
    return float(np.trapezoid(scores, x)) / float(x[-1] - x[0])


def first_crossing(x_P: ArrayLike, score_P: ArrayLike, threshold: float) -> Crossing:
    """The first x at which the curve, linear between points, is at `threshold` or above. NaN scores are left out.

    A curve that starts there crosses at its first x. A curve without any score is censored at 0.
    """
    x, scores = _curve(x_P, score_P)
    x, scores = x[~np.isnan(scores)], scores[~np.isnan(scores)]
    above = np.flatnonzero(scores >= threshold)
    if not len(above):
        return Crossing(float(x[-1]) if len(x) else 0.0, False)
    i = int(above[0])
    if i == 0:
        return Crossing(float(x[0]), True)
    part = (threshold - scores[i - 1]) / (scores[i] - scores[i - 1])
    return Crossing(float(x[i - 1] + part * (x[i] - x[i - 1])), True)


def reaching(crossings: Sequence[Crossing], level: float = LEVEL) -> Reaching:
    """Summarise the crossings of several runs.

    The interval of the median lies between two order statistics, the r-th from below and the r-th from above. r is as
    large as the binomial distribution of the number of runs below a median allows. The interval covers at least
    `level` for any distribution. For its lower end a censored run counts with its last x, the least it can be; for
    its upper end it counts as infinite.
    """
    n, reached = len(crossings), sum(crossing.reached for crossing in crossings)
    share = clopper_pearson(reached, n, level)
    if n == 0:
        return Reaching(share, math.nan, math.nan, math.nan, "no runs")
    earliest = np.sort([crossing.x for crossing in crossings])
    latest = np.sort([crossing.x if crossing.reached else math.inf for crossing in crossings])
    median = float((latest[(n - 1) // 2] + latest[n // 2]) / 2)
    reasons = [] if math.isfinite(median) else [f"{reached} of {n} runs reached it: too few for a median"]
    rank = sum(1 for below in range(n // 2) if 2 * float(bdtr(below, n, 0.5)) <= 1 - level)
    if rank == 0:
        reasons.append(f"{n} runs are too few for an interval")
        return Reaching(share, median, math.nan, math.nan, "; ".join(reasons))
    return Reaching(share, median, float(earliest[rank - 1]), float(latest[n - rank]), "; ".join(reasons))


def _curve(x_P: ArrayLike, score_P: ArrayLike) -> tuple[Array, Array]:
    x, scores = np.asarray(x_P, float), np.asarray(score_P, float)
    if x.ndim != 1 or x.shape != scores.shape or not np.isfinite(x).all() or (np.diff(x) <= 0).any():
        raise ValueError("a curve is a row of finite, increasing x and as many scores")
    return x, scores

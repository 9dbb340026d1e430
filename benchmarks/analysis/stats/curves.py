"""What a training curve says: area, completions to a threshold, and the asymptote of a fit, where it has one.

A curve is x of shape (points,), increasing (completions, tokens, seconds or operations), and a score per point. Pure
functions; a curve that is none raises ValueError, one that says too little gives NaN or None and a reason.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from ppo_vs_grpo.benchmarks.analysis.stats.intervals import LEVEL, Array, Proportion, clopper_pearson

FEWEST_POINTS = 5
"""A fit has three free parameters; its residuals need two points more."""
STEEPNESS = (0.2, 20.0)
"""Bounds of k. At the lower one a curve is a logarithm of x that has no ceiling in sight."""
MIDPOINT = (1e-3, 1e2)
"""Bounds of Cmid, in units of the last x."""


@dataclass(frozen=True)
class Crossing:
    """Where a run first reached a threshold, in x's unit; the last x with a score where it never did (censored)."""

    x: float
    reached: bool


@dataclass(frozen=True)
class Reaching:
    """How many runs reached a threshold, and the median x at which they did, with its exact interval.

    A run that never did counts as infinitely late, so the median is infinite where half never did. `low` and `high`
    are NaN below six runs; `reason` says what is missing, empty where nothing is.
    """

    share: Proportion
    median: float
    low: float
    high: float
    reason: str


@dataclass(frozen=True)
class Fit:
    """R(C) = start + (asymptote - start) / (1 + (midpoint / C)^steepness), fitted by least squares.

    `asymptote` and its standard error are None unless `reason` is empty. `midpoint` is in x's unit, `rmse` the
    root mean squared residual; they and `steepness` are None where nothing could be fitted.
    """

    start: float
    asymptote: float | None
    asymptote_se: float | None
    midpoint: float | None
    steepness: float | None
    rmse: float | None
    reason: str


def area_under_curve(x_P: ArrayLike, score_P: ArrayLike) -> float:
    """The area under the curve by trapezoids over its width: a mean height, in the score's unit.

    NaN where a score is missing (NaN) or the curve has no width.
    """
    x, scores = _curve(x_P, score_P)
    if len(x) < 2:
        return math.nan
    return float(np.trapezoid(scores, x)) / float(x[-1] - x[0])


def first_crossing(x_P: ArrayLike, score_P: ArrayLike, threshold: float) -> Crossing:
    """Where the curve, linear between points, first is at `threshold` or above. Missing scores (NaN) are left out.

    A curve that starts there is there at its first x. Without any score it was seen to 0.
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
    """Runs that reached a threshold, summed up.

    The interval of the median lies between order statistics: the r-th from below and from above, r as large as the
    binomial distribution of how many runs lie below a median allows. It covers at least `level`, whatever the
    distribution. In its lower end a censored run counts with the x it was seen to, the least it can be; in its upper
    end as infinite.
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


def saturating(x: Array, start: float, asymptote: float, midpoint: float | Array, steepness: float | Array) -> Array:
    """R(C) = start + (asymptote - start) / (1 + (midpoint / C)^steepness) (Khatri et al. 2025, eq. 1), C above 0."""
    return np.asarray(start + (asymptote - start) / (1 + (midpoint / x) ** steepness))


def fit_curve(x_P: ArrayLike, score_P: ArrayLike, start: float, ceiling: float = 1.0) -> Fit:
    """The saturating curve through a run's scores, from the start model's known score `start`.

    Points at x = 0 and missing scores (NaN) are left out. The asymptote is searched in [0, `ceiling`], the other
    parameters within this module's bounds. It is returned only where the optimizer converged and the curve has passed
    its knee, last x >= 2 midpoint: before that, the data do not hold the asymptote, and a fit makes it up.
    """
    x, scores = _curve(x_P, score_P)
    used = (x > 0) & ~np.isnan(scores)
    x, scores = x[used], scores[used]
    if len(x) < FEWEST_POINTS:
        return _no_fit(start, f"{len(x)} points, a fit needs {FEWEST_POINTS}")
    if np.ptp(scores) == 0 and scores[0] == start:
        return _no_fit(start, "the curve never leaves its start")
    best = _least_squares(x / x[-1], scores, start, ceiling)
    if best is None:
        return _no_fit(start, "the fit did not converge")
    (asymptote, midpoint, steepness), se, rmse = best
    midpoint *= float(x[-1])
    if x[-1] < 2 * midpoint:
        reason = f"the curve has not passed its knee: it ends at {x[-1]:.4g}, not at {2 * midpoint:.4g}"
    elif steepness < 1.01 * STEEPNESS[0]:
        reason = f"the curve shows no ceiling: its steepness is at the bound {STEEPNESS[0]:g}"
    else:
        return Fit(start, asymptote, se, midpoint, steepness, rmse, "")
    return Fit(start, None, None, midpoint, steepness, rmse, reason)


def _least_squares(
    x: Array, scores: Array, start: float, ceiling: float
) -> tuple[tuple[float, float, float], float, float] | None:
    """Parameters, the asymptote's standard error and the rmse; None where the optimizer does not converge."""
    from scipy.optimize import OptimizeWarning, curve_fit

    def curve(c: Array, asymptote: float, midpoint: float, steepness: float) -> Array:
        return saturating(c, start, asymptote, midpoint, steepness)

    first = _best_of_grid(x, scores, start, ceiling)
    bounds = (0.0, MIDPOINT[0], STEEPNESS[0]), (ceiling, MIDPOINT[1], STEEPNESS[1])
    # At scipy's 1e-8 it stops 1e-5 short of a ceiling; with steps of one size it creeps along a flat curve's valley.
    exact = {"ftol": 1e-12, "xtol": 1e-12, "gtol": 1e-12, "x_scale": "jac"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", OptimizeWarning)
        try:
            found, covariance = curve_fit(curve, x, scores, first, bounds=bounds, max_nfev=2000, **exact)
        except (RuntimeError, OptimizeWarning):
            return None
    rmse = float(np.sqrt(np.mean((curve(x, *found) - scores) ** 2)))
    return (float(found[0]), float(found[1]), float(found[2])), float(np.sqrt(covariance[0, 0])), rmse


def _best_of_grid(x: Array, scores: Array, start: float, ceiling: float) -> tuple[float, float, float]:
    """Where to start: noisy or steep curves have local minima. The best asymptote at each place is linear."""
    midpoint, steepness = np.meshgrid(np.geomspace(0.01, 10.0, 60), np.geomspace(0.25, 18.0, 30))
    rise = saturating(x, 0.0, 1.0, midpoint[..., None], steepness[..., None])
    asymptote = np.clip(start + rise @ (scores - start) / (rise**2).sum(axis=-1), 0.0, ceiling)
    errors = ((start + (asymptote - start)[..., None] * rise - scores) ** 2).sum(axis=-1)
    best = np.unravel_index(np.argmin(errors), errors.shape)
    return float(asymptote[best]), float(midpoint[best]), float(steepness[best])


def _no_fit(start: float, reason: str) -> Fit:
    return Fit(start, None, None, None, None, None, reason)


def _curve(x_P: ArrayLike, score_P: ArrayLike) -> tuple[Array, Array]:
    x, scores = np.asarray(x_P, float), np.asarray(score_P, float)
    if x.ndim != 1 or x.shape != scores.shape or not np.isfinite(x).all() or (np.diff(x) <= 0).any():
        raise ValueError("a curve is a row of finite, increasing x and as many scores")
    return x, scores

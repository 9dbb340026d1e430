"""A number and its jackknife error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

ROUNDING = 1e-12
"""A variance below this share of the mean square is rounding and counts as 0."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its jackknife standard error over prompts; None if the data do not define it."""

    value: float | None
    se: float | None


def spread(values: Sequence[float | None]) -> float | None:
    """Jackknife standard error from the estimates without one prompt each: sqrt((n-1)/n sum (e_p - mean e)^2).

    None with fewer than two, or if one of them is undefined (Efron and Stein, Ann. Statist. 9 (1981), 586).
    """
    kept = np.array([v for v in values if v is not None])
    if len(kept) < 2 or len(kept) < len(values):
        return None
    return float(np.sqrt((len(kept) - 1) * kept.var()))


def jackknife(parts_PC: Floats, statistic: Callable[[Floats], float | None]) -> Estimate:
    """A statistic of sums over prompts, and its standard error: each prompt's part is subtracted once."""
    if len(parts_PC) == 0:
        return Estimate(None, None)
    total_C = parts_PC.sum(0)
    value = statistic(total_C)
    return Estimate(value, None if value is None else spread([statistic(total_C - own_C) for own_C in parts_PC]))


def sums(unit_M: Ints, columns: Iterable[Floats]) -> Floats:
    """Sums of columns over the units (prompts) 0..P-1 that occur: (P, C)."""
    present = np.bincount(unit_M) > 0
    return np.stack([np.bincount(unit_M, weights=column)[present] for column in columns], 1)


def cluster_sums(unit_M: Ints, weight_M: Floats, x_M: Floats) -> Floats:
    """The sums of x and its weights that `variance` needs, by prompt: (P, 6)."""
    shifted_M = x_M - x_M[0]  # a constant becomes exactly 0
    own_P3 = sums(unit_M, (weight_M, weight_M * shifted_M, weight_M * shifted_M**2))
    return np.concatenate([own_P3, own_P3[:, :2] ** 2, own_P3[:, :1] * own_P3[:, 1:2]], 1)


def variance(total_6: Floats) -> float | None:
    """Variance of x from sums over prompts p of n_p (rows), a_p (their x), q_p (their x^2), n_p^2, a_p^2 and n_p a_p.

    q / n - c^2 + sum (a_p - c n_p)^2 / (n^2 - sum n_p^2), c = a / n. The square of the mean is taken from pairs of
    different prompts, so neither the noise of the mean nor what a prompt's rows share biases it. With one x per
    prompt it is the variance with ddof 1. None with one prompt.
    """
    n, a, q, nn, aa, na = total_6.tolist()
    pairs = n * n - nn
    if n <= 0 or pairs <= 1e-9 * n * n:
        return None
    c = a / n
    value: float = q / n - c * c + (aa - 2 * c * na + c * c * nn) / pairs
    return 0.0 if abs(value) <= ROUNDING * q / n else value

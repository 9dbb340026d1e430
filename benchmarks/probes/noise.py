"""Statistics of independent gradients: noise, signal, and the prompts' part of the noise.

Noise scale and cosine are comparable across arms. The raw trace is not, and no report may compare it: it scales with
the square of the advantage's scale. Axes: U units, G rows of a unit, D parameters of the policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class GradientNoise:
    """Noise of an estimate that is the mean of `units` independent gradients; `skipped` more were not finite.

    `trace` is tr(Sigma) of ONE unit. `signal` is the unbiased |E g|^2; noise may make it negative. `noise_scale` is
    trace / signal in units, the batch at which noise equals signal (arXiv 1812.06162, eq. 2.8); None if signal <= 0.
    `between` is the prompts' part of the trace (see `split`). `cosine` is that of estimate and reference. `*_se` is a
    standard error by jackknife over units. None: undefined, or not asked for. Never compare `trace` between arms.
    """

    units: int
    skipped: int = 0
    trace: float | None = None
    signal: float | None = None
    between: float | None = None
    noise_scale: float | None = None
    cosine: float | None = None
    trace_se: float | None = None
    noise_scale_se: float | None = None
    cosine_se: float | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """The trace of the variance of one row's gradient is `between` + `within`; None if undefined.

    `between` is the covariance of two rows of a prompt, so a baseline made of sibling rows can make it negative.
    """

    between: float | None
    within: float | None
    skipped: int = 0


def statistics(gradients_UD: Tensor, reference_D: Tensor | None = None) -> GradientNoise:
    """Noise of the mean of independent unit gradients, (U, D) and (D,) -> numbers, float64 inside.

    A unit that is not finite is counted and left out. One unit gives no noise: None. Raises ValueError if the reference
    is not finite.
    """
    if reference_D is not None and not reference_D.isfinite().all():
        raise ValueError("the reference gradient is not finite")
    kept_UD = gradients_UD[gradients_UD.isfinite().all(1)].double()
    n, skipped = len(kept_UD), len(gradients_UD) - len(kept_UD)
    if n == 0:
        return GradientNoise(0, skipped)
    mean_D = kept_UD.mean(0)
    toward_D = torch.full_like(mean_D, torch.nan) if reference_D is None else reference_D.double()
    toward_D = toward_D / toward_D.norm()
    away_UD = kept_UD - mean_D
    away_square_U = away_UD.square().sum(1)
    scatter, square, along = away_square_U.sum(), mean_D @ mean_D, mean_D @ toward_D
    whole = _from_sums(scatter, square, along, n)
    errors = {}
    if n > 2:
        # The mean without unit u is mean - away_u / (n - 1).
        without = _from_sums(
            scatter - away_square_U * n / (n - 1),
            square - 2 * (away_UD @ mean_D) / (n - 1) + away_square_U / (n - 1) ** 2,
            along - (away_UD @ toward_D) / (n - 1),
            n - 1,
        )
        errors = {f"{k}_se": ((n - 1) * x_U.var(correction=0)).sqrt() for k, x_U in without.items() if k != "signal"}
    numbers = {k: None if x.isnan() else float(x) for k, x in (whole | errors).items()}
    return GradientNoise(n, skipped, **numbers)


def split(gradients_UGD: Tensor) -> Split:
    """One-way random effects: the prompt's share in one row's gradient variance, (U, G, D) -> traces.

    within = mean over prompts of the variance over rows; between = variance of the prompts' means - within / G (Searle,
    Casella and McCulloch 1992, section 3.6). Both are unbiased, so `between` may be negative. A unit's tr(Sigma)
    is between + within / G. A prompt with a row that is not finite is counted and left out.
    """
    kept_UGD = gradients_UGD[gradients_UGD.isfinite().flatten(1).all(1)]
    units, size = kept_UGD.shape[:2]
    skipped = len(gradients_UGD) - units
    if size < 2 or units < 1:
        return Split(None, None, skipped)
    mean_UD = kept_UGD.mean(1)
    within = _square(kept_UGD - mean_UD[:, None]) / (size - 1) / units
    if units < 2:
        return Split(None, within, skipped)
    return Split(_square(mean_UD - mean_UD.mean(0)) / (units - 1) - within / size, within, skipped)


def _from_sums(scatter: Tensor, square: Tensor, along: Tensor, count: int) -> dict[str, Tensor]:
    """Statistics from sum |g - mean|^2, |mean|^2 and the mean's length along the reference; NaN if undefined."""
    trace = scatter / (count - 1)
    signal = square - trace / count
    noise_scale = torch.where(signal > 0, trace / signal, torch.nan)
    return {"trace": trace, "signal": signal, "noise_scale": noise_scale, "cosine": along / square.sqrt()}


def _square(away: Tensor) -> float:
    """The sum of squares, in float64."""
    return float(torch.linalg.vector_norm(away, dtype=torch.float64)) ** 2

"""How good a critic is on a frozen policy, against fresh continuations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppo_vs_grpo.benchmarks.probes.estimates import (
    Estimate,
    Floats,
    Ints,
    cluster_sums,
    jackknife,
    spread,
    sums,
    variance,
)
from ppo_vs_grpo.benchmarks.probes.prefixes import Prefixes

BINS = 10
"""Deciles of the position."""


@dataclass(frozen=True, slots=True)
class Decile:
    """The prefixes in a tenth of the positions, from `low` on: count, MSE_c, EV, and bias, mean(V - m)."""

    low: float
    n: int
    mse: Estimate
    explained_variance: Estimate
    bias: Estimate


@dataclass(frozen=True, slots=True)
class ValueQuality:
    """A critic against fresh continuations; errors in reward^2, bias in reward. `value_quality` defines the fields."""

    n: int
    prompts: int
    mse: Estimate
    explained_variance: Estimate
    bias: Estimate
    kendall_tau: Estimate
    deciles: tuple[Decile, ...]


def value_quality(prefixes: Prefixes) -> ValueQuality:
    """The critic's error without the noise of the continuations; every prefix weighs the same.

    MSE_c = mean((m - V)^2) - mean(s2 / K). It is unbiased for mean((v - V)^2) at any K >= 2, so that of a good critic
    may be slightly negative; it is reported as it is. EV = 1 - MSE_c / (Var(m) - mean(s2 / K)), None unless the
    denominator is above 0. Var has ddof 1 with the prompt as the unit (see `estimates.variance`), so the noise comes
    off exactly and a constant at the true mean scores 0; ddof 0 would also subtract the noise of the mean. At K = 1
    the noise is unknown, and both are None. bias = mean(V - m). Kendall's tau-b between V and m is not corrected:
    noise in m pulls it towards 0. Standard errors are jackknifed over prompts.

    `deciles` cut the positions at 0.1, 0.2, ...; each is judged by itself.

    Explained variance against lambda-returns, 1 - Var(G - V) / Var(G), does not measure quality: those returns contain
    the critic's own bootstraps, and a critic that knows nothing scores 0.66 there at lam 0.95.

    Raises ValueError without V.
    """
    if (value_N := prefixes.value_N) is None:
        raise ValueError("value quality needs a critic, and this run has none")
    mse, explained, bias = _errors(prefixes, value_N, np.ones(len(value_N), dtype=bool))
    decile_N = np.minimum((prefixes.position_N * BINS).astype(int), BINS - 1)
    deciles = tuple(
        Decile(i / BINS, int((decile_N == i).sum()), *_errors(prefixes, value_N, decile_N == i)) for i in range(BINS)
    )
    return ValueQuality(
        n=len(value_N),
        prompts=len(np.unique(prefixes.prompt_N)),
        mse=mse,
        explained_variance=explained,
        bias=bias,
        kendall_tau=_kendall(value_N, prefixes.mean_N, prefixes.prompt_N),
        deciles=deciles,
    )


def _errors(prefixes: Prefixes, value_N: Floats, chosen_N: np.ndarray) -> tuple[Estimate, Estimate, Estimate]:
    """MSE_c, EV and bias of the chosen prefixes."""
    nothing, noise_N = Estimate(None, None), prefixes.noise_N
    if not chosen_N.any():
        return nothing, nothing, nothing
    mean_N, value_N, prompt_N = prefixes.mean_N[chosen_N], value_N[chosen_N], prefixes.prompt_N[chosen_N]
    unit_N = np.unique(prompt_N, return_inverse=True)[1]
    off_N, ones_N = value_N - mean_N, np.ones(len(mean_N))
    known_N = 0 * ones_N if noise_N is None else noise_N[chosen_N]
    rest_P3 = sums(unit_N, (off_N, off_N**2, known_N))
    parts_PC = np.concatenate([rest_P3, cluster_sums(unit_N, ones_N, mean_N)], 1)

    def mse(total_C: Floats) -> float | None:
        return float((total_C[1] - total_C[2]) / total_C[3]) if total_C[3] > 0 else None

    def explained(total_C: Floats) -> float | None:
        whole, error = variance(total_C[3:]), mse(total_C)
        if whole is None or error is None or (true := whole - float(total_C[2] / total_C[3])) <= 0:
            return None
        return 1 - error / true

    bias = jackknife(parts_PC, lambda total_C: float(total_C[0] / total_C[3]) if total_C[3] > 0 else None)
    if noise_N is None:
        return nothing, nothing, bias
    return jackknife(parts_PC, mse), jackknife(parts_PC, explained), bias


def _kendall(value_N: Floats, mean_N: Floats, prompt_N: Ints) -> Estimate:
    """Tau-b: (concordant - discordant) / sqrt(pairs that differ in V * those that differ in m); None if either is 0."""
    with_all, within = [], []
    for own_N in (prompt_N == p for p in np.unique(prompt_N)):
        v_nN, m_nN = (np.sign(x[own_N, None] - x) for x in (value_N, mean_N))
        pairs_3nN = np.stack([v_nN * m_nN, v_nN**2, m_nN**2])
        with_all.append(pairs_3nN.sum((1, 2)))
        within.append(pairs_3nN[:, :, own_N].sum((1, 2)))

    def tau(pairs_3: Floats) -> float | None:
        return float(pairs_3[0] / np.sqrt(pairs_3[1] * pairs_3[2])) if pairs_3[1:].min() > 0 else None

    total_3 = np.sum(with_all, 0)
    value, left = tau(total_3), [tau(total_3 - 2 * a + b) for a, b in zip(with_all, within, strict=True)]
    return Estimate(value, None if value is None else spread(left))

"""Prefixes of the enumerated world, whose true values are known, for the tests of the probes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from exact import WORLD
from ppo_vs_grpo.benchmarks.probes.baselines import BaselineQuality
from ppo_vs_grpo.benchmarks.probes.estimates import Estimate, Floats, cluster_sums, variance
from ppo_vs_grpo.benchmarks.probes.prefixes import Prefixes
from ppo_vs_grpo.benchmarks.theory.enumeration import LENGTH, PROMPTS


def near(estimate: Estimate, expected: float, errors: float = 3) -> bool:
    assert estimate.value is not None
    assert estimate.se is not None
    return abs(estimate.value - expected) <= errors * estimate.se


def value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def conditional_cdf() -> Floats:
    """The distribution over the world's completions given the prefix of row r before token t: (R, T, R)."""
    tokens, prompt_R = WORLD.completion_BT.numpy(), WORLD.prompt_B.numpy()
    cdf = np.empty((len(prompt_R), LENGTH, len(prompt_R)))
    for t in range(LENGTH):
        same = (prompt_R[:, None] == prompt_R) & (tokens[:, None, :t] == tokens[None, :, :t]).all(2)
        weight = same * WORLD.probability_B.numpy()
        cdf[:, t] = np.cumsum(weight / weight.sum(1, keepdims=True), 1)
    return cdf


CDF, EXACT_V, LENGTHS = conditional_cdf(), WORLD.values_BT().numpy(), WORLD.mask_BT.sum(1).numpy()


def pick(rng: np.random.Generator, cdf: Floats) -> np.ndarray:
    """An index for each row of cumulative probabilities (..., R)."""
    picked: np.ndarray = (rng.random((*cdf.shape[:-1], 1)) > cdf).sum(-1).clip(max=cdf.shape[-1] - 1)
    return picked


def probed(seed: int, prompts: int, continuations: int, per_prompt: int = 3) -> Prefixes:
    """Prefixes of sampled completions of the enumerated world, its exact values as V, and sampled continuations."""
    rng = np.random.default_rng(seed)
    rows = len(EXACT_V) // PROMPTS
    first_N = np.repeat(rng.integers(PROMPTS, size=prompts) * rows, per_prompt)
    row_N = pick(rng, CDF[first_N, 0])
    t_N = (rng.random(len(row_N)) * LENGTHS[row_N]).astype(int)
    reward_NK = WORLD.rewards_B.numpy()[pick(rng, np.repeat(CDF[row_N, t_N][:, None], continuations, 1))]
    return Prefixes(
        prompt_N=np.arange(prompts).repeat(per_prompt),
        position_N=t_N / LENGTHS[row_N],
        mean_N=reward_NK.mean(1),
        variance_N=reward_NK.var(1, ddof=1) if continuations > 1 else None,
        rated_N=np.full(len(row_N), continuations),
        value_N=EXACT_V[row_N, t_N],
    )


def uncorrected(prefixes: Prefixes) -> Prefixes:
    assert prefixes.variance_N is not None
    return replace(prefixes, variance_N=0 * prefixes.variance_N)


TRUE_MEAN = float(probed(99, 20_000, 2).value_N.mean())  # type: ignore[union-attr]


def prefixes_of(value_N: list[float], mean_N: list[float], position_N: list[float] | None = None) -> Prefixes:
    """A prompt per prefix, four continuations without variance."""
    n = len(value_N)
    return Prefixes(
        prompt_N=np.arange(n),
        position_N=np.array(position_N or [0.0] * n),
        mean_N=np.array(mean_N),
        variance_N=np.zeros(n),
        rated_N=np.full(n, 4),
        value_N=np.array(value_N),
    )


def spread_of(prompt_N: np.ndarray, x_N: Floats) -> float | None:
    return variance(cluster_sums(prompt_N, np.ones(len(x_N)), x_N).sum(0))


def columns(prefixes: Prefixes) -> list[Any]:
    return [getattr(prefixes, name) for name in Prefixes.__dataclass_fields__]


def by_name(made: tuple[BaselineQuality, ...]) -> dict[str, BaselineQuality]:
    return {quality.name: quality for quality in made}

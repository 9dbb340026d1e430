"""How good a critic and every other baseline are on a frozen policy, against fresh continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ppo_vs_grpo.algorithms.shared import models
from ppo_vs_grpo.algorithms.shared.collecting import prefixes, whole
from ppo_vs_grpo.algorithms.shared.scoring import score
from ppo_vs_grpo.algorithms.shared.sequences import join, over_rows
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import Rollouts
from ppo_vs_grpo.benchmarks.probes.baselines import (
    BaselineQuality,
    BreakEven,
    Estimate,
    Floats,
    Ints,
    Prefixes,
    States,
    baseline_quality,
    break_even_group_size,
    jackknife,
    moments,
    spread,
    summarised,
    sums,
    variance,
)
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.splits import rng

BINS = 10
"""Deciles of the position, and bins of V."""

_CALLS = 16
"""Continuations are sampled in about so many calls, each from prefixes of a similar length."""

NO_CRITIC = "no critic: its error, its baselines and the break-even group size are left out"


@dataclass(frozen=True, slots=True)
class Decile:
    """The prefixes of a tenth of the positions, from `low` on: their count, MSE_c, EV and bias, mean(V - m)."""

    low: float
    n: int
    mse: Estimate
    explained_variance: Estimate
    bias: Estimate


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The prefixes of a tenth of the Vs: their count, mean V and mean m; None in a bin that ties left empty."""

    n: int
    value: float | None
    mean: float | None


@dataclass(frozen=True, slots=True)
class ValueQuality:
    """A critic against fresh continuations; errors in reward^2, bias in reward. Fields as in `value_quality`."""

    n: int
    prompts: int
    mse: Estimate
    mse_uncorrected: float
    explained_variance: Estimate
    bias: Estimate
    kendall_tau: Estimate
    deciles: tuple[Decile, ...]
    calibration: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ValueProbe:
    """What `measure` found: the raw numbers and what follows from them.

    `rewards_PG` are the rollouts' (NaN: missing). `completions` counts the rewards asked for, continuations included.
    `values` and `break_even` are None without a critic; `note` then says so.
    """

    rewards_PG: Floats
    prefixes: Prefixes
    completions: int
    values: ValueQuality | None
    baselines: tuple[BaselineQuality, ...]
    break_even: BreakEven | None
    note: str


def value_quality(prefixes: Prefixes) -> ValueQuality:
    """The critic's error with the continuations' noise taken off; every prefix weighs the same.

    MSE_c = mean((m - V)^2) - mean(s2 / K), unbiased for mean((v - V)^2) at any K >= 2, so a good critic's may come out
    slightly negative; it is reported as it is. EV = 1 - MSE_c / (Var(m) - mean(s2 / K)), None where the denominator is
    not above 0. Var is with ddof 1, the prompt being the unit (see `baselines.variance`): so the noise comes off
    exactly, and a constant at the true mean scores 0; ddof 0 would take off the noise of the mean too. At K = 1 the
    noise is unknown, and both are None. bias = mean(V - m). Kendall's tau-b between V and m is not corrected: noise
    in m pulls it towards 0. Errors are jackknifed over prompts.

    `deciles` cut the positions at 0.1, 0.2, ..., and each is judged within itself. `calibration` cuts V at its own
    deciles; equal Vs stay together.

    Explained variance against lambda-returns, 1 - Var(G - V) / Var(G), is not quality: those returns contain the
    critic's own bootstraps, and one that knows nothing scores 0.66 there at lam 0.95.

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
        mse_uncorrected=float(((prefixes.mean_N - value_N) ** 2).mean()),
        explained_variance=explained,
        bias=bias,
        kendall_tau=_kendall(value_N, prefixes.mean_N, prefixes.prompt_N),
        deciles=deciles,
        calibration=_calibration(value_N, prefixes.mean_N),
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
    parts_PC = np.concatenate([rest_P3, moments(unit_N, ones_N, mean_N)], 1)

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


def _calibration(value_N: Floats, mean_N: Floats) -> tuple[CalibrationBin, ...]:
    edges = np.quantile(value_N, np.arange(1, BINS) / BINS)
    bin_N = np.searchsorted(edges, value_N, side="right")

    def mean(x_N: Floats) -> float | None:
        return float(x_N.mean()) if len(x_N) else None

    in_bin = [bin_N == i for i in range(BINS)]
    return tuple(CalibrationBin(int(own_N.sum()), mean(value_N[own_N]), mean(mean_N[own_N])) for own_N in in_bin)


@torch.no_grad()
def measure(
    trainer: Trainer,
    problems: Sequence[Problem],
    group_size: int = 8,
    continuations: int = 8,
    prefixes: int = 3,
    seed: int = 0,
) -> ValueProbe:
    """Probe the policy as it is: `group_size` completions of every problem, then `continuations` fresh ones from some
    prefixes: every prompt once, and at `prefixes` places of each completion.

    The places are stratified over the completion's length, every token equally likely, the first included (its
    prefix is the prompt); equal places are measured once. Continuations go no further than the completion could have
    gone. A missing reward is left out; a prefix with fewer than two rewards is, too, where more were asked.

    The random numbers are the probe's own: fixed by task and `seed`, so the same for every arm, and training is left
    alone. The models are not changed. With a truncated sampler the truth is the sampler's, as in training.
    """
    asked, name = trainer.encode(list(problems)), trainer.task.name
    shape = (trainer.engine.max_new_tokens, len(asked.ids) * group_size)
    uniforms_TB = rng("probe-values", name, seed, "rollouts").random(shape, dtype="float32")
    rollouts = trainer.engine.generate(asked, group_size, uniforms_TB)
    rewards_B = score(rollouts, trainer.task, trainer.tokenizer).rewards_B.double().cpu().numpy()
    length_B = rollouts.mask_BT.sum(1).cpu().numpy()

    places = rng("probe-values", name, seed, "places").random((len(length_B), prefixes))
    place_BJ = ((np.arange(prefixes) + places) / max(prefixes, 1) * length_B[:, None]).astype(int)
    first_B = np.arange(len(length_B)) // group_size * group_size  # a prompt's row, for the prompt itself
    at_BJ2 = np.stack([np.where(place_BJ == 0, first_B[:, None], np.arange(len(length_B))[:, None]), place_BJ], 2)
    prompts_P2 = np.stack([np.arange(0, len(length_B), group_size), np.zeros(len(asked.ids), dtype=int)], 1)
    start_N2, index = np.unique(np.concatenate([prompts_P2, at_BJ2.reshape(-1, 2)]), axis=0, return_inverse=True)

    rewards_NK = _continue(trainer, rollouts, start_N2, continuations, seed)
    row_N, t_N = start_N2.T
    value_N = None if trainer.models.value_head is None else _values(trainer, rollouts)[row_N, t_N]
    measured = summarised(rewards_NK, value_N, row_N // group_size, t_N / length_B[row_N])
    prompt_P, along_M = np.split(index.ravel(), [len(asked.ids)])
    return _judged(rewards_B.reshape(-1, group_size), measured, len(rewards_B) + rewards_NK.size, prompt_P, along_M)


def _judged(rewards_PG: Floats, measured: Prefixes, completions: int, prompt_P: Ints, along_M: Ints) -> ValueProbe:
    """Judge the prefixes that have a mean; `prompt_P` and `along_M`, row by row, index them."""
    has_N = ~np.isnan(measured.mean_N)

    def states(index_M: Ints) -> States:
        row_M = np.arange(rewards_PG.size).repeat(len(index_M) // rewards_PG.size)
        return States(row_M[has_N[index_M]], measured.at(index_M[has_N[index_M]]))

    critic = measured.value_N is not None
    return ValueProbe(
        rewards_PG=rewards_PG,
        prefixes=measured.at(has_N),
        completions=completions,
        values=value_quality(measured.at(has_N)) if critic and has_N.any() else None,
        baselines=baseline_quality(
            rewards_PG, states(prompt_P.repeat(rewards_PG.shape[1])), states(along_M) if len(along_M) else None
        ),
        break_even=break_even_group_size(rewards_PG, measured.at(prompt_P)) if critic else None,
        note="" if critic else NO_CRITIC,
    )


def _values(trainer: Trainer, rollouts: Rollouts) -> Floats:
    """V before each token of each row: (B, T)."""
    sequences, budget = join(rollouts, trainer.engine.pad, trainer.models.packed), trainer.train.micro_batch_tokens
    values_BT = over_rows(sequences, budget, lambda packed: models.values(trainer.models, packed))
    return np.asarray(values_BT.double().cpu())


def _continue(trainer: Trainer, rollouts: Rollouts, start_N2: Ints, continuations: int, seed: int) -> Floats:
    """Rewards of fresh continuations from the prefix of `start_N2[:, 1]` tokens of row `start_N2[:, 0]`: (N, K).

    Prefixes of a similar length go together, sampled to the limit of the shortest; what a longer one has beyond its own
    limit is cut off, which leaves its distribution as it is.
    """
    limit, ids = rollouts.max_tokens, rollouts.prompts.ids
    width = -(-limit // _CALLS)
    positions = getattr(trainer.models.policy.config, "max_position_embeddings", None)
    if positions is not None and max(map(len, ids)) + limit + width - 1 > positions:
        width = 1  # no token beyond the model's last position
    rewards_NK = np.empty((len(start_N2), continuations))
    for call in np.unique(start_N2[:, 1] // width).tolist():
        of_call = (start_N2[:, 1] // width == call).nonzero()[0]
        starts = start_N2[of_call].tolist()
        asked, heads = prefixes(rollouts, starts)
        engine = replace(trainer.engine, max_new_tokens=limit - min(t for _, t in starts))
        stream = rng("probe-values", trainer.task.name, seed, "continuations", call)
        shape = (engine.max_new_tokens, len(starts) * continuations)
        continued = engine.generate(asked, continuations, stream.random(shape, dtype="float32"))
        scored = score(whole(continued, heads, limit, engine.pad), trainer.task, trainer.tokenizer)
        rewards_NK[of_call] = scored.rewards_B.double().cpu().numpy().reshape(-1, continuations)
    return rewards_NK

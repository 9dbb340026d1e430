"""True values: mean rewards of fresh completions from prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ppo_vs_grpo.algorithms.shared.collector import joined_to_heads, prefixes
from ppo_vs_grpo.algorithms.shared.networks import models
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, over_rows
from ppo_vs_grpo.algorithms.shared.scoring import score
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import Rollouts
from ppo_vs_grpo.benchmarks.probes.baselines import BaselineQuality, BreakEven, baseline_quality, break_even_group_size
from ppo_vs_grpo.benchmarks.probes.critic import ValueQuality, value_quality
from ppo_vs_grpo.benchmarks.probes.estimates import Floats, Ints
from ppo_vs_grpo.benchmarks.probes.prefixes import Prefixes, States, summarised
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.splits import rng

_CALLS = 16
"""Continuations are sampled in about 16 calls, each from prefixes of a similar length."""


@dataclass(frozen=True, slots=True, eq=False)
class Continued:
    """Rollouts, prefixes of them, and what fresh continuations from each prefix earned.

    `rewards_PG` are the rollouts' own (NaN: missing). `prompt_P` and `along_M` index `prefixes`: the prompts
    themselves, and the places of each row, row by row.
    """

    rewards_PG: Floats
    prefixes: Prefixes
    prompt_P: Ints
    along_M: Ints


@dataclass(frozen=True, slots=True)
class ValueProbe:
    """How good critic and baselines are; `values` and `break_even` are None without a critic."""

    values: ValueQuality | None
    baselines: tuple[BaselineQuality, ...]
    break_even: BreakEven | None


def measure(
    trainer: Trainer,
    problems: Sequence[Problem],
    group_size: int = 8,
    continuations: int = 8,
    prefixes: int = 3,
    seed: int = 0,
) -> ValueProbe:
    """Probe the policy as it is, against fresh continuations; see `continue_rollouts`."""
    return judged(continue_rollouts(trainer, problems, group_size, continuations, prefixes, seed))


@torch.no_grad()
def continue_rollouts(
    trainer: Trainer,
    problems: Sequence[Problem],
    group_size: int = 8,
    continuations: int = 8,
    prefixes: int = 3,
    seed: int = 0,
) -> Continued:
    """Sample `group_size` completions of every problem, then `continuations` fresh ones from some prefixes.

    The prefixes are every prompt, once, and `prefixes` places of each completion. Places are stratified over the
    completion's length, every token equally likely, the first included (its prefix is the prompt); equal places are
    measured once. Continuations go no further than the completion could have gone. A missing reward is left out, and
    so is a prefix with fewer than two rewards if more were asked for.

    The random numbers are the probe's own. Task and `seed` fix them, so all arms share them, and training is left
    alone. The models are not changed. With a truncated sampler the true value is the sampler's, as in training.
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
    return Continued(rewards_B.reshape(-1, group_size), measured, prompt_P, along_M)


def judged(found: Continued) -> ValueProbe:
    """Judge critic and baselines at the prefixes that have a mean reward."""
    rewards_PG, measured = found.rewards_PG, found.prefixes
    has_N = ~np.isnan(measured.mean_N)

    def states(index_M: Ints) -> States:
        row_M = np.arange(rewards_PG.size).repeat(len(index_M) // rewards_PG.size)
        return States(row_M[has_N[index_M]], measured.at(index_M[has_N[index_M]]))

    at_prompt = states(found.prompt_P.repeat(rewards_PG.shape[1]))
    along = states(found.along_M) if len(found.along_M) else None
    critic = measured.value_N is not None
    return ValueProbe(
        values=value_quality(measured.at(has_N)) if critic and has_N.any() else None,
        baselines=baseline_quality(rewards_PG, at_prompt, along),
        break_even=break_even_group_size(rewards_PG, measured.at(found.prompt_P)) if critic else None,
    )


def _values(trainer: Trainer, rollouts: Rollouts) -> Floats:
    """V before each token of each row: (B, T)."""
    sequences, budget = join(rollouts, trainer.engine.pad, trainer.models.packed), trainer.train.micro_batch_tokens
    values_BT = over_rows(sequences, budget, lambda packed: models.values(trainer.models, packed))
    return np.asarray(values_BT.double().cpu())


def _continue(trainer: Trainer, rollouts: Rollouts, start_N2: Ints, continuations: int, seed: int) -> Floats:
    """Rewards of fresh continuations from the prefix of `start_N2[:, 1]` tokens of row `start_N2[:, 0]`: (N, K).

    Prefixes of a similar length go together, sampled to the limit of the shortest. Tokens that a longer one has beyond
    its own limit are cut off, which does not change its distribution.
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
        longest = limit - min(t for _, t in starts)
        stream = rng("probe-values", trainer.task.name, seed, "continuations", call)
        uniforms_TB = stream.random((longest, len(starts) * continuations), dtype="float32")
        continued = trainer.engine.generate(asked, continuations, uniforms_TB, longest)
        scored = score(joined_to_heads(continued, heads, limit, trainer.engine.pad), trainer.task, trainer.tokenizer)
        rewards_NK[of_call] = scored.rewards_B.double().cpu().numpy().reshape(-1, continuations)
    return rewards_NK

"""Does the policy find better answers likelier? Rank agreement of log-probability and reward within prompt groups.

Equal completions of a prompt count once, since the policy gives them one log-probability. Counted as often as they were
sampled, they would make the number depend on the policy's entropy although no two answers changed places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, over_rows
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import ScoredRollouts
from ppo_vs_grpo.benchmarks.probes.estimates import Estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Means over prompt groups with their standard errors over groups.

    `tau` is Kendall's tau-b (Kendall 1945, Biometrika 33). `auc` is the probability that the better of two completions
    with different rewards has the higher log-probability; ties count half. `silent` of the `groups` are left out: their
    rewards, or their log-probabilities, are all equal.
    """

    tau: Estimate
    auc: Estimate
    groups: int
    silent: int


def rank_agreement(logp_N: Floats, rewards_N: Floats, group_N: NDArray[np.int64]) -> Agreement:
    """Agreement of two orders within every group of distinct completions."""
    ids = np.unique(group_N)
    found = [_of_pairs(logp_N[group_N == g], rewards_N[group_N == g]) for g in ids]
    told_S2 = np.array([pair for pair in found if pair is not None]).reshape(-1, 2)
    return Agreement(_mean(told_S2[:, 0]), _mean(told_S2[:, 1]), len(ids), len(ids) - len(told_S2))


def distinct(scored: ScoredRollouts) -> ScoredRollouts:
    """The first row of every distinct completion of a prompt. One cut at the limit differs from one that ended."""
    rollouts, first = scored.rollouts, dict[tuple[int, ...], int]()
    lengths_B = rollouts.mask_BT.sum(1).tolist()
    rows = zip(rollouts.group_B.tolist(), rollouts.completion_BT.tolist(), lengths_B, strict=True)
    for at, (group, tokens, length) in enumerate(rows):
        first.setdefault((group, *tokens[:length]), at)
    return scored.rows(rollouts.group_B.new_tensor(list(first.values())))


def rankings(trainer: Trainer, sets: dict[str, ScoredRollouts]) -> Iterator[tuple[str, str, Estimate]]:
    """Subject, quantity and estimate of the current policy's ranking of each set of completions.

    The log-probability is that of the whole completion at the training temperature. `tau_per_token` and
    `auc_per_token` use its mean over tokens, which does not favour short ones. A set without rows has no numbers.
    """
    for subject, given in sets.items():
        if len(given.rewards_B) == 0:
            continue
        scored = distinct(given)
        logp_B, tokens_B = log_probabilities(trainer, scored), scored.rollouts.mask_BT.sum(1)
        rewards_N, group_N = (x.cpu().numpy() for x in (scored.rewards_B.double(), scored.rollouts.group_B))
        whole, each = (
            rank_agreement(x.double().cpu().numpy(), rewards_N, group_N) for x in (logp_B, logp_B / tokens_B)
        )
        yield subject, "tau", whole.tau
        yield subject, "auc", whole.auc
        yield subject, "groups", Estimate(whole.groups, None)
        yield subject, "silent", Estimate(whole.silent, None)
        yield subject, "tau_per_token", each.tau
        yield subject, "auc_per_token", each.auc


def log_probabilities(trainer: Trainer, scored: ScoredRollouts) -> Tensor:
    """Log-probability of every completion under the current policy, whichever policy sampled it: (B,)."""
    sequences = join(scored.rollouts, trainer.engine.pad, trainer.models.packed)
    policy, temperature = trainer.models.policy, trainer.train.temperature
    logp_BT = over_rows(sequences, trainer.train.micro_batch_tokens, lambda packed: logp(policy, packed, temperature))
    return logp_BT.sum(1)


def _of_pairs(logp_n: Floats, rewards_n: Floats) -> tuple[float, float] | None:
    """Tau-b and AUC of one group; None if all rewards or all log-probabilities are equal."""
    likelier_nn, better_nn = (np.sign(x[:, None] - x) for x in (logp_n, rewards_n))
    agreeing, told, rated = (likelier_nn * better_nn).sum(), np.abs(likelier_nn).sum(), np.abs(better_nn).sum()
    if told == 0 or rated == 0:
        return None
    return float(agreeing / np.sqrt(told * rated)), float((1 + agreeing / rated) / 2)


def _mean(values_S: Floats) -> Estimate:
    n = len(values_S)
    return Estimate(float(values_S.mean()) if n else None, float(values_S.std(ddof=1) / np.sqrt(n)) if n > 1 else None)

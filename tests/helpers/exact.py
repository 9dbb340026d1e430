"""The enumerated world that the exact tests share, its exact moments, and how to compare gradients in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ppo_vs_grpo.benchmarks.theory.enumeration import LENGTH, PROMPTS, Enumeration, Policy, enumerate_all

WORLD = enumerate_all(seed=3)
EXACT = 1e-10


def relative_error(a_D: Tensor, b_D: Tensor) -> float:
    return float((a_D - b_D).norm() / b_D.norm())


def factor(mean_D: Tensor) -> float:
    """How much of the true gradient a mean holds; it must hold nothing else."""
    true_D = WORLD.gradient_D()
    share = float(mean_D @ true_D / (true_D @ true_D))
    assert relative_error(mean_D, share * true_D) < EXACT
    return share


NEAR_D = WORLD.policy.theta_D + 0.05 * Policy.random(seed=8).theta_D
"""A policy a few updates away from the one that sampled."""


def gradient_at(theta_D: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Expected gradient over samples of the world's policy of a loss (B, T) of the log-probabilities under theta."""
    weight_B1 = WORLD.probability_B[:, None] / PROMPTS

    def descend(theta: Tensor) -> Tensor:
        return (loss(WORLD.logp_BT(Policy(theta))) * WORLD.mask_BT * weight_B1).sum()

    gradient_D: Tensor = torch.func.grad(descend)(theta_D)
    return gradient_D


@dataclass(frozen=True, slots=True)
class Moments:
    """Exact mean (D,) and total variance tr(Cov) of a gradient estimate from one group of completions of one prompt."""

    mean_D: Tensor
    variance: float


def group_moments(
    world: Enumeration, group_size: int, advantages: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Moments:
    """Moments of 1/G sum_i sum_t A_it grad logp_it over all groups, the prompt drawn uniformly.

    `advantages(rewards_N, group_N, row_N)` sees every possible group at once: rewards, the group's id, and which of the
    enumerated rows each is; it returns (N,) or (N, T).
    """
    rows_per_prompt = len(world.prompt_B) // PROMPTS
    one_prompt = torch.cartesian_prod(*[torch.arange(rows_per_prompt)] * group_size).view(-1, group_size)
    rows_KG = torch.cat([one_prompt + p * rows_per_prompt for p in range(PROMPTS)])
    weight_K = world.probability_B[rows_KG].prod(1) / PROMPTS
    row_N = rows_KG.flatten()
    group_N = torch.arange(len(rows_KG)).repeat_interleave(group_size)
    advantages_N = advantages(world.rewards_B[row_N], group_N, row_N)
    advantages_NT = advantages_N if advantages_N.dim() == 2 else advantages_N[:, None].expand(-1, LENGTH)
    per_row_ND = torch.einsum("nt,ntd->nd", advantages_NT, world.scores_BTD()[row_N])
    estimate_KD = per_row_ND.view(len(rows_KG), group_size, -1).mean(1)
    mean_D = (weight_K[:, None] * estimate_KD).sum(0)
    variance = float((weight_K[:, None] * (estimate_KD - mean_D) ** 2).sum())
    return Moments(mean_D, variance)

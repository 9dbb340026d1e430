"""The enumerated world that the exact tests share, and how to compare gradients in it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ppo_vs_grpo.benchmarks.theory.enumeration import PROMPTS, Policy, enumerate_all

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

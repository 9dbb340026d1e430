"""Policy and value losses per token, KL estimators, and the ways to add tokens up. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from ppo_vs_grpo.algorithms.shared.types import Denominators


def clipped(logp_BT: Tensor, logp_old_BT: Tensor, advantages_BT: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """PPO's clipped surrogate, negated to be descended (arXiv 1707.06347, eq. 7): (B, T)."""
    ratio_BT = (logp_BT - logp_old_BT).exp()
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio_BT * advantages_BT, clipped_BT * advantages_BT)


def squared_value_error(values_BT: Tensor, values_old_BT: Tensor, returns_BT: Tensor, clip: float | None) -> Tensor:
    """0.5 * max((V - ret)^2, (V clipped to V_old +- clip - ret)^2); the plain square with clip None: (B, T)."""
    error_BT = (values_BT - returns_BT) ** 2
    if clip is not None:
        near_BT = values_old_BT + (values_BT - values_old_BT).clamp(-clip, clip)
        error_BT = torch.maximum(error_BT, (near_BT - returns_BT) ** 2)
    return 0.5 * error_BT


def k1(logp_BT: Tensor, reference_logp_BT: Tensor) -> Tensor:
    """log pi - log pi_ref, the unbiased estimate of KL(pi || pi_ref) for the reward: (B, T)."""
    return logp_BT - reference_logp_BT


def k3(logp_BT: Tensor, reference_logp_BT: Tensor) -> Tensor:
    """exp(-k1) - 1 + k1, never negative (arXiv 2402.03300, eq. 4): (B, T).

    As a loss on samples of pi its expected gradient is that of the forward KL(pi_ref || pi).
    """
    log_ratio_BT = logp_BT - reference_logp_BT
    return torch.exp(-log_ratio_BT) - 1 + log_ratio_BT


def token_mean(loss_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Every token of the optimizer step weighs the same (PPO): scalar."""
    return (loss_BT * mask_BT).sum() / denominators.tokens


def sequence_mean(loss_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Every completion of the optimizer step weighs the same, its tokens share its weight (GRPO): scalar."""
    lengths_B = mask_BT.sum(1).clamp(min=1)
    return ((loss_BT * mask_BT).sum(1) / lengths_B).sum() / denominators.rows

"""Advantages: how rewards become a learning signal. Pure functions, float64 inside."""

from __future__ import annotations

import torch
from torch import Tensor


def terminal(rewards_B: Tensor, mask_BT: Tensor) -> Tensor:
    """Put each row's reward on its last sampled token: (B,), (B, T) -> (B, T), 0 elsewhere."""
    last_BT = mask_BT & (mask_BT.flip(1).cumsum(1).flip(1) == 1)
    return rewards_B[:, None] * last_BT


def gae(rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv 1506.02438, eq. 16): advantages and returns, both (B, T).

    d_t = r_t + gamma * V_{t+1} - V_t and A_t = d_t + gamma * lam * A_{t+1}; returns are A + V.
    V after the last token is 0, for a row cut at the length limit too. Tokens outside the mask are
    skipped: V and A are carried over them, and they get 0.
    """
    rewards, values = rewards_BT.double(), values_BT.double()
    next_value_B = torch.zeros_like(values[:, 0])
    next_advantage_B = torch.zeros_like(next_value_B)
    advantages = torch.zeros_like(values)
    for t in range(values.shape[1] - 1, -1, -1):
        delta_B = rewards[:, t] + gamma * next_value_B - values[:, t]
        advantage_B = delta_B + gamma * lam * next_advantage_B
        advantages[:, t] = torch.where(mask_BT[:, t], advantage_B, 0.0)
        next_value_B = torch.where(mask_BT[:, t], values[:, t], next_value_B)
        next_advantage_B = torch.where(mask_BT[:, t], advantage_B, next_advantage_B)
    returns = torch.where(mask_BT, advantages + values, 0.0)
    return advantages.to(values_BT.dtype), returns.to(values_BT.dtype)


def whiten(advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Shift and scale to mean 0 and (unbiased) variance 1 over the masked tokens of the whole batch: (B, T)."""
    kept_N = advantages_BT[mask_BT].double()
    if kept_N.numel() < 2:
        return torch.zeros_like(advantages_BT)
    white = (advantages_BT.double() - kept_N.mean()) * torch.rsqrt(kept_N.var() + 1e-8)
    return torch.where(mask_BT, white, 0.0).to(advantages_BT.dtype)


def group_relative(rewards_B: Tensor, group_B: Tensor, ddof: int = 1, eps: float = 1e-4) -> Tensor:
    """(R - mean_g) / (std_g + eps) within each group (arXiv 2402.03300, section 4.1.2): (B,).

    Groups are ids, in any order. A constant group gives exactly 0, and so does a row whose reward is
    missing (NaN), which is also left out of its group's statistics. Groups of one each raise ValueError.
    """
    has_B = ~rewards_B.isnan()
    rewards = rewards_B.double().nan_to_num(0.0)
    groups = int(group_B.max()) + 1
    if int(torch.bincount(group_B).max()) == 1:
        raise ValueError("one completion has nothing to be relative to: group size must be at least 2")

    def total(x_B: Tensor) -> Tensor:
        return torch.zeros(groups, dtype=torch.float64, device=x_B.device).index_add(0, group_B, x_B)

    rated_g = total(has_B.double())
    centered = torch.where(has_B, rewards - (total(rewards) / rated_g.clamp(min=1))[group_B], 0.0)
    std_g = (total(centered**2) / (rated_g - ddof).clamp(min=1)).sqrt()
    bounds = torch.zeros(groups, dtype=torch.float64, device=rewards.device)
    low_g = bounds.scatter_reduce(0, group_B, torch.where(has_B, rewards, torch.inf), "amin", include_self=False)
    high_g = bounds.scatter_reduce(0, group_B, torch.where(has_B, rewards, -torch.inf), "amax", include_self=False)
    varies_B = (high_g > low_g)[group_B] & has_B
    return torch.where(varies_B, centered / (std_g[group_B] + eps), 0.0).to(rewards_B.dtype)

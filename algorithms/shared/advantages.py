"""Advantages: how rewards become a learning signal. Pure functions, float64 inside."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Scale = Literal["group", "batch", "none"]
"""The divisor of a centred reward."""


def terminal(rewards_B: Tensor, mask_BT: Tensor) -> Tensor:
    """Put each row's reward on its last sampled token: (B,), (B, T) -> (B, T), 0 elsewhere."""
    last_BT = mask_BT & (mask_BT.flip(1).cumsum(1).flip(1) == 1)
    return rewards_B[:, None] * last_BT


def gae(
    rewards_BT: Tensor,
    values_BT: Tensor,
    mask_BT: Tensor,
    gamma: float,
    lam: float | Tensor,
    bootstrap_B: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv 1506.02438, eq. 16): advantages and returns, both (B, T).

    d_t = r_t + gamma * V_{t+1} - V_t and A_t = d_t + gamma * lam * A_{t+1}; returns are A + V. `lam` is a number or one
    a row, (B,). At 1, returns are Monte Carlo returns: V cancels, but for `bootstrap_B`.
    V after the last token is `bootstrap_B`. It is 0 by default, even for a row cut at the length limit.
    Tokens outside the mask get 0; V and A pass over them unchanged.
    """
    rewards, values = rewards_BT.double(), values_BT.double()
    next_value_B = torch.zeros_like(values[:, 0]) if bootstrap_B is None else bootstrap_B.double()
    next_advantage_B = torch.zeros_like(next_value_B)
    advantages = torch.empty_like(values)
    for t in range(values.shape[1] - 1, -1, -1):
        delta_B = rewards[:, t] + gamma * next_value_B - values[:, t]
        advantage_B = delta_B + gamma * lam * next_advantage_B
        advantages[:, t] = torch.where(mask_BT[:, t], advantage_B, 0.0)
        next_value_B = torch.where(mask_BT[:, t], values[:, t], next_value_B)
        next_advantage_B = torch.where(mask_BT[:, t], advantage_B, next_advantage_B)
    returns = torch.where(mask_BT, advantages + values, 0.0)
    return advantages.to(values_BT.dtype), returns.to(values_BT.dtype)


def length_lambda(mask_BT: Tensor, alpha: float) -> Tensor:
    """A lambda for each row that grows with its n tokens, 1 - 1 / (alpha * n) (VAPO, arXiv 2504.05118, length-adaptive
    GAE): (B,) float64.

    The weights of a row's temporal-difference errors, 1 / (1 - lambda) in all, then add up to alpha * n. A row of at
    most 1 / alpha tokens has lambda 0, where the formula would be negative.
    """
    return (1 - 1 / (alpha * mask_BT.sum(1).double().clamp(min=1))).clamp(min=0)


def whiten(advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Shift and scale to mean 0 and (unbiased) variance 1 over the masked tokens of the whole batch: (B, T)."""
    kept_N = advantages_BT[mask_BT].double()
    if kept_N.numel() < 2:
        return torch.zeros_like(advantages_BT)
    white = (advantages_BT.double() - kept_N.mean()) * torch.rsqrt(kept_N.var() + 1e-8)
    return torch.where(mask_BT, white, 0.0).to(advantages_BT.dtype)


def penalised(rewards_BT: Tensor, kl_BT: Tensor, beta: float, mask_BT: Tensor) -> Tensor:
    """Each token's reward minus beta times its KL to the reference: (B, T), 0 outside the mask.

    Applied before advantages are formed. Per token as in arXiv 2402.03300, eq. 2; arXiv 2203.02155, eq. 2, has it per
    completion.
    """
    return (rewards_BT - beta * kl_BT) * mask_BT


def reward_to_go(rewards_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The sum of a row's rewards from each token on, without a baseline: (B, T), 0 outside the mask."""
    rewards = torch.where(mask_BT, rewards_BT.double(), 0.0)
    return torch.where(mask_BT, rewards.flip(1).cumsum(1).flip(1), 0.0).to(rewards_BT.dtype)


def step_difference(rewards_B: Tensor, values_BT: Tensor, mask_BT: Tensor, step_tokens: int) -> Tensor:
    """V at the end of a token's step minus V at its beginning (VinePPO, arXiv 2410.01679, section 4): (B, T).

    Steps of `step_tokens` tokens start at a row's first token. The tokens of a step share its advantage. `values_BT`
    is read at the first token of each step. After the last step V is the row's reward.
    """
    values_BK = torch.where(mask_BT, values_BT, rewards_B[:, None])[:, ::step_tokens]
    after_BK = torch.cat([values_BK[:, 1:], rewards_B[:, None]], 1)
    step_T = torch.arange(mask_BT.shape[1], device=mask_BT.device) // step_tokens
    return torch.where(mask_BT, (after_BK - values_BK)[:, step_T], 0.0)


def unit_spread(advantages_BT: Tensor, mask_BT: Tensor, eps: float) -> Tensor:
    """Divide by the (unbiased) standard deviation over the masked tokens of the batch, without a shift: (B, T)."""
    kept_N = advantages_BT[mask_BT].double()
    if kept_N.numel() < 2:
        return torch.zeros_like(advantages_BT)
    return torch.where(mask_BT, advantages_BT.double() / (kept_N.std() + eps), 0.0).to(advantages_BT.dtype)


def overlong_punishment(tokens_B: Tensor, ended_B: Tensor, limit_tokens: int, buffer_tokens: int) -> Tensor:
    """The penalty for a completion's length (DAPO, arXiv 2503.14476, eq. 13): (B,), from 0 down to -1.

    It is 0 up to limit - buffer, then falls linearly to -1 at the limit. A completion that was cut at the limit gets
    -1, since its true length is beyond it.
    """
    over_B = (tokens_B - (limit_tokens - buffer_tokens)).clamp(min=0) / max(1, buffer_tokens)
    return torch.where(ended_B, -over_B, -1.0)


def group_relative(
    rewards_B: Tensor, group_B: Tensor, ddof: int = 1, eps: float = 1e-4, scale: Scale = "group"
) -> Tensor:
    """(R - mean_g) / (std_g + eps) within each group (arXiv 2402.03300, section 4.1.2): (B,).

    `scale` "batch" divides by the rewards' standard deviation over the whole batch (arXiv 2508.08221); "none" does not
    divide. Groups are ids in any order. A constant group gives exactly 0. A missing reward (NaN) gives 0 and is left
    out of its group's statistics. Raises ValueError if every group has one row.
    """
    if scale == "none":
        return group_centered(rewards_B, group_B)
    _refuse_groups_of_one(group_B)
    centered_B, rated_g = _center(rewards_B, group_B)
    if scale == "batch":
        std_B = _batch_std(rewards_B, ddof)
    else:
        std_B = (_total(centered_B**2, group_B) / (rated_g - ddof)).sqrt()[group_B]
    return _over(centered_B, std_B + eps).to(rewards_B.dtype)


def group_mean(rewards_B: Tensor, group_B: Tensor) -> Tensor:
    """The mean of a row's group, the row itself included: (B,). No reward may be missing; groups of one raise."""
    _refuse_groups_of_one(group_B)
    rewards = rewards_B.double()
    mean_g = _total(rewards, group_B) / _total(torch.ones_like(rewards), group_B)
    return mean_g[group_B].to(rewards_B.dtype)


def group_centered(rewards_B: Tensor, group_B: Tensor) -> Tensor:
    """R - mean_g, the row itself included in the mean (Dr. GRPO, arXiv 2503.20783, section 3.2): (B,).

    Its expected gradient is exactly 1 - 1/G times that of `leave_one_out`. Constant groups, missing rewards and groups
    of one are treated as in `group_relative`.
    """
    _refuse_groups_of_one(group_B)
    return _center(rewards_B, group_B)[0].to(rewards_B.dtype)


def leave_one_out(rewards_B: Tensor, group_B: Tensor) -> Tensor:
    """R - mean of the other rows of the group (RLOO, arXiv 2402.14740): (B,). Unbiased.

    A row gets 0 if no sibling has a reward. Constant groups, missing rewards and groups of one are treated as in
    `group_relative`.
    """
    _refuse_groups_of_one(group_B)
    centered_B, rated_g = _center(rewards_B, group_B)
    return (centered_B * (rated_g / (rated_g - 1).clamp(min=1))[group_B]).to(rewards_B.dtype)


def _one_group(rewards_B: Tensor) -> Tensor:
    return torch.zeros(len(rewards_B), dtype=torch.long, device=rewards_B.device)


def _batch_std(rewards_B: Tensor, ddof: int) -> Tensor:
    """Standard deviation of the batch's rewards, missing ones left out: a float64 scalar."""
    centered_B, rated_g = _center(rewards_B, _one_group(rewards_B))
    return ((centered_B**2).sum() / (rated_g[0] - ddof)).sqrt()


def _over(centered_B: Tensor, spread_B: Tensor) -> Tensor:
    """Divide; an exact 0 stays 0 even if the spread is 0 or NaN."""
    return torch.where(centered_B == 0, 0.0, centered_B / spread_B)


def _refuse_groups_of_one(group_B: Tensor) -> None:
    if int(torch.bincount(group_B).max()) == 1:
        raise ValueError("one completion has nothing to be relative to: group size must be at least 2")


def _total(x_B: Tensor, group_B: Tensor) -> Tensor:
    zeros_g = torch.zeros(int(group_B.max()) + 1, dtype=torch.float64, device=x_B.device)
    return zeros_g.index_add(0, group_B, x_B)


def _center(rewards_B: Tensor, group_B: Tensor) -> tuple[Tensor, Tensor]:
    """R - mean_g in float64, and the number of rows with a reward in each group.

    Exactly 0 for a missing reward and in a constant group, where a difference would leave rounding noise.
    """
    has_B = ~rewards_B.isnan()
    rewards = rewards_B.double().nan_to_num(0.0)
    rated_g = _total(has_B.double(), group_B)
    mean_g = _total(rewards, group_B) / rated_g
    bounds_g = torch.empty_like(mean_g)
    low_g = bounds_g.scatter_reduce(0, group_B, torch.where(has_B, rewards, torch.inf), "amin", include_self=False)
    high_g = bounds_g.scatter_reduce(0, group_B, torch.where(has_B, rewards, -torch.inf), "amax", include_self=False)
    varies_B = (high_g > low_g)[group_B] & has_B
    return torch.where(varies_B, rewards - mean_g[group_B], 0.0), rated_g

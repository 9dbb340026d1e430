"""Metrics of an update's rollouts and of its critic, by name."""

from __future__ import annotations

from torch import Tensor

from ppo_vs_grpo.algorithms.shared.types import ScoredRollouts


def sampled_metrics(scored: ScoredRollouts) -> dict[str, float | None]:
    """Metrics of a rated rollout batch, whatever the algorithm. A part is a mean over the rows that have it."""
    rewards_B, rollouts = scored.rewards_B, scored.rollouts
    within_std, silent = group_spread(rewards_B, rollouts.group_B)
    return {
        "reward_mean": float(rewards_B.mean()),
        "reward_std": float(rewards_B.std(correction=0)),
        "pass_rate": float(scored.passed_B.float().mean()),
        "reward_std_within_group": within_std,
        "silent_group_fraction": silent,
        "completion_tokens_mean": float(rollouts.mask_BT.sum(1).float().mean()),
        "ended_fraction": float(rollouts.ended_B.float().mean()),
        **{f"reward_{name}": float(part_B.nanmean()) for name, part_B in scored.parts.items()},
    }


def group_spread(rewards_B: Tensor, group_B: Tensor) -> tuple[float | None, float | None]:
    """The reward's standard deviation within groups, averaged, and the share of groups with equal rewards.

    Both are None if no group has two rows.
    """
    groups = [rows for g in group_B.unique() if len(rows := rewards_B[group_B == g]) > 1]
    if not groups:
        return None, None
    stds = [float(r.std(correction=0)) for r in groups]
    return sum(stds) / len(stds), sum(float(r.min()) == float(r.max()) for r in groups) / len(groups)


def explained_variance(values_BT: Tensor | None, returns_BT: Tensor | None, mask_BT: Tensor) -> float | None:
    """1 - Var(returns - V) / Var(returns) over the batch's tokens.

    Against Monte Carlo returns it says how much V knows. Against the lambda-returns that the critic is fitted to, which
    contain V, it helps to watch training and is no measure of quality: a critic that knows nothing may be far above 0.
    None without a critic or with constant returns.
    """
    if values_BT is None or returns_BT is None:
        return None
    returns_N, error_N = returns_BT[mask_BT], (returns_BT - values_BT)[mask_BT]
    variance = float(returns_N.var(correction=0))
    return None if variance == 0 else 1 - float(error_N.var(correction=0)) / variance

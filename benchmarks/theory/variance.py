"""The exact variance of the policy gradient by baseline, lambda and group size, on random enumerated worlds.

Nothing is sampled: means and variances are sums over every completion of `enumeration`'s token MDP. The figure `theory`
draws `variance.csv`, which `python -m ppo_vs_grpo.benchmarks.theory.variance` writes. docs/method.md explains it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ppo_vs_grpo.algorithms.shared import advantages as adv
from ppo_vs_grpo.benchmarks.theory.enumeration import LENGTH, PROMPTS, Enumeration, enumerate_all

WORLDS = range(10)
LAMBDAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
SIZES = (2, 3, 4, 8, 16, 32, 64)
ENUMERATED_SIZES = (2, 3)
"""Sizes at which every group is written down. An advantage divided by the group's spread has no shorter sum."""
ERRORS = {"value_error_half": 0.5, "value_error_one": 1.0}
"""Standard deviation of V's error at each prefix, divided by that of a reward given its prompt (both as RMS)."""
FILE = Path(__file__).with_name("variance.csv")
DECIMALS = 9


def variance_table() -> pd.DataFrame:
    """One row per panel (lambda, size), baseline, x and world: within, between and bias of `parts`.

    Variances are per completion (G times a group's), relative to that of one completion without a baseline. The bias
    is relative to |grad J|^2. `value_error_*` are means over errors of V that are independent between prefixes.
    """
    rows = [row for seed in WORLDS for row in rows_of(seed, enumerate_all(seed))]
    return pd.DataFrame(rows, columns=["panel", "baseline", "x", "world", "within", "between", "bias"])


def rows_of(seed: int, world: Enumeration) -> list[tuple[str, str, float, int, float, float, float]]:
    """One world's rows of `variance_table`."""
    critics = {lam: by_critic(world, lam) for lam in LAMBDAS}
    unit = critics[1.0]["none"][:2].sum()
    scale_3 = torch.stack([unit, unit, world.gradient_D().square().sum()])
    found = [("lambda", name, lam, parts_3) for lam in LAMBDAS for name, parts_3 in critics[lam].items()]
    for size in SIZES:
        repeated_3 = torch.tensor([1.0, size, 1.0], dtype=torch.float64)
        groups = {name: parts_3 * repeated_3 for name, parts_3 in critics[1.0].items()}
        groups["leave_one_out"] = leave_one_out(world, size)
        if size in ENUMERATED_SIZES:
            groups["group_relative"] = group_relative(world, size)
        found += [("size", name, float(size), parts_3) for name, parts_3 in groups.items()]
    return [(panel, name, x, seed, *(parts_3 / scale_3).tolist()) for panel, name, x, parts_3 in found]


def parts(weight_PK: Tensor, estimate_PKD: Tensor, target_D: Tensor | float) -> Tensor:
    """Variance and bias of a gradient estimate with K values per prompt, whose weights sum to 1: (..., 3).

    They are its variance given the prompt, the variance of its mean over prompts, and |mean - target|^2, summed over
    parameters. The first two add up to tr Cov. Prompts have the same weight. Axes before P are batches.
    """
    mean_PD = (weight_PK[..., None] * estimate_PKD).sum(-2)
    mean_D = mean_PD.mean(-2)
    within_P = (weight_PK * (estimate_PKD - mean_PD[..., None, :]).square().sum(-1)).sum(-1)
    between_P = (mean_PD - mean_D[..., None, :]).square().sum(-1)
    return torch.stack([within_P.mean(-1), between_P.mean(-1), (mean_D - target_D).square().sum(-1)], -1)


def by_critic(world: Enumeration, lam: float) -> dict[str, Tensor]:
    """`parts` of one completion's estimate under GAE(lambda) with gamma 1, for each kind of V."""
    weight_PR, gradient_D, values_BT = by_prompt(world.probability_B), world.gradient_D(), world.values_BT()
    critics = {"none": 0 * values_BT, "value_prompt": values_BT[:, :1] * world.mask_BT, "value": values_BT}
    estimate_KPRD = with_values(world, world.rewards_B, torch.stack(list(critics.values())), lam)
    found = dict(zip(critics, parts(weight_PR, estimate_KPRD, gradient_D), strict=True))
    # The estimate is linear in V, so independent errors add their own moments, prefix by prefix.
    alone_KPRD = with_values(world, 0 * world.rewards_B, prefixes_KBT(world), lam)
    per_variance_3 = parts(weight_PR, alone_KPRD, 0.0).sum(0)
    for name, share in ERRORS.items():
        found[name] = found["value"] + share**2 * reward_variance(world) * per_variance_3
    return found


def with_values(world: Enumeration, rewards_B: Tensor, values_KBT: Tensor, lam: float) -> Tensor:
    """sum_t A_t grad logp_t of every completion, for each of K critics: (K, P, R, D)."""
    critics = len(values_KBT)
    mask_NT, rewards_N = world.mask_BT.repeat(critics, 1), rewards_B.repeat(critics)
    advantages_NT, _ = adv.gae(adv.terminal(rewards_N, mask_NT), values_KBT.flatten(0, 1), mask_NT, 1.0, lam)
    estimate_KBD = torch.einsum("kbt,btd->kbd", advantages_NT.view_as(values_KBT), world.scores_BTD())
    estimate_KPRD: Tensor = estimate_KBD.unflatten(1, (PROMPTS, -1))
    return estimate_KPRD


def prefixes_KBT(world: Enumeration) -> Tensor:
    """For each prefix from which a token is sampled, a V that is 1 there and 0 elsewhere: (K, B, T)."""
    found = []
    for t in range(LENGTH):
        prefix_BT = torch.cat([world.prompt_B[:, None], world.completion_BT[:, :t]], 1)
        for prefix_T in prefix_BT[world.mask_BT[:, t]].unique(dim=0):
            here_BT = torch.zeros(world.mask_BT.shape, dtype=torch.float64)
            here_BT[:, t] = (prefix_BT == prefix_T).all(1)
            found.append(here_BT)
    return torch.stack(found)


def reward_variance(world: Enumeration) -> float:
    """Variance of a completion's reward given its prompt, averaged over prompts."""
    reward_B = world.rewards_B[:, None]
    return float(parts(by_prompt(world.probability_B), by_prompt(reward_B), 0.0)[0])


def leave_one_out(world: Enumeration, size: int) -> Tensor:
    """`parts`, per completion, of a group's mean of (R - mean of the others) grad logp.

    It is the U-statistic of h(i, j) = (R_i - R_j)(s_i - s_j) / 2, s = grad logp. So its variance given the prompt is
    2 / (G (G - 1)) (2 (G - 2) zeta_1 + zeta_2), with zeta_2 = Var h(i, j) and zeta_1 = Var E[h(i, j) | i] (Hoeffding
    1948, section 5). The mean that includes the row itself gives (G - 1) / G times the same estimate in every group.
    """
    weight_PR, reward_PR = by_prompt(world.probability_B), by_prompt(world.rewards_B)
    score_PRD = by_prompt(world.scores_BTD().sum(1))
    difference_PRR = reward_PR[:, :, None] - reward_PR[:, None, :]
    kernel_PRRD = difference_PRR[..., None] * (score_PRD[:, :, None] - score_PRD[:, None, :]) / 2
    given_one_PRD = (weight_PR[:, None, :, None] * kernel_PRRD).sum(2)
    one_3 = parts(weight_PR, given_one_PRD, world.gradient_D())
    pair_PK = (weight_PR[:, :, None] * weight_PR[:, None, :]).flatten(1)
    two_3 = parts(pair_PK, kernel_PRRD.flatten(1, 2), world.gradient_D())
    within = 2 / (size - 1) * (2 * (size - 2) * one_3[0] + two_3[0])
    return torch.stack([within, size * two_3[1], two_3[2]])


def group_relative(world: Enumeration, size: int) -> Tensor:
    """`parts`, per completion, of a group's mean of (R - mean) / (std + eps) grad logp, scaled to the length of grad J.

    A common factor of all advantages acts like a learning rate, so the bias here is that of the mean's direction.
    """
    rows = len(world.prompt_B) // PROMPTS
    rows_KG = torch.cartesian_prod(*[torch.arange(rows)] * size)
    weight_PK = by_prompt(world.probability_B)[:, rows_KG].prod(-1)
    rewards_PKG = by_prompt(world.rewards_B)[:, rows_KG]
    group_N = torch.arange(PROMPTS * len(rows_KG)).repeat_interleave(size)
    advantages_PKG = adv.group_relative(rewards_PKG.flatten(), group_N).view_as(rewards_PKG)
    score_PKGD = by_prompt(world.scores_BTD().sum(1))[:, rows_KG]
    estimate_PKD = (advantages_PKG[..., None] * score_PKGD).mean(2)
    gradient_D = world.gradient_D()
    length = (weight_PK[..., None] * estimate_PKD).sum(1).mean(0).norm()
    return parts(weight_PK, estimate_PKD * gradient_D.norm() / length, gradient_D) * torch.tensor([size, size, 1])


def by_prompt(rows_B: Tensor) -> Tensor:
    """(B, ...) -> (P, R, ...): the completions of each prompt."""
    rows_PR: Tensor = rows_B.unflatten(0, (PROMPTS, -1))
    return rows_PR


if __name__ == "__main__":
    variance_table().round(DECIMALS).to_csv(FILE, index=False)

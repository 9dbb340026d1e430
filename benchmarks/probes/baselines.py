"""The share of the reward's variance that each baseline leaves, and the group size that matches a value head.

Pure numpy, float64. Axes: P prompts, G completions of a prompt, M states (a prefix of a completion that a baseline may
read), C columns of sums. The independent unit of every standard error is the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ppo_vs_grpo.benchmarks.probes.estimates import (
    ROUNDING,
    Estimate,
    Floats,
    Ints,
    cluster_sums,
    jackknife,
    sums,
    variance,
)
from ppo_vs_grpo.benchmarks.probes.prefixes import Prefixes, States


@dataclass(frozen=True, slots=True)
class BaselineQuality:
    """The share of the reward's variance that a baseline b leaves: 1 without a baseline, 0 for a perfect guess.

    `plain` is Var(R - b) / Var(R) as computed in training. `comparable` is the same without the row's own reward in its
    baseline; it equals `plain` for baselines that never contain it. `square` is mean((R - b)^2) / Var(R), comparable
    in the same way: the gradient's noise grows with the second moment, which also counts a constant offset.
    """

    name: str
    plain: Estimate
    comparable: Estimate
    square: Estimate


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The smallest group size whose leave-one-out mean is nearer to the prompt's true value than the value head is.

    `group_size` is None if there is none; `note` says why. `low` and `high` bound it at 95%. A `low` with `high` None
    excludes no large group size. `within_variance` is the reward's variance within a prompt, `value_mse` the head's
    noise-corrected squared error at the prompt, both in reward^2.
    """

    group_size: float | None
    low: float | None
    high: float | None
    within_variance: Estimate
    value_mse: Estimate
    note: str


def baseline_quality(
    rewards_PG: Floats, at_prompt: States | None = None, along: States | None = None
) -> tuple[BaselineQuality, ...]:
    """Var(R - b) / Var(R) for every baseline that the data allow; Var as in `variance`.

    Names: none, batch_mean, group_mean, leave_one_out; with `at_prompt` also monte_carlo_prompt, and value_prompt if
    there is a critic; with `along` also monte_carlo, and value (V(s_t)) if there is a critic.

    Every completion has the same weight. Its states share that weight equally, so a long completion counts no more
    than a short one. All baselines see the same rows. A row without a reward, or without a state in `at_prompt` or
    `along`, is left out, and so is a group with one row left.

    A baseline that contains the row's own reward looks better than it is. The group mean leaves (1 - 1/G) of the
    variance within prompts, less than the true value leaves, because R - mean_g = (1 - 1/G)(R - mean of the others).
    `comparable` undoes that factor, so the group mean's equals the leave-one-out mean's, 1 + 1/(G-1) of the variance
    within; the factor is (1 - 1/B) for a batch of B rows. Baselines from fresh continuations are independent of the
    row. The noise of their mean, s2 / K, is subtracted; at K = 1 they are left out.
    """
    prompts, group_size = rewards_PG.shape
    kept_B = ~np.isnan(rewards_PG.ravel())
    for states in (at_prompt, along):
        if states is not None:
            kept_B &= np.bincount(states.row_M, minlength=prompts * group_size) > 0
    kept_B &= np.repeat(kept_B.reshape(rewards_PG.shape).sum(1) > 1, group_size)
    row_B: Ints = kept_B.nonzero()[0]
    reward_B, prompt_B = rewards_PG.ravel()[row_B], row_B // group_size
    count_B = np.bincount(prompt_B, minlength=prompts)[prompt_B]
    mean_B = np.bincount(prompt_B, weights=reward_B, minlength=prompts)[prompt_B] / count_B
    ones_B, batch = np.ones(len(row_B)), max(len(row_B), 2)
    own_mean = reward_B - (reward_B.mean() if len(row_B) else 0.0)
    own_group, factor_B = reward_B - mean_B, count_B / (count_B - 1)
    made = [
        _quality("none", reward_B, prompt_B, reward_B, ones_B, 0 * ones_B, ones_B),
        _quality("batch_mean", reward_B, prompt_B, own_mean, ones_B, 0 * ones_B, ones_B * batch / (batch - 1)),
        _quality("group_mean", reward_B, prompt_B, own_group, ones_B, 0 * ones_B, factor_B),
        _quality("leave_one_out", reward_B, prompt_B, own_group * factor_B, ones_B, 0 * ones_B, ones_B),
    ]
    for states, suffix in ((at_prompt, "_prompt"), (along, "")):
        if states is not None:
            made += _of_states(rewards_PG.ravel(), kept_B, group_size, states, suffix)
    return tuple(made)


def _of_states(
    reward_R: Floats, kept_R: NDArray[np.bool_], group_size: int, states: States, suffix: str
) -> list[BaselineQuality]:
    """The baselines that read states: R rows, kept or not."""
    share_R = 1 / np.maximum(np.bincount(states.row_M, minlength=len(reward_R)), 1)
    used_M = kept_R[states.row_M]
    row_M = states.row_M[used_M]
    reward_M, share_M, prompt_M, ones_M = reward_R[row_M], share_R[row_M], row_M // group_size, np.ones(len(row_M))
    seen, made = states.prefixes_M.at(used_M), []
    if seen.value_N is not None:
        residual_M = reward_M - seen.value_N
        made.append(_quality(f"value{suffix}", reward_M, prompt_M, residual_M, share_M, 0 * ones_M, ones_M))
    if seen.noise_N is not None:
        residual_M = reward_M - seen.mean_N
        made.append(_quality(f"monte_carlo{suffix}", reward_M, prompt_M, residual_M, share_M, seen.noise_N, ones_M))
    return made


def _quality(
    name: str, reward_M: Floats, prompt_M: Ints, plain_M: Floats, weight_M: Floats, noise_M: Floats, factor_M: Floats
) -> BaselineQuality:
    """`plain_M` is R - b, `factor_M` undoes the row's own share in b, `noise_M` is b's part of the square."""
    if len(reward_M) == 0:
        nothing = Estimate(None, None)
        return BaselineQuality(name, nothing, nothing, nothing)
    whole_P6 = cluster_sums(prompt_M, weight_M, reward_M)

    def estimate(residual_M: Floats, about_mean: bool) -> Estimate:
        left_P6 = cluster_sums(prompt_M, weight_M, residual_M)
        rest_P2 = sums(prompt_M, (weight_M * residual_M**2, weight_M * noise_M))

        def ratio(total_C: Floats) -> float | None:
            n, square, noise = float(total_C[0]), float(total_C[12]), float(total_C[13])
            whole = variance(total_C[:6])
            left = variance(total_C[6:12]) if about_mean else square / n if n > 0 else None
            return None if whole is None or whole <= 0 or left is None else (left - noise / n) / whole

        return jackknife(np.concatenate([whole_P6, left_P6, rest_P2], 1), ratio)

    comparable_M = plain_M * factor_M
    return BaselineQuality(name, estimate(plain_M, True), estimate(comparable_M, True), estimate(comparable_M, False))


def break_even_group_size(rewards_PG: Floats, prompts_P: Prefixes) -> BreakEven:
    """G* = 1 + w / MSE_c, where the leave-one-out group mean's squared error, w / (G - 1), equals the value head's.

    `prompts_P` are the prompts themselves. w is the reward's variance within a prompt, averaged over prompts (ddof 1;
    v(1 - v) for 0/1 rewards) and unbiased from the rollouts. MSE_c = mean((m - V)^2 - s2 / K). A larger group beats the
    head as a baseline that sees only the prompt. G* is never below 2, the smallest group with others. If MSE_c <= 0
    the head is better than any group: None. The interval is that of MSE_c / w, which stays finite, inverted: Student's
    t with a jackknife error over prompts. A prompt with NaN, or with fewer than two rewards, is left out.
    """
    value_P, noise_P = prompts_P.value_N, prompts_P.noise_N
    kept_P = ((~np.isnan(rewards_PG)).sum(1) > 1) & ~np.isnan(prompts_P.mean_N)
    if value_P is None or noise_P is None or not kept_P.any():
        missing = "critic" if value_P is None else "second continuation" if noise_P is None else "prompt with rewards"
        return BreakEven(None, None, None, Estimate(None, None), Estimate(None, None), f"not measured: no {missing}")
    kept_PG, n = rewards_PG[kept_P], int(kept_P.sum())
    shifted_PG = kept_PG - np.nanmin(kept_PG, 1, keepdims=True)
    within_P = np.nanvar(shifted_PG, 1, ddof=1)
    error_P = (prompts_P.mean_N - value_P)[kept_P] ** 2 - noise_P[kept_P]
    parts_PC = np.stack([np.ones(n), within_P, error_P], 1)
    within = jackknife(parts_PC, lambda s: float(s[1] / s[0]) if s[0] > 0 else None)
    mse = jackknife(parts_PC, lambda s: float(s[2] / s[0]) if s[0] > 0 else None)
    ratio = jackknife(parts_PC, lambda s: float(s[2] / s[1]) if s[1] > ROUNDING else None)
    if ratio.value is None:
        better = error_P.sum() > 0
        note = "no reward varies within a prompt, so any group " + ("is exact" if better else "and the head agree")
        return BreakEven(2.0 if better else None, None, None, within, mse, note)
    low = high = None
    if ratio.se is not None:
        margin = float(stdtrit(n - 1, 0.975)) * ratio.se
        low, high = _turned(ratio.value + margin), _turned(ratio.value - margin)
    note = "" if ratio.value > 0 else "the value head is better than any group, as far as can be measured"
    return BreakEven(_turned(ratio.value), low, high, within, mse, note)


def _turned(ratio: float) -> float | None:
    return max(2.0, 1 + 1 / ratio) if ratio > 0 else None

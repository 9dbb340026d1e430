"""Policy and value losses per token, KL estimators, and the ways to add tokens up. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from ppo_vs_grpo.algorithms.shared.config import Clip
from ppo_vs_grpo.algorithms.shared.types import Denominators


def clipped(log_ratio_BT: Tensor, advantages_BT: Tensor, clip: Clip) -> Tensor:
    """PPO's clipped surrogate, negated to be descended (arXiv 1707.06347, eq. 7): (B, T).

    `log_ratio_BT` is log pi - log pi_old of the token, or of the whole completion (see the functions below). A dual
    clip c bounds the loss of a token with A < 0 by -c * A, however far its ratio has risen (arXiv 1912.09729, eq. 5).
    """
    ratio_BT = log_ratio_BT.exp()
    near_BT = ratio_BT.clamp(1 - clip.low, 1 + clip.high)
    gain_BT = torch.minimum(ratio_BT * advantages_BT, near_BT * advantages_BT)
    if clip.dual is not None:
        gain_BT = torch.where(advantages_BT < 0, torch.maximum(gain_BT, clip.dual * advantages_BT), gain_BT)
    return -gain_BT


def masked(log_ratio_BT: Tensor, advantages_BT: Tensor, clip: Clip) -> Tensor:
    """-ratio * A where the ratio lies in [1 - low, 1 + high], else 0 (SAO, arXiv 2607.07508, eq. 3): (B, T).

    The mask has two sides: a token outside is left out whatever the sign of its advantage, where `clipped` leaves out
    only what its advantage would push further. A dual clip has nothing left to bound.
    """
    ratio_BT = log_ratio_BT.exp()
    inside_BT = (ratio_BT >= 1 - clip.low) & (ratio_BT <= 1 + clip.high)
    return torch.where(inside_BT, -ratio_BT * advantages_BT, 0.0)


def token_ratio(logp_BT: Tensor, logp_old_BT: Tensor) -> Tensor:
    """Log of each token's own ratio (PPO, GRPO): (B, T)."""
    return logp_BT - logp_old_BT


def sequence_ratio(logp_BT: Tensor, logp_old_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Log of the whole completion's ratio, summed over its tokens and repeated on each (RLOO): (B, T)."""
    return ((logp_BT - logp_old_BT) * mask_BT).sum(1, keepdim=True).expand_as(logp_BT)


def mean_sequence_ratio(logp_BT: Tensor, logp_old_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Log of the geometric mean of a completion's ratios, on each token (GSPO, arXiv 2507.18071, eq. 7): (B, T)."""
    return sequence_ratio(logp_BT, logp_old_BT, mask_BT) / mask_BT.sum(1, keepdim=True).clamp(min=1)


def source(logp_BT: Tensor, advantages_BT: Tensor) -> Tensor:
    """-logp * A, as in the source text and in REINFORCE: (B, T).

    There is no ratio, so the gradient is exact only at the sampling policy: one optimizer step per rollout batch.
    """
    return -logp_BT * advantages_BT


def squared_value_error(values_BT: Tensor, values_old_BT: Tensor, returns_BT: Tensor, clip: float | None) -> Tensor:
    """0.5 * max((V - ret)^2, (V clipped to V_old +- clip - ret)^2): (B, T). With clip None, 0.5 * (V - ret)^2."""
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


def k3_ratio(logp_BT: Tensor, logp_old_BT: Tensor, reference_logp_BT: Tensor) -> Tensor:
    """rho * k3 with rho = exp(logp - logp_old) (DeepSeek-V3.2, arXiv 2512.02556, eq. 7): (B, T).

    As a loss on samples of pi_old its expected gradient is that of the reverse KL(pi || pi_ref).
    """
    return (logp_BT - logp_old_BT).exp() * k3(logp_BT, reference_logp_BT)


def exact_kl(log_probs_BTV: Tensor, other_log_probs_BTV: Tensor) -> Tensor:
    """KL(pi || other) over the whole vocabulary at each position, without sampling noise: (B, T).

    If pi is the sampling policy and `other` the policy in training, this is the source text's KL(pi_old || pi_theta),
    exact given the sampled prefixes. At the first step after a rollout the two are equal and the gradient is exactly
    0. For any other pi the prefixes are still the sampler's: each position's KL is exact, but their sum is not the
    KL of the completion.
    """
    return (log_probs_BTV.exp() * (log_probs_BTV - other_log_probs_BTV)).sum(-1)


def forward_kl(logp_BT: Tensor, logp_old_BT: Tensor, reference_logp_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """w * (log pi_ref - log pi), with the importance weight w = pi_ref / pi_old of the completion: (B, T).

    Summed over a completion sampled from pi_old, its expected value and gradient are those of KL(pi_ref || pi), the
    source text's direction. With pi_ref = pi_old the weight is 1 and the term adds +beta to every advantage. Its
    expected gradient at pi_old is then 0: it adds noise and no pull.
    """
    weight_B1 = ((reference_logp_BT - logp_old_BT) * mask_BT).sum(1, keepdim=True).exp()
    return weight_B1 * (reference_logp_BT - logp_BT)


def token_mean(loss_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Every token of the optimizer step has the same weight (PPO): scalar."""
    return (loss_BT * mask_BT).sum() / denominators.tokens


def sequence_mean(loss_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Every completion of the optimizer step has the same weight, shared by its tokens (GRPO): scalar."""
    lengths_B = mask_BT.sum(1).clamp(min=1)
    return ((loss_BT * mask_BT).sum(1) / lengths_B).sum() / denominators.rows


def sequence_sum(loss_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Every completion has its length as weight: the mean over rows of each row's sum (source text): scalar."""
    return (loss_BT * mask_BT).sum() / denominators.rows


def constant(loss_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """The sum divided by rows * longest possible completion (Dr. GRPO, arXiv 2503.20783): scalar."""
    return (loss_BT * mask_BT).sum() / (denominators.rows * denominators.max_tokens)

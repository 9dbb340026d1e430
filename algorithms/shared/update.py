"""The update: epochs x mini-batches x micro-batches of an algorithm's loss, one optimizer step per mini-batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import k3
from ppo_vs_grpo.algorithms.shared.networks.models import Models, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, micro_batches, micro_batches_by_half, pack
from ppo_vs_grpo.algorithms.shared.types import Batch, Denominators, PolicyOutput, from_critic

REPORTS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "kl_reference",
    "clip_fraction",
    "ratio_error_max",
    "grad_norm",
    "grad_norm_value",
    "gradient_signal",
    "gradient_trace",
)
"""The metrics that `update` returns; None without a critic, a reference, or a finite step.

`gradient_signal` and `gradient_trace` are `split_noise` of the policy network, None if no step was taken in halves.
"""


@dataclass(frozen=True, slots=True)
class Learner:
    """The networks and their optimizer: a parameter group for the policy, and one for the critic's own parameters."""

    models: Models
    optimizer: torch.optim.AdamW
    train: TrainConfig
    critic_learning_rate: float

    def set_learning_rate(self, completions: int) -> float:
        """Warm up linearly in consumed completions, then stay constant. Returns the policy's rate."""
        share = min(1.0, completions / self.train.warmup_completions) if self.train.warmup_completions else 1.0
        rates = (self.train.learning_rate, self.critic_learning_rate)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=False):
            group["lr"] = rate * share
        return self.train.learning_rate * share


def learner(models: Models, algorithm: Algorithm, train: TrainConfig) -> Learner:
    """Make the optimizer: AdamW without weight decay, the same in every arm."""
    groups = [{"params": models.policy_parameters()}]
    if models.value_parameters():
        groups.append({"params": models.value_parameters()})
    optimizer = torch.optim.AdamW(groups, lr=train.learning_rate, weight_decay=0.0, fused=True)
    critic = algorithm.needs.critic
    return Learner(models, optimizer, train, critic.rate(train.learning_rate) if critic else 0.0)


def update(
    learner: Learner,
    algorithm: Algorithm,
    sequences: Sequences,
    batch: Batch,
    shuffle: np.random.Generator,
    critic_only: bool,
) -> dict[str, float | None]:
    """Fit the models to one rollout batch; with `critic_only` the policy does not change.

    The critic's further passes come last. Returns the means of REPORTS over the optimizer steps taken that have them
    (the maximum for `ratio_error_max`), and the counts `optimizer_steps` and `skipped_steps`, those of the critic alone
    included. A step whose loss or gradient is not finite is skipped.
    """
    rows, train, critic = len(sequences.ids_BL), learner.train, algorithm.needs.critic
    taken: dict[str, list[float]] = {}
    steps = skipped = 0
    for one_pass in range(train.epochs * (1 if critic is None else critic.passes)):
        order = torch.as_tensor(shuffle.permutation(rows), device=batch.mask_BT.device)
        for index in order.tensor_split(min(train.mini_batches, rows)):
            if critic_alone := one_pass >= train.epochs:
                seen = _accumulate_value(learner, algorithm, sequences, batch, index)
            else:
                seen = _accumulate(learner, algorithm, sequences, batch, index, critic_only)
            if seen is None or not _step(learner, seen, critic_alone):
                skipped += 1
                continue
            steps += 1
            for name, value in seen.items():
                taken.setdefault(name, []).append(value)
    means = {name: max(seen) if name == "ratio_error_max" else sum(seen) / len(seen) for name, seen in taken.items()}
    return {**dict.fromkeys(REPORTS), **means, "optimizer_steps": steps, "skipped_steps": skipped}


def _accumulate(
    learner: Learner,
    algorithm: Algorithm,
    sequences: Sequences,
    batch: Batch,
    index: Tensor,
    critic_only: bool,
) -> dict[str, float] | None:
    """Add up the gradients of one optimizer step. Returns its metrics, or None if its loss is not finite."""
    learner.optimizer.zero_grad(set_to_none=True)
    denominators, needs = _denominators(learner, batch, index), algorithm.needs
    detach = critic_only or (needs.critic is not None and needs.critic.detach)
    sums: dict[str, Tensor] = {}
    ratio_error_max = torch.zeros(())
    one, other = micro_batches_by_half(sequences, index, learner.train.micro_batch_tokens)
    half_square: Tensor | None = None
    for place, rows in enumerate([*one, *other]):
        if place == len(one) and not critic_only:
            half_square = _gradient_square(learner.models.policy_parameters())
        packed = pack(sequences, rows)
        output = policy_output(learner.models, packed, learner.train.temperature, detach, needs.exact_kl)
        micro = batch.rows(rows, packed.mask_bT.shape[1])
        loss = algorithm.loss(micro, output, denominators)
        terms = [term for term in (None if critic_only else loss.policy, loss.value) if term is not None]
        torch.stack(terms).sum().backward()
        seen = {"policy_loss": loss.policy.detach(), **token_sums(micro, output, learner.train, denominators.tokens)}
        if loss.value is not None:
            seen["value_loss"] = loss.value.detach()
        ratio_error_max = torch.maximum(ratio_error_max, seen.pop("ratio_error_max").cpu())
        sums = {name: value + sums.get(name, 0.0) for name, value in seen.items()}
    means = {name: float(value) for name, value in sums.items()}
    if half_square is not None:
        whole_square = _gradient_square(learner.models.policy_parameters())
        units, of_one = (len(sequences.group_B[rows].unique()) for rows in (index, torch.cat(one)))
        means |= split_noise(float(half_square) * (units / of_one) ** 2, of_one, float(whole_square), units)
    finite = np.isfinite(means["policy_loss"] + means.get("value_loss", 0.0))
    return {**means, "ratio_error_max": float(ratio_error_max)} if finite else None


def _accumulate_value(
    learner: Learner, algorithm: Algorithm, sequences: Sequences, batch: Batch, index: Tensor
) -> dict[str, float] | None:
    """Add up the gradients of a step of the critic alone. Returns its loss, or None if that is not finite.

    The policy is not read: its outputs are those of before the update.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    denominators, total = _denominators(learner, batch, index), 0.0
    for rows in micro_batches(sequences, index, learner.train.micro_batch_tokens):
        packed = pack(sequences, rows)
        micro = batch.rows(rows, packed.mask_bT.shape[1])
        output = PolicyOutput(micro.logp_old_BT, torch.zeros_like(micro.logp_old_BT), values(learner.models, packed))
        loss = from_critic(algorithm.loss(micro, output, denominators).value)
        loss.backward()
        total += float(loss.detach())
    return {"value_loss": total} if np.isfinite(total) else None


def _denominators(learner: Learner, batch: Batch, index: Tensor) -> Denominators:
    longest = learner.train.max_new_tokens or batch.mask_BT.shape[1]
    return Denominators(tokens=int(batch.mask_BT[index].sum()), rows=len(index), max_tokens=longest)


def split_noise(small_square: float, small_units: int, big_square: float, big_units: int) -> dict[str, float]:
    """Unbiased |E g|^2 (`gradient_signal`) and tr(Sigma) of one unit (`gradient_trace`) from two squared norms.

    `big_square` is |g|^2 of a mean over independent units, `small_square` that over some of them (McCandlish et al.
    2018, arXiv 1812.06162, appendix A.1). Here a unit is a prompt's rows in the step. One step says little, and its
    signal may be negative: take the ratio of sums over many steps.
    """
    signal = (big_units * big_square - small_units * small_square) / (big_units - small_units)
    return {
        "gradient_signal": signal,
        "gradient_trace": (big_square - small_square) / (1 / big_units - 1 / small_units),
    }


@torch.no_grad()
def _gradient_square(parameters: list[nn.Parameter]) -> Tensor:
    """Squared norm of the gradient collected so far, in float32 or better."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norms = torch._foreach_norm(grads, dtype=torch.promote_types(grads[0].dtype, torch.float32))
    return torch.stack(norms).square().sum()


@torch.no_grad()
def token_sums(batch: Batch, output: PolicyOutput, train: TrainConfig, tokens: int) -> dict[str, Tensor]:
    """A micro-batch's share of the step's token means, and its largest |ratio - 1|."""
    mask_BT = batch.mask_BT
    ratio_BT = (output.logp_BT - batch.logp_old_BT).exp()
    clipped_BT = torch.where(batch.advantages_BT > 0, ratio_BT > 1 + train.clip_high, ratio_BT < 1 - train.clip_low) & (
        batch.advantages_BT != 0
    )
    sums = {
        "entropy": (output.entropy_BT * mask_BT).sum() / tokens,
        "clip_fraction": (clipped_BT & mask_BT).sum() / tokens,
        "ratio_error_max": ((ratio_BT - 1).abs() * mask_BT).max(),
    }
    if batch.reference_logp_BT is not None:
        sums["kl_reference"] = (k3(output.logp_BT, batch.reference_logp_BT) * mask_BT).sum() / tokens
    return sums


def _step(learner: Learner, seen: dict[str, float], critic_alone: bool) -> bool:
    """Clip each group's gradient by its own norm and step. Returns False, without a step, if a norm is not finite.

    With `critic_alone` the policy has no gradient, and the optimizer leaves it as it is.
    """
    names = ("grad_norm", "grad_norm_value")
    policy: list[nn.Parameter] = [] if critic_alone else learner.models.policy_parameters()
    parameters = (policy, learner.models.value_parameters())
    norms = {}
    for name, group in zip(names, parameters, strict=True):
        if group:
            norms[name] = float(nn.utils.clip_grad_norm_(group, learner.train.max_grad_norm))
    if not all(np.isfinite(norm) for norm in norms.values()):
        return False
    learner.optimizer.step()
    seen.update(norms)
    return True

"""Gradient noise: how much an arm's policy gradient would differ with other prompts and completions.

The policy is frozen and all arms see the same rollouts. The independent unit is the prompt group: its rows share a
prompt and, in some arms, a baseline. `noise` has the statistics.

Whitening over the batch and the token mean's denominator tie units together by O(1/U). Both are taken as given.

Axes beside those of `algorithms.shared.types`: U units, H halves of a unit, D parameters of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import Parameter

from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.networks.models import policy_output
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, join, micro_batches, pack
from ppo_vs_grpo.algorithms.shared.trainer import Trainer, make_batch
from ppo_vs_grpo.algorithms.shared.types import Batch, Context, Denominators, ScoredRollouts
from ppo_vs_grpo.benchmarks.probes.noise import GradientNoise, split, statistics


def reference_gradient(trainer: Trainer, scored: ScoredRollouts) -> Tensor:
    """Gradient of leave-one-out REINFORCE over a whole batch, to which every arm's cosine is taken: (D,).

    It is unbiased for the gradient of -E[reward] whatever the arm, and has no penalty for leaving the reference model.
    An arm's own large-batch gradient would hide the arm's bias. Raises ValueError as `probe`.
    """
    leave_one_out = find("rloo")
    algorithm = leave_one_out(leave_one_out.Config(), trainer.train)
    batch = _batch(trainer, algorithm, scored, Context(reference_logp_BT=None, values_BT=None))
    everything = torch.arange(len(scored.rewards_B), device=scored.rewards_B.device)
    return next(_gradients(trainer, {"": (algorithm, batch)}, _sequences(trainer, scored), [everything]))[""]


def probe(
    trainer: Trainer,
    arms: Mapping[str, Algorithm],
    scored: ScoredRollouts,
    contexts: Mapping[str, Context],
    reference: ScoredRollouts | None = None,
) -> dict[str, GradientNoise]:
    """Noise of each arm's gradient at the trainer's policy and on the same rollouts, by the arm's name in `arms`.

    `contexts` holds, by arm, what its reference and critic say of the rollouts; the trainer's own critic is not run.
    All arms use the trainer's temperature, length limit and micro-batches. `reference` should be a larger batch of the
    same policy on other prompts: noise shared with `scored` would raise the cosine. Raises ValueError if a reward is
    missing: pass `rated()` rows and contexts of the same rows.
    """
    reference_D = None if reference is None else reference_gradient(trainer, reference)
    sequences = _sequences(trainer, scored)
    batches = {name: (arm, _batch(trainer, arm, scored, contexts[name])) for name, arm in arms.items()}
    halves, per_unit = _halves(scored.rollouts.group_B)
    seen = list(_gradients(trainer, batches, sequences, halves))
    noise = {}
    for name in arms:
        halves_UHD = torch.stack([part.pop(name) for part in seen]).unflatten(0, (-1, per_unit))
        between = split(halves_UHD).between
        noise[name] = replace(statistics(halves_UHD.mean(1), reference_D), between=between)
    return noise


def _halves(group_B: Tensor) -> tuple[list[Tensor], int]:
    """Each group's rows in two halves, as `split` needs, and 2; whole groups and 1 if a size is odd or differs."""
    units = [(group_B == group).nonzero()[:, 0] for group in group_B.unique()]
    sizes = {len(rows) for rows in units}
    if len(sizes) > 1 or sizes.pop() % 2:
        return units, 1
    return [half for rows in units for half in rows.tensor_split(2)], 2


def _sequences(trainer: Trainer, scored: ScoredRollouts) -> Sequences:
    return join(scored.rollouts, trainer.engine.pad, trainer.models.packed)


def _batch(trainer: Trainer, algorithm: Algorithm, scored: ScoredRollouts, context: Context) -> Batch:
    if scored.rewards_B.isnan().any():
        raise ValueError("a reward is missing: the probe takes rows that have one, as ScoredRollouts.rated() gives")
    return make_batch(algorithm, scored, context, trainer.train)


def _gradients(
    trainer: Trainer, arms: Mapping[str, tuple[Algorithm, Batch]], sequences: Sequences, parts: list[Tensor]
) -> Iterator[dict[str, Tensor]]:
    """The share of each part's rows in the gradient of each arm's loss over the whole batch, times the parts: (D,).

    So the mean over parts is the gradient of one optimizer step, KL term included and value loss left out. No `.grad`
    is touched. The arms share a forward pass; all their gradients of a part are in memory at once.
    """
    models, train = trainer.models, trainer.train
    parameters = models.policy_parameters()
    trained = replace(models, value_head=None, trunk=None)  # a critic's pass would be thrown away with its loss
    exact_kl = any(algorithm.needs.exact_kl for algorithm, _ in arms.values())
    for part in parts:
        total = {name: _zeros(parameters) for name in arms}
        for rows in micro_batches(sequences, part, train.micro_batch_tokens):
            packed = pack(sequences, rows)
            output = policy_output(trained, packed, train.temperature, True, exact_kl)
            for name, (algorithm, batch) in arms.items():
                micro = batch.rows(rows, packed.mask_bT.shape[1])
                seen = replace(output, values_BT=micro.values_old_BT)  # a constant, so that loss.value can be formed
                loss = len(parts) * algorithm.loss(micro, seen, _denominators(batch, trainer.max_new_tokens)).policy
                grads = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
                for sum_, grad in zip(total[name], grads, strict=True):
                    sum_ += grad
        yield {name: torch.cat([sum_.flatten() for sum_ in sums]) for name, sums in total.items()}


def _zeros(parameters: list[Parameter]) -> list[Tensor]:
    return [torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in parameters]


def _denominators(batch: Batch, max_tokens: int) -> Denominators:
    """Counts of the whole batch, as in one optimizer step."""
    return Denominators(tokens=int(batch.mask_BT.sum()), rows=len(batch.mask_BT), max_tokens=max_tokens)

"""Gradient noise: how much an arm's policy gradient would differ had other prompts and completions been drawn.

The policy is frozen, all arms see the same rollouts, and the independent unit is the prompt group: its rows share a
prompt and, in some arms, a baseline. `noise` has the statistics.

Whitening over the batch and the token mean's denominator tie units together by O(1/U). Both are taken as given.

Axes beside those of `algorithms.shared.types`: U units, G rows of one, D parameters of the policy, M directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import Parameter

from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.models import Models, policy_output
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, join, micro_batches, pack
from ppo_vs_grpo.algorithms.shared.trainer import make_batch
from ppo_vs_grpo.algorithms.shared.types import Batch, Context, Denominators, ScoredRollouts
from ppo_vs_grpo.benchmarks.probes.noise import GradientNoise, split, statistics

MAX_ROWS, MAX_PARAMETERS = 512, 1_000_000  # of `row_gradients`, 2 GB
BLOCK = 2**22  # random numbers that `project` holds at a time


def unit_gradients(
    models: Models, algorithm: Algorithm, sequences: Sequences, batch: Batch, group_B: Tensor, train: TrainConfig
) -> Tensor:
    """The policy gradient of each prompt group, in the order of the groups' ids: (U, D).

    Scaled so that the mean over units is the gradient of the arm's policy loss over the whole batch as one optimizer
    step, its KL term included. That of the critic's value loss is not in it, and no `.grad` is touched.
    """
    gradients = _gradients(models, {"": (algorithm, batch)}, sequences, _units(group_B), train)
    return torch.stack([gradient[""] for gradient in gradients])


def row_gradients(
    models: Models, algorithm: Algorithm, sequences: Sequences, batch: Batch, group_B: Tensor, train: TrainConfig
) -> Tensor:
    """The policy gradient of each row, which sum to their group's in `unit_gradients`: (B, D).

    Raises ValueError above MAX_ROWS rows or MAX_PARAMETERS parameters.
    """
    parameters = sum(p.numel() for p in models.policy_parameters())
    if len(group_B) > MAX_ROWS or parameters > MAX_PARAMETERS:
        raise ValueError(f"{len(group_B)} rows x {parameters} parameters: at most {MAX_ROWS} x {MAX_PARAMETERS}")
    rows = list(torch.arange(len(group_B), device=group_B.device)[:, None])
    gradients = _gradients(models, {"": (algorithm, batch)}, sequences, rows, train)
    rows_BD = torch.stack([gradient[""] for gradient in gradients])
    return rows_BD * (len(_units(group_B)) / len(rows))


def by_group(rows_BD: Tensor, group_B: Tensor) -> Tensor:
    """`row_gradients` as `split` takes them: (U, G, D), times G, so that a unit's gradient is the mean of its rows.

    Raises ValueError where groups differ in size.
    """
    units = _units(group_B)
    if len({len(rows) for rows in units}) > 1:
        raise ValueError("to split the variance, every prompt should have as many rows")
    return len(units[0]) * torch.stack([rows_BD[rows] for rows in units])


def project(gradient_D: Tensor, directions: int, seed: int) -> Tensor:
    """g . v_j / sqrt(M) along M Gaussian directions v_j, the same for the same seed and device: (M,), float64.

    E|g . v|^2 over v ~ N(0, I) is |g|^2, so squares and products of projections are unbiased for those of the
    gradients, with a relative standard error of at most sqrt(2 / M). Holds BLOCK random numbers at a time.
    """
    generator = torch.Generator(gradient_D.device).manual_seed(seed)
    projected_M = torch.zeros(directions, dtype=torch.float64, device=gradient_D.device)
    for part_d in gradient_D.split(max(1, BLOCK // directions)):
        v_Md = part_d.new_empty(directions, len(part_d)).normal_(generator=generator)
        projected_M += (v_Md @ part_d).double()
    return projected_M.div(directions**0.5)


def projected_gradients(
    models: Models,
    algorithm: Algorithm,
    sequences: Sequences,
    batch: Batch,
    group_B: Tensor,
    train: TrainConfig,
    directions: int,
    seed: int,
) -> Tensor:
    """`unit_gradients` of a large model along random directions, as `statistics` takes them: (U, M).

    Memory is that of one gradient. Trace and signal stay unbiased, the noise scale is a ratio of them; the jackknife
    holds the directions fixed, so add the relative error of `project`.
    """
    gradients = _gradients(models, {"": (algorithm, batch)}, sequences, _units(group_B), train)
    return torch.stack([project(gradient[""], directions, seed) for gradient in gradients])


def reference_gradient(models: Models, scored: ScoredRollouts, train: TrainConfig, pad: int) -> Tensor:
    """Gradient of leave-one-out REINFORCE over a whole batch, what every arm's cosine is taken to: (D,).

    Unbiased for the gradient of -E[reward], whatever the arm, and without a penalty for leaving the reference model:
    an arm's own large-batch gradient would hide its bias. Raises ValueError as `probe`.
    """
    leave_one_out, train = find("rloo"), _limited(train, scored)
    algorithm = leave_one_out(leave_one_out.Config(), train)
    batch = _batch(algorithm, scored, Context(reference_logp_BT=None, values_BT=None), train)
    everything = torch.arange(len(scored.rewards_B), device=scored.rewards_B.device)
    return next(
        _gradients(models, {"": (algorithm, batch)}, join(scored.rollouts, pad, models.packed), [everything], train)
    )[""]


def probe(
    models: Models,
    arms: Mapping[str, Algorithm],
    scored: ScoredRollouts,
    contexts: Mapping[str, Context],
    train: TrainConfig,
    pad: int,
    reference: ScoredRollouts | None = None,
    *,
    directions: int | None = None,
    seed: int = 0,
) -> dict[str, GradientNoise]:
    """Noise of each arm's gradient on the same policy and rollouts, by the arm's name in `arms`.

    `contexts` holds by arm what its reference and critic say of the rollouts; no value head of `models` is run.
    `train` names temperature, length limit and micro-batches of all arms. `reference` should be a larger batch on
    other prompts, also of `models.policy`: on the same ones noise that is shared would raise the cosine. With
    `directions`, projections replace gradients. Raises ValueError where a reward is missing: hand in `rated()` rows
    and contexts of the same.
    """
    reference_D = None if reference is None else reference_gradient(models, reference, train, pad)
    if directions and reference_D is not None:
        reference_D = project(reference_D, directions, seed)
    train, sequences = _limited(train, scored), join(scored.rollouts, pad, models.packed)
    batches = {name: (algorithm, _batch(algorithm, scored, contexts[name], train)) for name, algorithm in arms.items()}
    halves, per_unit = _halves(scored.rollouts.group_B)
    together = [[name] for name in arms] if directions else [list(arms)]  # large models: one gradient at a time
    noise = {}
    for names in together:
        parts = _gradients(models, {name: batches[name] for name in names}, sequences, halves, train)
        seen = [{n: project(g, directions, seed) if directions else g for n, g in part.items()} for part in parts]
        for name in names:
            halves_UHD = torch.stack([part.pop(name) for part in seen]).unflatten(0, (-1, per_unit))
            between = split(halves_UHD).between
            noise[name] = replace(statistics(halves_UHD.mean(1), reference_D), between=between)
    return noise


def _units(group_B: Tensor) -> list[Tensor]:
    return [(group_B == group).nonzero()[:, 0] for group in group_B.unique()]


def _halves(group_B: Tensor) -> tuple[list[Tensor], int]:
    """Each group's rows in two halves, as `split` needs, and 2; whole groups and 1 where a size is odd or differs."""
    units = _units(group_B)
    sizes = {len(rows) for rows in units}
    if len(sizes) > 1 or sizes.pop() % 2:
        return units, 1
    return [half for rows in units for half in rows.tensor_split(2)], 2


def _limited(train: TrainConfig, scored: ScoredRollouts) -> TrainConfig:
    """Settings whose longest completion is that of the rollouts, not of the longest row that happened to be drawn."""
    return train.model_copy(update={"max_new_tokens": train.max_new_tokens or scored.rollouts.max_tokens})


def _batch(algorithm: Algorithm, scored: ScoredRollouts, context: Context, train: TrainConfig) -> Batch:
    if scored.rewards_B.isnan().any():
        raise ValueError("a reward is missing: the probe takes rows that have one, as ScoredRollouts.rated() gives")
    return make_batch(algorithm, scored, context, train)


def _gradients(
    models: Models,
    arms: Mapping[str, tuple[Algorithm, Batch]],
    sequences: Sequences,
    parts: list[Tensor],
    train: TrainConfig,
) -> Iterator[dict[str, Tensor]]:
    """What each part's rows add to the gradient of each arm's loss over the whole batch, times the parts: (D,) each.

    The arms share a forward pass. All of their gradients of a part are in memory at once.
    """
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
                loss = len(parts) * algorithm.loss(micro, seen, _denominators(batch, train)).policy
                grads = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
                for sum_, grad in zip(total[name], grads, strict=True):
                    sum_ += grad
        yield {name: torch.cat([sum_.flatten() for sum_ in sums]) for name, sums in total.items()}


def _zeros(parameters: list[Parameter]) -> list[Tensor]:
    return [torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in parameters]


def _denominators(batch: Batch, train: TrainConfig) -> Denominators:
    """The whole batch's, as of one optimizer step."""
    longest = train.max_new_tokens or batch.mask_BT.shape[1]
    return Denominators(tokens=int(batch.mask_BT.sum()), rows=len(batch.mask_BT), max_tokens=longest)

"""Gradient noise: how much an arm's policy gradient would differ had other prompts and completions been drawn.

The policy is frozen, all arms see the same rollouts, and the independent unit is the prompt group: its rows share a
prompt and, in some arms, a baseline. Noise scale and cosine are comparable across arms. The raw trace is not, and no
report may compare it: it scales with the square of the advantage's scale.

Whitening over the batch and the token mean's denominator tie units together by O(1/U). Both are taken as given.

Axes beside those of `algorithms.shared.types`: U units, G rows of one, D parameters of the policy, M directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.models import Models, policy_output
from ppo_vs_grpo.algorithms.shared.sequences import Sequences, join, micro_batches, pack
from ppo_vs_grpo.algorithms.shared.trainer import make_batch
from ppo_vs_grpo.algorithms.shared.types import Batch, Context, Denominators, ScoredRollouts

MAX_ROWS, MAX_PARAMETERS = 512, 1_000_000  # of `row_gradients`, 2 GB
BLOCK = 2**22  # random numbers that `project` holds at a time


@dataclass(frozen=True, slots=True)
class GradientNoise:
    """Noise of an estimate that is the mean of `units` independent gradients; `skipped` more were not finite.

    `trace` is tr(Sigma) of ONE unit, `signal` the unbiased |E g|^2, which is negative where noise happens to outweigh
    it. `noise_scale` is trace / signal, in units: the batch at which noise equals signal (arXiv 1812.06162, eq. 2.8);
    None where signal <= 0. `cosine` is between the estimate and the reference, `*_se` a standard error by jackknife
    over units. None: undefined here, or not asked for. Compare `trace` between two arms never.
    """

    units: int
    skipped: int = 0
    trace: float | None = None
    signal: float | None = None
    noise_scale: float | None = None
    cosine: float | None = None
    trace_se: float | None = None
    noise_scale_se: float | None = None
    cosine_se: float | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Traces of the variance of one row's gradient: `between` + `within`; None where undefined.

    `between` is the covariance of two rows of a prompt, so a baseline made of siblings can make it negative.
    """

    between: float | None
    within: float | None
    skipped: int = 0


def statistics(gradients_UD: Tensor, reference_D: Tensor | None = None) -> GradientNoise:
    """Noise of the mean of independent unit gradients, (U, D) and (D,) -> numbers, float64 inside.

    A unit that is not finite is counted and left out. With one unit there is no noise to speak of: None. Raises
    ValueError where the reference is not finite.
    """
    if reference_D is not None and not reference_D.isfinite().all():
        raise ValueError("the reference gradient is not finite")
    kept_UD = gradients_UD[gradients_UD.isfinite().all(1)].double()
    n, skipped = len(kept_UD), len(gradients_UD) - len(kept_UD)
    if n == 0:
        return GradientNoise(0, skipped)
    mean_D = kept_UD.mean(0)
    toward_D = torch.full_like(mean_D, torch.nan) if reference_D is None else reference_D.double()
    toward_D = toward_D / toward_D.norm()
    away_UD = kept_UD - mean_D
    away_square_U = away_UD.square().sum(1)
    scatter, square, along = away_square_U.sum(), mean_D @ mean_D, mean_D @ toward_D
    whole = _moments(scatter, square, along, n)
    errors = {}
    if n > 2:
        # The mean without unit u is mean - away_u / (n - 1), and all that is needed of it follows.
        without = _moments(
            scatter - away_square_U * n / (n - 1),
            square - 2 * (away_UD @ mean_D) / (n - 1) + away_square_U / (n - 1) ** 2,
            along - (away_UD @ toward_D) / (n - 1),
            n - 1,
        )
        errors = {f"{k}_se": ((n - 1) * x_U.var(correction=0)).sqrt() for k, x_U in without.items() if k != "signal"}
    numbers = {k: None if x.isnan() else float(x) for k, x in (whole | errors).items()}
    return GradientNoise(n, skipped, **numbers)


def split(gradients_UGD: Tensor) -> Split:
    """One-way random effects: how much of one row's gradient variance is the prompt's, (U, G, D) -> traces.

    within = mean over prompts of the variance over rows, between = variance of the prompts' means - within / G (Searle,
    Casella and McCulloch 1992, section 3.6); both unbiased, so `between` may be negative. A unit's tr(Sigma)
    is between + within / G. A prompt with a row that is not finite is counted and left out.
    """
    kept_UGD = gradients_UGD[gradients_UGD.isfinite().flatten(1).all(1)].double()
    units, size = kept_UGD.shape[:2]
    skipped = len(gradients_UGD) - units
    if size < 2 or units < 1:
        return Split(None, None, skipped)
    within = float(kept_UGD.var(1).sum(-1).mean())
    if units < 2:
        return Split(None, within, skipped)
    return Split(float(kept_UGD.mean(1).var(0).sum()) - within / size, within, skipped)


def unit_gradients(
    models: Models, algorithm: Algorithm, sequences: Sequences, batch: Batch, group_B: Tensor, train: TrainConfig
) -> Tensor:
    """The policy gradient of each prompt group, in the order of the groups' ids: (U, D).

    Scaled so that the mean over units is the gradient of the arm's policy loss over the whole batch as one optimizer
    step, its KL term included. That of the critic's value loss is not in it, and no `.grad` is touched.
    """
    return torch.stack(list(_gradients(models, algorithm, sequences, batch, _units(group_B), train)))


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
    rows_BD = torch.stack(list(_gradients(models, algorithm, sequences, batch, rows, train)))
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
    gradients = _gradients(models, algorithm, sequences, batch, _units(group_B), train)
    return torch.stack([project(gradient_D, directions, seed) for gradient_D in gradients])


def reference_gradient(models: Models, scored: ScoredRollouts, train: TrainConfig, pad: int) -> Tensor:
    """Gradient of leave-one-out REINFORCE over a whole batch, what every arm's cosine is taken to: (D,).

    Unbiased for the gradient of -E[reward], whatever the arm, and without a penalty for leaving the reference model:
    an arm's own large-batch gradient would hide its bias. Raises ValueError as `probe`.
    """
    leave_one_out, train = find("rloo"), _limited(train, scored)
    algorithm = leave_one_out(leave_one_out.Config(), train)
    batch = _batch(algorithm, scored, Context(reference_logp_BT=None, values_BT=None), train)
    everything = torch.arange(len(scored.rewards_B), device=scored.rewards_B.device)
    return next(_gradients(models, algorithm, join(scored.rollouts, pad), batch, [everything], train))


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
    train, sequences, units = _limited(train, scored), join(scored.rollouts, pad), _units(scored.rollouts.group_B)
    noise = {}
    for name, algorithm in arms.items():
        batch = _batch(algorithm, scored, contexts[name], train)
        gradients = _gradients(models, algorithm, sequences, batch, units, train)
        seen = [project(gradient_D, directions, seed) if directions else gradient_D for gradient_D in gradients]
        noise[name] = statistics(torch.stack(seen), reference_D)
    return noise


def _moments(scatter: Tensor, square: Tensor, along: Tensor, count: int) -> dict[str, Tensor]:
    """From sum |g - mean|^2, |mean|^2 and the mean's length along the reference; NaN where undefined."""
    trace = scatter / (count - 1)
    signal = square - trace / count
    noise_scale = torch.where(signal > 0, trace / signal, torch.nan)
    return {"trace": trace, "signal": signal, "noise_scale": noise_scale, "cosine": along / square.sqrt()}


def _units(group_B: Tensor) -> list[Tensor]:
    return [(group_B == group).nonzero()[:, 0] for group in group_B.unique()]


def _limited(train: TrainConfig, scored: ScoredRollouts) -> TrainConfig:
    """Settings whose longest completion is that of the rollouts, not of the longest row that happened to be drawn."""
    return train.model_copy(update={"max_new_tokens": train.max_new_tokens or scored.rollouts.max_tokens})


def _batch(algorithm: Algorithm, scored: ScoredRollouts, context: Context, train: TrainConfig) -> Batch:
    if scored.rewards_B.isnan().any():
        raise ValueError("a reward is missing: the probe takes rows that have one, as ScoredRollouts.rated() gives")
    return make_batch(algorithm, scored, context, train)


def _gradients(
    models: Models, algorithm: Algorithm, sequences: Sequences, batch: Batch, parts: list[Tensor], train: TrainConfig
) -> Iterator[Tensor]:
    """What each part's rows add to the gradient of the whole batch's policy loss, times the parts: (D,) each."""
    parameters = models.policy_parameters()
    trained = replace(models, value_head=None, trunk=None)  # a critic's pass would be thrown away with its loss
    longest = train.max_new_tokens or batch.mask_BT.shape[1]
    denominators = Denominators(tokens=int(batch.mask_BT.sum()), rows=len(batch.mask_BT), max_tokens=longest)
    for part in parts:
        total = [torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in parameters]
        for index in micro_batches(sequences.tokens_B[part], train.micro_batch_tokens):
            packed = pack(sequences, part[index])
            micro = batch.rows(part[index], packed.mask_bT.shape[1])
            output = policy_output(trained, packed, train.temperature, True, algorithm.needs.exact_kl)
            output = replace(output, values_BT=micro.values_old_BT)  # a constant, so that loss.value can be formed
            loss = len(parts) * algorithm.loss(micro, output, denominators).policy
            grads = torch.autograd.grad(loss, parameters, materialize_grads=True)
            for sum_, grad in zip(total, grads, strict=True):
                sum_ += grad
        gradient_D: Tensor = torch.cat([sum_.flatten() for sum_ in total])
        yield gradient_D

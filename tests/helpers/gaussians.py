"""Gradients drawn from a known distribution."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from copying import END, PAD, llama, prompts, uniforms
from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared import trainer
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, policy_output
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, join, over_rows, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Batch, Context, Denominators, ScoredRollouts

TRAIN = TrainConfig(mini_batches=1, beta=1, max_grad_norm=1e9, temperature=2, max_new_tokens=12, micro_batch_tokens=40)


def certain(number: float | None) -> float:
    assert number is not None
    return number


MEAN_D = torch.tensor([1.0, -0.5, 0.2, 0.0, 0.0], dtype=torch.float64)


SPREAD_D = torch.tensor([0.5, 1.0, 1.5, 0.1, 2.0], dtype=torch.float64)


TRACE, SIGNAL = float(SPREAD_D.square().sum()), float(MEAN_D.square().sum())


def gaussian(units: int, seed: int) -> Tensor:
    noise_UD = torch.randn((units, len(MEAN_D)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return MEAN_D + SPREAD_D * noise_UD


def arm(name: str, train: TrainConfig = TRAIN, detach: bool = False) -> Algorithm:
    return find(name)(find(name).Config(**({"critic": CriticConfig(detach=True)} if detach else {})), train)


@cache
def world_of_rows() -> tuple[Models, ScoredRollouts, Context]:
    """A policy with a critic, 30 ragged rows of five prompts in disorder, and what reference and critic say of them."""
    models = build(llama(0), CriticConfig(), needs_reference=False)
    asked = prompts((3, 4, 5), (6, 7), (8,), (9, 9, 9, 9), (2, 3))
    rollouts = HuggingFaceEngine(models.policy, PAD, (END,), 10, TRAIN.temperature).generate(asked, 6, uniforms(10, 30))
    rollouts = rollouts.rows(torch.as_tensor(np.random.default_rng(1).permutation(30)))
    rewards_B = torch.as_tensor(np.random.default_rng(2).random(30), dtype=torch.float32)
    reference = llama(5)
    reference_BT = over_rows(join(rollouts, PAD), 999, lambda packed: logp(reference, packed, TRAIN.temperature))
    values_BT = torch.randn(rollouts.mask_BT.shape, generator=torch.Generator().manual_seed(3)) * rollouts.mask_BT
    return models, ScoredRollouts(rollouts, rewards_B, rewards_B > 0.5, {}), Context(reference_BT, values_BT)


def prepared(algorithm: Algorithm, index: Tensor | None = None) -> tuple[Models, Sequences, Batch, Tensor]:
    models, scored, context = world_of_rows()
    index = torch.arange(30) if index is None else index
    scored = scored.rows(index)
    context = Context(*(t[index] for t in (context.reference_logp_BT, context.values_BT) if t is not None))
    batch = trainer.make_batch(algorithm, scored, context, TRAIN)
    return models, join(scored.rollouts, PAD), batch, scored.rollouts.group_B


def gradients_of(
    parts: list[Tensor], algorithm: Algorithm, models: Models, sequences: Sequences, batch: Batch, train: TrainConfig
) -> Tensor:
    """What each part's rows add to the gradient of a step over the whole batch, times the parts: (parts, D)."""
    longest = train.max_new_tokens or batch.mask_BT.shape[1]
    denominators = Denominators(int(batch.mask_BT.sum()), len(batch.mask_BT), longest)
    trained, made = replace(models, value_head=None), []
    for rows in parts:
        packed = pack(sequences, rows)
        micro = batch.rows(rows, packed.mask_bT.shape[1])
        output = policy_output(trained, packed, train.temperature, True, algorithm.needs.exact_kl)
        loss = algorithm.loss(micro, replace(output, values_BT=micro.values_old_BT), denominators).policy
        grads = torch.autograd.grad(len(parts) * loss, models.policy_parameters())
        made.append(torch.cat([grad.flatten() for grad in grads]))
    return torch.stack(made)


def units_of(group_B: Tensor) -> list[Tensor]:
    return [(group_B == group).nonzero()[:, 0] for group in group_B.unique()]

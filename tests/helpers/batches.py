"""Sampled rollouts, scored, with their context and batch, in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad as padded
from transformers import PreTrainedModel

from copying import END, PAD, VOCABULARY, gpt2, prompts, uniforms
from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, over_rows
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Advantages, Batch, Context, Rollouts, ScoredRollouts
from ppo_vs_grpo.algorithms.shared.update import learner, update

TOKENS, ROWS = 10, 24


TRAIN = TrainConfig(
    mini_batches=1,
    beta=0.1,
    warmup_completions=0,
    prompts_per_update=3,
    group_size=8,
    max_new_tokens=TOKENS,
    temperature=0.7,
    learning_rate=1e-30,
    max_grad_norm=1e9,  # gradients are read after the step, which scales them
)


Shape = Callable[..., PreTrainedModel]


def algorithm_of(name: str, train: TrainConfig = TRAIN, **config: object) -> tuple[Algorithm, TrainConfig]:
    """An algorithm with the settings that its name declares, but with a reference penalty where it has one, and without
    passes of the critic alone: they would leave no gradient of the whole loss to read.
    """
    declared, kind = entry(name), find(name)
    train = train.model_copy(update={**declared.train(train), "beta": train.beta})
    settings = {**declared.config, **config}
    if "critic" in settings:
        settings["critic"] = {**settings["critic"], "passes": 1}
    return kind(kind.Config.model_validate(settings), train), train


def models_of(
    algorithm: Algorithm, train: TrainConfig, dtype: torch.dtype = torch.float64, make: Shape = gpt2
) -> Models:
    """A policy, a reference that differs from it, and a critic whose head is not zero, each where it is needed.

    A GPT-2 shape: the Llama shape's norms are float32 whatever the model's dtype.
    """
    models = build(make().to(dtype), algorithm.needs.critic, needs_reference=False)
    if models.value_head is not None:
        with torch.no_grad():
            models.value_head.weight.normal_(generator=torch.Generator().manual_seed(1))
    reference = make(seed=5).to(dtype).requires_grad_(False) if train.beta > 0 else None
    return replace(models, reference=reference)


def asked(train: TrainConfig) -> list[tuple[int, ...]]:
    """Prompts of one to four tokens; pad and end are among them, which no length may be read from."""
    rng = np.random.default_rng(3)
    return [tuple(rng.integers(0, VOCABULARY, 1 + i % 4).tolist()) for i in range(train.prompts_per_update)]


def sampled(models: Models, train: TrainConfig, pad: int = PAD, beside: tuple[int, ...] | None = None) -> Rollouts:
    """24 ragged rows of the policy; `beside` is one more prompt, as long as one likes, whose rows are dropped."""
    ids = asked(train) + ([beside] if beside else [])
    engine = HuggingFaceEngine(models.policy, pad, (END,), TOKENS, train.temperature)
    numbers = uniforms(TOKENS, ROWS + train.group_size)[:, : len(ids) * train.group_size]
    made = engine.generate(prompts(*ids), train.group_size, numbers)
    return made.rows(torch.arange(ROWS))


def scored_of(rollouts: Rollouts) -> ScoredRollouts:
    rewards_B = torch.as_tensor(np.random.default_rng(0).random(ROWS), dtype=torch.float32)
    return ScoredRollouts(rollouts, rewards_B, rewards_B > 0.5, {})


def context_of(models: Models, algorithm: Algorithm, train: TrainConfig, rollouts: Rollouts, pad: int = PAD) -> Context:
    """What the trainer asks the models; random numbers stand in for the means of fresh continuations."""
    sequences, reference = join(rollouts, pad), models.reference
    values_BT = None
    if models.value_head is not None:
        values_BT = over_rows(sequences, 99, lambda packed: values(models, packed))
    elif algorithm.needs.continuations:
        random_BT = torch.as_tensor(np.random.default_rng(1).random((ROWS, TOKENS + 9)), dtype=torch.float32)
        values_BT = random_BT[:, : rollouts.mask_BT.shape[1]] * rollouts.mask_BT
    if reference is None:
        return Context(None, values_BT)
    return Context(over_rows(sequences, 99, lambda packed: logp(reference, packed, train.temperature)), values_BT)


@dataclass(frozen=True)
class Seen:
    """An update's advantages, its gradients by parameter group, and what it reports."""

    advantages: Advantages
    policy: Tensor
    critic: Tensor
    metrics: dict[str, float | None]


def gradient(parameters: list[torch.nn.Parameter]) -> Tensor:
    return torch.cat([torch.zeros(1).double()] + [p.grad.flatten().double() for p in parameters if p.grad is not None])


def batch_of(scored: ScoredRollouts, context: Context, made: Advantages) -> Batch:
    """Half of the rows were sampled by a policy that has moved since: ratios other than 1, some of them clipped."""
    rollouts = scored.rollouts
    moved_BT = 0.3 * torch.sin(7 * rollouts.logp_BT) * (scored.rewards_B > 0.5)[:, None]
    return Batch(
        mask_BT=rollouts.mask_BT,
        logp_old_BT=rollouts.logp_BT + moved_BT,
        advantages_BT=made.advantages_BT,
        reference_logp_BT=context.reference_logp_BT,
        values_old_BT=context.values_BT if made.returns_BT is not None else None,
        returns_BT=made.returns_BT,
    )


def learned(
    models: Models,
    algorithm: Algorithm,
    train: TrainConfig,
    scored: ScoredRollouts,
    context: Context,
    *,
    pad: int = PAD,
    critic_only: bool = False,
    silent: bool = False,
) -> Seen:
    """One optimizer step too small to move a weight; `silent` sets the advantages to 0, which leaves the KL."""
    made = algorithm.advantages(scored, context)
    batch = batch_of(scored, context, made)
    if silent:
        batch = replace(batch, advantages_BT=torch.zeros_like(batch.advantages_BT))
    sequences = join(scored.rollouts, pad)
    learning = learner(models, algorithm, train)
    metrics = update(learning, algorithm, sequences, batch, np.random.default_rng(7), critic_only)
    assert metrics["optimizer_steps"] == 1
    for name in ("gradient_signal", "gradient_trace"):  # of a step's halves: a step of one pass has none
        metrics.pop(name)
    return Seen(made, gradient(models.policy_parameters()), gradient(models.value_parameters()), metrics)


@functools.cache
def prepared(name: str, make: Shape = gpt2) -> tuple[Models, Algorithm, TrainConfig, ScoredRollouts, Context]:
    algorithm, train = algorithm_of(name)
    models = models_of(algorithm, train, make=make)
    rollouts = sampled(models, train)
    return models, algorithm, train, scored_of(rollouts), context_of(models, algorithm, train, rollouts)


def with_columns(rollouts: Rollouts, count: int) -> Rollouts:
    """More columns on the right; what stands in them is a token like any other, so only the mask tells."""
    wide = {f.name: t for f in fields(rollouts) if isinstance(t := getattr(rollouts, f.name), Tensor) and t.dim() == 2}
    return replace(rollouts, **{n: padded(t, (0, count), value=9 * (n == "completion_BT")) for n, t in wide.items()})

"""One optimizer step of an algorithm on a prepared batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from copying import END, PAD, llama, prompts, uniforms
from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, join, over_rows
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Batch, Context, ScoredRollouts
from ppo_vs_grpo.algorithms.shared.update import Learner, learner, update

TRAIN = TrainConfig(mini_batches=1, beta=0.1, warmup_completions=0, prompts_per_update=3, learning_rate=1e-2)


def arm(name: str, train: TrainConfig, **config: object) -> Algorithm:
    """The algorithm of that name with its own settings, less those given."""
    kind = find(name)
    return kind(kind.Config.model_validate(entry(name).config | config), train)


def prepared(algorithm: Algorithm, train: TrainConfig) -> tuple[Learner, Sequences, Batch]:
    """A learner and a batch of 24 ragged rows with rewards; the reference is another model."""
    models = build(llama(), algorithm.needs.critic, needs_reference=False)
    models = Models(models.policy, llama(seed=5), models.value_head, models.trunk)
    if models.value_head is not None:
        with torch.no_grad():
            models.value_head.weight.normal_(generator=torch.Generator().manual_seed(1))
    rollouts = HuggingFaceEngine(models.policy, PAD, (END,), 10, 1.0).generate(
        prompts((3, 4, 5), (6, 7), (8,)), 8, uniforms(10, 24)
    )
    rewards_B = torch.as_tensor(np.random.default_rng(0).random(24), dtype=torch.float32)
    scored = ScoredRollouts(rollouts, rewards_B, rewards_B > 0.5, {})
    sequences = join(rollouts, PAD)
    context = Context(
        over_rows(sequences, 99, lambda packed: logp(models.reference, packed, 1.0)),
        over_rows(sequences, 99, lambda packed: values(models, packed)) if models.value_head else None,
    )
    advantages = algorithm.advantages(scored, context)
    batch = Batch(
        rollouts.mask_BT,
        rollouts.logp_BT,
        advantages.advantages_BT,
        context.reference_logp_BT,
        context.values_BT,
        advantages.returns_BT,
    )
    return learner(models, algorithm, train), sequences, batch


def step(algorithm: Algorithm, train: TrainConfig, **options: bool) -> tuple[Learner, dict[str, float]]:
    learning, sequences, batch = prepared(algorithm, train)
    critic_only = options.get("critic_only", False)
    return learning, update(learning, algorithm, sequences, batch, np.random.default_rng(7), critic_only)


def gradients(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()

"""The trainer that a run asks for: ours, or a peer's."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ppo_vs_grpo.algorithms.shared.meters import PeakMemory
    from ppo_vs_grpo.algorithms.shared.rollout.engine import RolloutEngine
    from ppo_vs_grpo.algorithms.shared.trainer import UpdateRecord
    from ppo_vs_grpo.algorithms.shared.types import Prompts
    from ppo_vs_grpo.tasks.base import Problem, Task

ASKED = 3
"""Prompts on which a start model is asked whether it can be trained here."""


class RunTrainer(Protocol):
    """A trainer as a run and its evaluations use it: ours, or a peer's."""

    max_new_tokens: int
    task: Task
    tokenizer: PreTrainedTokenizerBase
    memory: PeakMemory

    @property
    def policy(self) -> PreTrainedModel:
        """The network in training."""
        ...

    @property
    def engine(self) -> RolloutEngine:
        """The engine that completes prompts with the policy as it is."""
        ...

    def encode(self, drawn: list[Problem], /) -> Prompts:
        """Tokenize problems as prompts."""
        ...

    def updates(self, count: int, measure_memory: bool = False) -> Iterator[UpdateRecord]:
        """Run `count` more updates. Raises DivergedError."""
        ...

    def until_spent(self) -> Iterator[UpdateRecord]:
        """Run updates while the budget of completions covers one more. Raises DivergedError."""
        ...


def make_trainer(spec: RunSpec, start: Path, device: str = "cpu", more_updates: int = 0) -> RunTrainer:
    """The trainer of a run, its models on the device; `more_updates` are added to its budget.

    UserError where our sampler or update would read the start model otherwise than it reads itself, where its
    weights cannot be trained, and where a prompt does not fit its context.
    """
    import torch
    from transformers import AutoTokenizer

    from ppo_vs_grpo.algorithms import find
    from ppo_vs_grpo.algorithms.shared.agreement import check_agreement
    from ppo_vs_grpo.algorithms.shared.networks.loading import load
    from ppo_vs_grpo.algorithms.shared.trainer import Trainer
    from ppo_vs_grpo.benchmarks import peers
    from ppo_vs_grpo.benchmarks.models import admission, critic, reward
    from ppo_vs_grpo.benchmarks.peers.settings import settings_of
    from ppo_vs_grpo.benchmarks.run.context import check_context
    from ppo_vs_grpo.tasks import make
    from ppo_vs_grpo.tasks.splits import problems

    admission.check_trained(spec.start, admission.quantization(start), spec.train.lora_rank)
    kind = find(settings_of(spec.algorithm))
    task = make(spec.task_choice.task, spec.task_choice.options)
    reward.give_judges(task, start, spec.seed, device)
    model = load(start, getattr(torch, spec.train.start_dtype))
    torch.nn.Module.to(model, device)
    tokenizer = AutoTokenizer.from_pretrained(start)
    check_context(spec, task, tokenizer, model.config)
    budget = spec.train.completions + more_updates * spec.train.batch_completions
    train = spec.train.model_copy(update={"completions": budget})
    algorithm = kind(kind.Config.model_validate(spec.config), train)
    given = (model, tokenizer, task, algorithm, train, spec.seed)
    peer = peers.PEERS.get(spec.algorithm)
    trainer: RunTrainer
    if peer is None:
        own = Trainer(*given)
        if algorithm.needs.critic and isinstance(saved := algorithm.needs.critic.start, str):
            critic.load(saved, own.models)
        check_agreement(own.engine, own.models, own.encode(problems(task, "train", spec.seed, 0, ASKED)))
        trainer = own
    else:
        from ppo_vs_grpo.benchmarks.peers.trainer import PeerTrainer

        trainer = PeerTrainer(peers.find(spec.algorithm), *given)
    if peer is None or peer.frozen:
        gc.collect()
        gc.freeze()
    else:
        gc.unfreeze()  # what a template froze
    return trainer

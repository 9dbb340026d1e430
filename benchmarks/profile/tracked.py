"""A trainer whose storages are tracked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from ppo_vs_grpo.algorithms.shared.meters import PeakMemory
from ppo_vs_grpo.algorithms.shared.networks.models import Models
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.profile.memory import Tracker


def tracked_copy(trainer: Trainer) -> tuple[Trainer, Tracker]:
    """A copy of the trainer, and the tracker of its phases.

    The optimizer's state and the gradients exist from the start, as in every update except a run's first.
    """
    probed, tracker = copy.deepcopy(trainer, {id(part): part for part in (trainer.task, trainer.tokenizer)}), Tracker()
    attach(tracker, probed)
    return probed, tracker


def attach(tracker: Tracker, trainer: Trainer) -> None:
    """Let the tracker follow the trainer's measured phases, and register all that is loaded when an update begins."""
    optimizer = trainer._learner.optimizer
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    register(tracker, trainer.models, optimizer)
    trainer.memory = TrackedPhases(trainer.device, tracker=tracker, models=trainer.models, optimizer=optimizer)


def register(tracker: Tracker, models: Models, optimizer: torch.optim.Optimizer) -> None:
    """Register the networks' parameters, gradients and optimizer state."""
    if models.reference is not None:
        tracker.register("reference.params", models.reference)
    critic = [("value", module) for module in (models.value_head, models.trunk) if module is not None]
    for owner, module in [*critic, ("policy", models.policy)]:  # shared tensors are the policy's
        states = [value for p in module.parameters() for value in optimizer.state.get(p, {}).values()]
        tracker.register(f"{owner}.params", module)
        tracker.register(f"{owner}.grads", (p.grad for p in module.parameters()))
        tracker.register(f"optimizer.{owner}", (value for value in states if isinstance(value, Tensor)))


@dataclass
class TrackedPhases(PeakMemory):
    """Replaces a trainer's `memory`, and tells the tracker the phases and the roles of what they make."""

    tracker: Tracker = field(kw_only=True)
    models: Models = field(kw_only=True)
    optimizer: torch.optim.Optimizer = field(kw_only=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Track a phase of the trainer; its update is split into `forward`, `backward` and `optimizer`."""
        entered = {"rollout": self._rollout, "update": self._update}.get(name)
        with self.tracker.phase("forward" if name == "update" else name, kept_as="batch"), ExitStack() as stack:
            if entered is not None:
                entered(stack)
            yield

    def _rollout(self, stack: ExitStack) -> None:
        """Register the cache after every pass."""

        def after(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            held = [value for layer in kwargs["past_key_values"].layers for value in vars(layer).values()]
            self.tracker.register("kv_cache", (value for value in held if isinstance(value, Tensor)))

        stack.callback(self.models.policy.register_forward_hook(after, with_kwargs=True).remove)

    def _update(self, stack: ExitStack) -> None:
        """Count what a forward pass keeps for its backward pass as activations, the critic's own separately."""
        before: list[str] = []

        def critic_enters(*_: Any) -> None:
            before.append(self.tracker.current()[1])
            self.tracker.keep("activations.value")

        policy = self.models.policy
        for part in (policy, policy.get_decoder()):  # if logits come in chunks, the trunk runs first, by itself
            policy_enters = part.register_forward_pre_hook(lambda *_: self.tracker.keep("activations.policy"))
            stack.callback(policy_enters.remove)
        critic = [module for module in (self.models.value_head, self.models.trunk) if module is not None]
        for part in (part for module in critic for part in module.modules()):  # a checkpoint runs the parts again
            stack.callback(part.register_forward_pre_hook(critic_enters).remove)
            stack.callback(
                part.register_forward_hook(lambda *_: self.tracker.keep(before.pop()), always_call=True).remove
            )
        stack.enter_context(patch.object(Tensor, "backward", self._backward(Tensor.backward)))
        step = ExitStack()

        def step_begins(*_: Any) -> None:
            step.enter_context(self.tracker.phase("optimizer"))

        def step_ends(*_: Any) -> None:
            register(self.tracker, self.models, self.optimizer)
            step.close()

        stack.callback(self.optimizer.register_step_pre_hook(step_begins).remove)
        stack.callback(self.optimizer.register_step_post_hook(step_ends).remove)

    def _backward(self, real: Callable[..., None]) -> Callable[..., None]:
        def backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            self.tracker.settle()
            with self.tracker.phase("backward", kept_as="activations.policy"):
                real(loss, *args, **kwargs)
                register(self.tracker, self.models, self.optimizer)
            self.tracker.keep("batch")

        return backward

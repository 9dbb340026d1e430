"""Memory by role and phase: every storage of an update, from its birth to its death, on any device.

A phase's peak holds all that is loaded meanwhile, what other phases left behind included. Bytes are those that tensors
ask for: what an allocator rounds up or keeps in reserve is the process's affair, and in no role.
"""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ppo_vs_grpo.algorithms.shared.meters import PeakMemory
from ppo_vs_grpo.algorithms.shared.models import Models
from ppo_vs_grpo.algorithms.shared.trainer import Trainer

PHASES = ("rollout", "reward", "old_logprob", "reference", "value", "forward", "backward", "optimizer")
"""Where memory is counted. No arm here has an `old_logprob`: the sampler's own log-probabilities are the old ones."""

ROLES = (
    *("policy.params", "policy.grads", "value.params", "value.grads", "reference.params"),
    *("optimizer.policy", "optimizer.value", "kv_cache", "activations.policy", "activations.value"),
    *("batch", "temporary"),
)
"""What memory is for. Parameters include buffers; `temporary` is what no one keeps past its phase."""

SAVES = torch.ops.aten.detach.default
"""What a checkpoint's second forward pass calls without gradients, to keep a tensor."""

TOTAL = "total"
"""The name, beside PHASES, of the whole time."""


@dataclass(frozen=True, slots=True)
class Peak:
    """What a role held when the phase held most, and the most that the role held at any time in the phase."""

    phase: str
    role: str
    bytes_at_total_peak: int
    own_peak_bytes: int


@dataclass(slots=True)
class _Storage:
    """One storage; `kept_as` is the role it takes if its phase leaves it alive, None once its role is final."""

    size_bytes: int
    role: str
    kept_as: str | None
    watch: weakref.ref[torch.UntypedStorage]
    alive: bool = True


@dataclass(slots=True)
class _Frame:
    """A phase under way: the roles of what is born now, if it dies within and if it does not."""

    phase: str
    role: str
    kept_as: str
    born: list[_Storage] = field(default_factory=list)


class Tracker(TorchDispatchMode):
    """Sees every storage that an operation makes inside the context; views and writes in place make none.

    A storage has one role all its life, the last one said: what turns out to be a gradient was one from its birth. So
    roles are looked up when the peaks are asked for, not when memory moves.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: dict[int, _Storage] = {}
        self._events: list[tuple[str, _Storage | None, int]] = []
        self._frames: list[_Frame] = []

    def register(self, role: str, what: nn.Module | Iterable[Tensor | None]) -> None:
        """Say what tensors are for, of a module its parameters and buffers; unknown ones count from here on."""
        if role not in ROLES:
            raise ValueError(f"{role!r} is none of {', '.join(ROLES)}")
        tensors = [*what.parameters(), *what.buffers()] if isinstance(what, nn.Module) else what
        for storage in [self._seen(tensor) for tensor in tensors if tensor is not None]:
            storage.role, storage.kept_as = role, None

    @contextmanager
    def phase(self, name: str, role: str = "temporary", kept_as: str | None = None) -> Iterator[None]:
        """Count the block as a phase: what it makes has the role, and what outlives it `kept_as`, else the role."""
        if name not in PHASES:
            raise ValueError(f"{name!r} is none of {', '.join(PHASES)}")
        self._frames.append(_Frame(name, role, kept_as or role))
        self._change(None, 0)  # what is loaded counts, should nothing else happen
        try:
            yield
        finally:
            self.settle()
            self._frames.pop()
            self._change(None, 0)

    def current(self) -> tuple[str, str]:
        """The phase under way and the role of what it leaves alive, both "" outside of phases."""
        return (self._frames[-1].phase, self._frames[-1].kept_as) if self._frames else ("", "")

    def role(self, tensor: Tensor) -> str:
        """What the tensor is for, as far as is known now; "" for one that the tracker has not seen."""
        storage = self._known.get(tensor.untyped_storage()._cdata)
        return storage.role if storage is not None else ""

    def keep(self, role: str) -> None:
        """From here on, what the phase leaves alive has this role."""
        self._frames[-1].kept_as = role

    def settle(self) -> None:
        """Take the phase's living storages for ones that are kept; the rest were for passing use."""
        frame = self._frames[-1]
        for storage in frame.born:
            if storage.alive and storage.kept_as is not None:
                storage.role, storage.kept_as = storage.kept_as, None
        frame.born.clear()

    def peaks(self) -> list[Peak]:
        """A row per phase and role that held memory, the whole time's rows under TOTAL: at a peak roles add up."""
        level, total = Counter[str](), 0
        own: dict[str, Counter[str]] = {}
        highest: dict[str, tuple[int, Counter[str]]] = {}
        for phase, storage, by_bytes in self._events:
            total += by_bytes
            if storage is not None:
                level[storage.role] += by_bytes
            for name in (phase, TOTAL) if phase else (TOTAL,):
                mine = own.setdefault(name, Counter())
                for role in level if storage is None else (storage.role,):
                    mine[role] = max(mine[role], level[role])
                if total > highest.get(name, (-1, Counter[str]()))[0]:
                    highest[name] = (total, level.copy())
        return [
            Peak(name, role, highest[name][1][role], own[name][role])
            for name in (*PHASES, TOTAL)
            if name in own
            for role in ROLES
            if own[name][role]
        ]

    def total_peak_bytes(self) -> int:
        """The most that all roles held at once."""
        return sum(row.bytes_at_total_peak for row in self.peaks() if row.phase == TOTAL)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and look at what it returns."""
        if self.current()[0] == "backward" and not torch.is_grad_enabled() and func is not SAVES:
            self.settle()  # the end of a checkpoint's second forward pass
        result = func(*args, **(kwargs or {}))
        for leaf in [result] if isinstance(result, Tensor) else tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._seen(leaf)
        return result

    def _seen(self, tensor: Tensor) -> _Storage:
        """Find the tensor's storage, or take note of its birth; a new size is a change of memory."""
        untyped = tensor.untyped_storage()
        key, size_bytes = untyped._cdata, untyped.nbytes()
        if (storage := self._known.get(key)) is None:
            frame = self._frames[-1] if self._frames else _Frame("", "temporary", "temporary")
            storage = _Storage(0, frame.role, frame.kept_as, weakref.ref(untyped, lambda _: self._died(key)))
            self._known[key] = storage
            if frame.phase != "backward" or torch.is_grad_enabled():
                frame.born.append(storage)
        if size_bytes != storage.size_bytes:
            self._change(storage, size_bytes - storage.size_bytes)
            storage.size_bytes = size_bytes
        return storage

    def _died(self, key: int) -> None:
        storage = self._known.pop(key)
        storage.alive = False
        self._change(storage, -storage.size_bytes)

    def _change(self, storage: _Storage | None, by_bytes: int) -> None:
        self._events.append((self.current()[0], storage, by_bytes))


def measure_update(trainer: Trainer) -> list[Peak]:
    """The peaks of the trainer's next update, which a copy of it takes: the trainer and its run stay as they are."""
    probed, tracker = tracked_copy(trainer)
    with tracker:
        next(probed.updates(1, measure_memory=True))
    return tracker.peaks()


def tracked_copy(trainer: Trainer) -> tuple[Trainer, Tracker]:
    """A copy of the trainer and the tracker that its phases are told to.

    The optimizer has its state and the parameters their gradients from the start, as in every update but a run's first.
    """
    probed, tracker = copy.deepcopy(trainer, {id(part): part for part in (trainer.task, trainer.tokenizer)}), Tracker()
    attach(tracker, probed)
    return probed, tracker


def attach(tracker: Tracker, trainer: Trainer) -> None:
    """Make the trainer's measured phases the tracker's, with all that an update finds loaded when it begins."""
    optimizer = trainer._learner.optimizer
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    register(tracker, trainer.models, optimizer)
    trainer.memory = TrackedPhases(trainer.device, tracker=tracker, models=trainer.models, optimizer=optimizer)


def register(tracker: Tracker, models: Models, optimizer: torch.optim.Optimizer) -> None:
    """Say what the networks' parameters, gradients and optimizer state are for."""
    if models.reference is not None:
        tracker.register("reference.params", models.reference)
    critic = [("value", module) for module in (models.value_head, models.trunk) if module is not None]
    for owner, module in [*critic, ("policy", models.policy)]:  # the policy's, what all of them share
        states = [value for p in module.parameters() for value in optimizer.state.get(p, {}).values()]
        tracker.register(f"{owner}.params", module)
        tracker.register(f"{owner}.grads", (p.grad for p in module.parameters()))
        tracker.register(f"optimizer.{owner}", (value for value in states if isinstance(value, Tensor)))


@dataclass
class TrackedPhases(PeakMemory):
    """Takes the place of a trainer's `memory`, and tells the tracker of phases and of what is made for what."""

    tracker: Tracker = field(kw_only=True)
    models: Models = field(kw_only=True)
    optimizer: torch.optim.Optimizer = field(kw_only=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase of the trainer; its update falls into `forward`, `backward` and `optimizer`."""
        entered = {"rollout": self._rollout, "update": self._update}.get(name)
        with self.tracker.phase("forward" if name == "update" else name, kept_as="batch"), ExitStack() as stack:
            if entered is not None:
                entered(stack)
            yield

    def _rollout(self, stack: ExitStack) -> None:
        """Look into the cache after every pass."""

        def after(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            held = [value for layer in kwargs["past_key_values"].layers for value in vars(layer).values()]
            self.tracker.register("kv_cache", (value for value in held if isinstance(value, Tensor)))

        stack.callback(self.models.policy.register_forward_hook(after, with_kwargs=True).remove)

    def _update(self, stack: ExitStack) -> None:
        """Take what a forward pass leaves to its backward pass for activations, those of the critic's own apart."""
        before: list[str] = []

        def critic_enters(*_: Any) -> None:
            before.append(self.tracker.current()[1])
            self.tracker.keep("activations.value")

        policy = self.models.policy
        for part in (policy, policy.get_decoder()):  # where logits come in chunks, the trunk is asked first, by itself
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

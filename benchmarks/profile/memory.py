"""Memory by role and phase: every storage of an update, from its birth to its death, on any device.

A phase's peak includes everything loaded at that time, even what other phases left behind. Bytes are those that tensors
request. What an allocator rounds up or reserves belongs to no role.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PHASES = ("rollout", "reward", "old_logprob", "reference", "value", "forward", "backward", "optimizer")
"""The phases of memory. No arm here has an `old_logprob`: the sampler's log-probabilities are the old ones."""

ROLES = (
    *("policy.params", "policy.grads", "value.params", "value.grads", "reference.params"),
    *("optimizer.policy", "optimizer.value", "kv_cache", "activations.policy", "activations.value"),
    *("batch", "temporary"),
)
"""The uses of memory. Parameters include buffers; `temporary` does not outlive its phase."""

SAVES = torch.ops.aten.detach.default
"""The operation by which a checkpoint's second forward pass, without gradients, keeps a tensor."""

TOTAL = "total"
"""The name of the whole time, beside PHASES."""


@dataclass(frozen=True, slots=True)
class Peak:
    """A role's memory when the phase held most, and the most that the role held at any time in the phase."""

    phase: str
    role: str
    bytes_at_total_peak: int
    own_peak_bytes: int


@dataclass(slots=True)
class _Storage:
    """One storage. `kept_as` is the role that it takes if it outlives its phase, None once its role is final."""

    size_bytes: int
    role: str
    kept_as: str | None
    watch: weakref.ref[torch.UntypedStorage]
    alive: bool = True


@dataclass(slots=True)
class _Frame:
    """A running phase: the role of what is born and dies in it, and the role of what outlives it."""

    phase: str
    role: str
    kept_as: str
    born: list[_Storage] = field(default_factory=list)


class Tracker(TorchDispatchMode):
    """Sees every storage that an operation makes inside the context; views and writes in place make none.

    A storage has one role for its whole life, the last one registered: a tensor that becomes a gradient was one from
    its birth. So roles are looked up when the peaks are asked for, not when memory changes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: dict[int, _Storage] = {}
        self._events: list[tuple[str, _Storage | None, int]] = []
        self._frames: list[_Frame] = []

    def register(self, role: str, what: nn.Module | Iterable[Tensor | None]) -> None:
        """Set the role of tensors, or of a module's parameters and buffers. Unknown ones count from here on."""
        if role not in ROLES:
            raise ValueError(f"{role!r} is none of {', '.join(ROLES)}")
        tensors = [*what.parameters(), *what.buffers()] if isinstance(what, nn.Module) else what
        for storage in [self._seen(tensor) for tensor in tensors if tensor is not None]:
            storage.role, storage.kept_as = role, None

    @contextmanager
    def phase(self, name: str, role: str = "temporary", kept_as: str | None = None) -> Iterator[None]:
        """Count the block as a phase. What it makes has the role; what outlives it has `kept_as`, or else the role."""
        if name not in PHASES:
            raise ValueError(f"{name!r} is none of {', '.join(PHASES)}")
        self._frames.append(_Frame(name, role, kept_as or role))
        self._change(None, 0)  # loaded tensors count even if nothing else happens
        try:
            yield
        finally:
            self.settle()
            self._frames.pop()
            self._change(None, 0)

    def current(self) -> tuple[str, str]:
        """The running phase and the role of what outlives it, both "" outside of phases."""
        return (self._frames[-1].phase, self._frames[-1].kept_as) if self._frames else ("", "")

    def role(self, tensor: Tensor) -> str:
        """The tensor's role as known so far; "" for a tensor that the tracker has not seen."""
        storage = self._known.get(tensor.untyped_storage()._cdata)
        return storage.role if storage is not None else ""

    def keep(self, role: str) -> None:
        """From here on, what outlives the phase has this role."""
        self._frames[-1].kept_as = role

    def settle(self) -> None:
        """Mark the phase's living storages as kept; the dead ones were temporary."""
        frame = self._frames[-1]
        for storage in frame.born:
            if storage.alive and storage.kept_as is not None:
                storage.role, storage.kept_as = storage.kept_as, None
        frame.born.clear()

    def peaks(self) -> list[Peak]:
        """One row per phase and role with memory; TOTAL has those of the whole time. At a peak, roles add up."""
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
        """Run the operation and track the tensors that it returns."""
        if self.current()[0] == "backward" and not torch.is_grad_enabled() and func is not SAVES:
            self.settle()  # the end of a checkpoint's second forward pass
        result = func(*args, **(kwargs or {}))
        for leaf in [result] if isinstance(result, Tensor) else tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._seen(leaf)
        return result

    def _seen(self, tensor: Tensor) -> _Storage:
        """Find the tensor's storage, or record its birth. A new size is a change of memory."""
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

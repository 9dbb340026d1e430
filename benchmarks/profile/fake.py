"""Fake tensors, with a shape and no memory, on which an update's own code runs.

torch's `FakeTensorMode` computes what an operation returns, in half a millisecond. A model's layers ask the same again
and again, so `Answers` caches the results.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")


class Fake(FakeTensorMode):
    """The mode that all fake tensors of a prediction share, including those of copied networks.

    A tensor's copy would otherwise copy its mode, and free the same memory twice.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Fake:
        """Return itself."""
        return self


class Answers(TorchDispatchMode):
    """Runs operations on fake tensors, and makes up results that depend on values.

    A number read from a fake tensor is 1, and a sampled token is `sampled`.
    """

    def __init__(self, fake: Fake, sampled: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fake, self._sampled = fake, sampled
        self._known: dict[Hashable, _Result | None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Run the operation, or make up a result that depends on values."""
        aten, kind, options = torch.ops.aten, func._overloadpacket, kwargs or {}
        if kind is aten.empty:  # buffers that networks fill, above all the key/value cache
            with self._fake:
                return func(*args, **options)
        if not (args and isinstance(args[0], FakeTensor)):
            return func(*args, **options)
        if kind is aten._local_scalar_dense:
            return 1.0
        if kind is aten.searchsorted:
            return torch.full(args[1].shape, self._sampled)
        if kind is aten.index:
            args = (args[0], [part for index in args[1] for part in _places(index)])
        return self._answer(func, types, args, options)

    def _answer(self, func: Any, types: Any, args: Any, options: dict[str, Any]) -> Any:
        """The operation's result, from the cache if the arguments' shapes determine it."""
        asked = _signature(args)
        key = (func, asked, _signature(tuple(options.items())))
        if (known := self._known.get(key)) is not None:
            return known.again(self._fake, args)
        returned = self._fake.__torch_dispatch__(func, types, args, options)
        if key not in self._known:
            changed = _signature(args) != asked  # as by `squeeze_`: it did more than return a result
            given = any(isinstance(option, Tensor) for option in options.values())  # as by `out=`
            self._known[key] = None if changed or given else _result(returned, args)
        return returned


def _places(index: Tensor | None) -> list[Tensor | None]:
    """An index as places instead of a mask. The mask is real, so the number of places is known."""
    return [index] if index is None or index.dtype != torch.bool else list(index.nonzero(as_tuple=True))


def _signature(argument: Any) -> Hashable:
    """The properties of an argument on which the shape of a result can depend."""
    if isinstance(argument, Tensor):
        strides, offset = argument.stride(), argument.storage_offset()
        return (type(argument), argument.dtype, argument.shape, strides, offset)
    if isinstance(argument, (list, tuple)):
        return tuple([_signature(part) for part in argument])
    return (type(argument), argument)  # 1, 1.0 and True are equal


@dataclass(frozen=True, slots=True)
class _Part:
    """A returned tensor: a view of the argument at `of`, or a new tensor if `of` is None."""

    of: int | None
    dtype: torch.dtype
    shape: torch.Size
    strides: tuple[int, ...]
    offset: int

    def again(self, fake: Fake, args: Any) -> Tensor:
        if self.of is None:
            return FakeTensor(fake, torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="meta"), CPU)
        with in_kernel_invocation_manager(fake):
            empty = torch.empty(0, dtype=self.dtype, device="meta")
            view = empty.set_(args[self.of].untyped_storage(), self.offset, self.shape, self.strides)
        return FakeTensor(fake, view, CPU)


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of an operation: one tensor, or several."""

    one: bool
    parts: tuple[_Part, ...]

    def again(self, fake: Fake, args: Any) -> Any:
        parts = tuple(part.again(fake, args) for part in self.parts)
        return parts[0] if self.one else parts


def _result(returned: Any, args: Any) -> _Result | None:
    """The result in a form that can be repeated; None if it has more than tensors."""
    one = not isinstance(returned, (list, tuple))
    parts = [_part(tensor, args) for tensor in ([returned] if one else returned)]
    known = tuple(part for part in parts if part is not None)
    return _Result(one, known) if len(known) == len(parts) else None


def _part(tensor: Any, args: Any) -> _Part | None:
    if not isinstance(tensor, FakeTensor) or tensor.fake_device != CPU:
        return None
    data = tensor.untyped_storage()._cdata
    shares = [isinstance(argument, FakeTensor) and argument.untyped_storage()._cdata == data for argument in args]
    of = shares.index(True) if any(shares) else None
    return _Part(of, tensor.dtype, tensor.shape, tensor.stride(), int(tensor.storage_offset()))

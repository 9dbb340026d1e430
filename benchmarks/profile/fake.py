"""Fake tensors, which have a shape and no memory, for an update's own code to run on.

torch's `FakeTensorMode` says what an operation returns. A model's layers ask the same of it again and again, and it
takes half a millisecond to answer: `Answers` remembers what it said.
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
    """The mode that all of a prediction's fake tensors share, the copies of networks included.

    A tensor's copy would copy its mode, and with that free the same memory twice.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Fake:
        """Itself."""
        return self


class Answers(TorchDispatchMode):
    """Runs operations on fake tensors, and answers what depends on values.

    A number read from a fake tensor is 1, and a sampled token is `sampled`.
    """

    def __init__(self, fake: Fake, sampled: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fake, self._sampled = fake, sampled
        self._known: dict[Hashable, _Result | None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Run the operation; what depends on values is made up."""
        aten, kind, options = torch.ops.aten, func._overloadpacket, kwargs or {}
        if kind is aten.empty:  # room to be filled by networks, the key/value cache above all
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
        """What the operation returns: as it did on arguments of the same shapes, where that says it all."""
        asked = _signature(args)
        key = (func, asked, _signature(tuple(options.items())))
        if (known := self._known.get(key)) is not None:
            return known.again(self._fake, args)
        returned = self._fake.__torch_dispatch__(func, types, args, options)
        if key not in self._known:
            changed = _signature(args) != asked  # as by `squeeze_`: the result is not all that it did
            given = any(isinstance(option, Tensor) for option in options.values())  # as by `out=`
            self._known[key] = None if changed or given else _result(returned, args)
        return returned


def _places(index: Tensor | None) -> list[Tensor | None]:
    """An index as places instead of a mask: the mask is real, and how many places it has is known."""
    return [index] if index is None or index.dtype != torch.bool else list(index.nonzero(as_tuple=True))


def _signature(argument: Any) -> Hashable:
    """All of an argument that the shape of a result can depend on."""
    if isinstance(argument, Tensor):
        strides, offset = argument.stride(), argument.storage_offset()
        return (type(argument), argument.dtype, argument.shape, strides, offset)
    if isinstance(argument, (list, tuple)):
        return tuple([_signature(part) for part in argument])
    return (type(argument), argument)  # 1, 1.0 and True are equal


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor that is returned: a view of the argument at `of`, or, with `of` None, a new one."""

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
    """What an operation returned: a tensor, or several."""

    one: bool
    parts: tuple[_Part, ...]

    def again(self, fake: Fake, args: Any) -> Any:
        parts = tuple(part.again(fake, args) for part in self.parts)
        return parts[0] if self.one else parts


def _result(returned: Any, args: Any) -> _Result | None:
    """The result as something to repeat; None where it is more than tensors."""
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

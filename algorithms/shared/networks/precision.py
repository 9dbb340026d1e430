"""Matrix products in bfloat16 over weights in float32: torch's autocast, around every pass of a network."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn


def products_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """Within the context products are of that type; a trained weight is cast to it once.

    Gradients must not be asked for within it where something was computed without them: a weight cast then has none.
    """
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def compute_in(dtype: torch.dtype, network: nn.Module) -> None:
    """Let every pass of the network, and of the network within it, have products of that type, whoever asks for it."""
    for part in {network, getattr(network, "base_model", network)}:
        passes = _Passes(dtype)
        part.register_forward_pre_hook(passes.enter)
        part.register_forward_hook(passes.leave, always_call=True)


class _Passes:
    """Opens the context when a pass begins and closes it when it ends; hooks, unlike a wrapped `forward`, are copied
    with the network.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._open: list[AbstractContextManager[Any]] = []

    def enter(self, network: nn.Module, inputs: Any) -> None:
        """Before a pass."""
        context = products_in(self._dtype, next(network.parameters()).device)
        context.__enter__()
        self._open.append(context)

    def leave(self, network: nn.Module, inputs: Any, output: Any) -> None:
        """After it, whether it came to its end or not."""
        self._open.pop().__exit__(None, None, None)

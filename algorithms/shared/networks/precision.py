"""Matrix products in bfloat16 over weights in float32: torch's autocast, around every pass of a network."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ppo_vs_grpo.algorithms.shared.networks.likelihood import trunk_of


def products_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """A context in which products have that type; a trained weight is cast to it once.

    Do not ask for gradients in a context that has already computed something without them: a weight that was cast then
    has no gradient.
    """
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def compute_in(dtype: torch.dtype, network: PreTrainedModel) -> None:
    """Give every pass of the network, and of the base model within it, products of that type."""
    for part in {network, trunk_of(network) or network}:
        passes = _Passes(dtype)
        part.register_forward_pre_hook(passes.enter)
        part.register_forward_hook(passes.leave, always_call=True)


class _Passes:
    """Opens the context when a pass begins and closes it when the pass ends. Hooks are copied with the network; a
    wrapped `forward` would not be.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._open: list[AbstractContextManager[Any]] = []

    def enter(self, network: nn.Module, inputs: Any) -> None:
        """Open the context before a pass."""
        context = products_in(self._dtype, next(network.parameters()).device)
        context.__enter__()
        self._open.append(context)

    def leave(self, network: nn.Module, inputs: Any, output: Any) -> None:
        """Close the context after a pass, even one that failed."""
        self._open.pop().__exit__(None, None, None)

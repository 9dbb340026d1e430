"""A key/value cache that is written in place, for rollouts whose longest length is known."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


class PreallocatedLayer(DynamicLayer):
    """A full-attention layer with room for `capacity` tokens from the start.

    The library's own layer copies all it holds for every token (`torch.cat`); this one copies only the new
    token. Buffers are (rows, heads, capacity, head size); callers see the part in use.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.capacity = capacity
        self.length = 0
        self.keys: Tensor = torch.empty(0)
        self.values: Tensor = torch.empty(0)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new tokens and return all keys and values so far."""
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys = self._room(key_states)
            self.values = self._room(value_states)
            self.is_initialized = True
        end = self.length + key_states.shape[-2]
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self.length

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Make row i what row `beam_idx[i]` was; an index may repeat or leave rows out."""
        self.keys = self._picked(self.keys, beam_idx)
        self.values = self._picked(self.values, beam_idx)

    def _room(self, states: Tensor) -> Tensor:
        rows, heads, _, size = states.shape
        return torch.empty((rows, heads, self.capacity, size), dtype=states.dtype, device=states.device)

    def _picked(self, buffer: Tensor, index: Tensor) -> Tensor:
        _, heads, _, size = buffer.shape
        room = torch.empty((len(index), heads, self.capacity, size), dtype=buffer.dtype, device=buffer.device)
        room[:, :, : self.length] = buffer[:, :, : self.length].index_select(0, index)
        return room


def rollout_cache(config: PretrainedConfig, capacity: int) -> Cache:
    """The model's own cache with every plain full-attention layer preallocated.

    Other kinds (sliding windows, linear attention) keep their own layer, which is right if slower.
    """
    cache = DynamicCache(config=config)
    cache.layers = [PreallocatedLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def reorder(cache: Cache, index: Tensor) -> None:
    """Make row i of every layer what row `index[i]` was; an index may repeat or leave rows out."""
    for layer in cache.layers:
        layer.reorder_cache(index.long())  # type: ignore[arg-type]  # typed as LongTensor, which no function returns

"""Key/value caches that are written in place, for rollouts with a known maximum length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, StaticLayer


class PreallocatedLayer(DynamicLayer):
    """A full-attention layer with room for `capacity` tokens from the start.

    The library's own layer copies everything for every token (`torch.cat`); this one copies only the new
    token. Buffers are (rows, heads, capacity, head size); callers see the part in use. Keys are held in the values'
    type: if products are bfloat16, rotated keys arrive in float32, and attention would cast all of them at each step.
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
            self.dtype, self.device = value_states.dtype, value_states.device
            self.keys, self.values = self._room(value_states), self._room(value_states)
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
        """Move row `beam_idx[i]` to row i; the index may repeat or omit rows."""
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


class PlaceLayer(StaticLayer):
    """A full-attention layer of places, in which each row writes at its own column.

    So a row can start where another one ended. Buffers are (places, heads, capacity, head size). `column_b`, shared by
    all layers, is the column of each row's next token. Callers see the first `reach` columns. Only the attention mask
    hides the columns that a row may not see: to the causal mask, every query is the last token.
    """

    def __init__(self, read: PreallocatedLayer, column_b: Tensor, capacity: int) -> None:
        super().__init__(max_cache_len=capacity)
        self.dtype, self.device, self.column_b = read.dtype, read.device, column_b
        self.capacity = self.reach = capacity
        self.keys: Tensor = self._places(read.keys)
        self.values: Tensor = self._places(read.values)
        self.is_initialized = True
        if read.keys.is_cuda:  # a compiled step writes here, and its graph holds the addresses
            for kept in (self.keys, self.values, column_b):
                torch._dynamo.mark_static_address(kept)

    def start(self, place_b: Tensor, read: PreallocatedLayer, prompt_b: Tensor) -> None:
        """Copy the states of prompts into places."""
        self.keys[place_b, :, : read.length] = read.keys[prompt_b, :, : read.length]
        self.values[place_b, :, : read.length] = read.values[prompt_b, :, : read.length]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write one new token per row and return all keys and values in reach."""
        row_b = torch.arange(len(self.column_b), device=self.column_b.device)
        self.keys[row_b, :, self.column_b] = key_states[:, :, 0].to(self.dtype)
        self.values[row_b, :, self.column_b] = value_states[:, :, 0]
        return self.keys[:, :, : self.reach], self.values[:, :, : self.reach]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """The columns in reach, from the first."""
        return self.reach, 0

    def get_seq_length(self) -> int:
        """Tokens before the query, for the causal mask."""
        return self.reach - 1

    def _places(self, like: Tensor) -> Tensor:
        _, heads, _, size = like.shape
        shape = (len(self.column_b), heads, self.capacity, size)
        # Masked values are multiplied by 0, so they must not be NaN.
        return torch.zeros(shape, dtype=like.dtype, device=like.device)


def rollout_cache(config: PretrainedConfig, capacity: int) -> Cache:
    """The model's own cache, with every plain full-attention layer preallocated.

    Other kinds (sliding windows, linear attention) keep the library's layer, which is correct but slower.
    """
    cache = DynamicCache(config=config)
    cache.layers = [PreallocatedLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def place_cache(read: Cache, places: int, capacity: int) -> Cache:
    """A cache of `places` places with room for `capacity` tokens each, to take the states of prompts that were read."""
    layers: Any = read.layers  # typed as layers of every kind
    column_b = torch.zeros(places, dtype=torch.long, device=layers[0].device)
    return Cache(layers=[PlaceLayer(layer, column_b, capacity) for layer in layers])


def reorder(cache: Cache, index: Tensor) -> None:
    """Move row `index[i]` of every layer to row i; the index may repeat or omit rows."""
    for layer in cache.layers:
        layer.reorder_cache(index.long())  # type: ignore[arg-type]  # typed as LongTensor, which no function returns

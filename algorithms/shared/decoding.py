"""The state of a batch that is being decoded, in two forms: its shapes follow the work, or are fixed.

On a CPU, time is work: finished rows leave the batch, and attention reads the tokens that are there. On an accelerator
a small model's time is the launching of kernels: the step is compiled into one graph, which needs the same shapes and
addresses every time. Both give the same completions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, StaticCache, StaticLayer

from ppo_vs_grpo.algorithms.shared.cache import reorder, rollout_cache
from ppo_vs_grpo.algorithms.shared.types import Prompts


def decoder(
    model: PreTrainedModel, prompts: Prompts, group_B: Tensor, pad: int, new_tokens: int, static: bool | None
) -> GrowingDecoder:
    """The decoder that suits the model's device, or the one that is asked for."""
    fixed = static if static is not None else group_B.device.type == "cuda"
    kind = StaticDecoder if fixed and takes_static_cache(model) else GrowingDecoder
    return kind(model, prompts, group_B, pad, new_tokens)


def takes_static_cache(model: PreTrainedModel) -> bool:
    """Whether every layer keeps plain keys and values of all tokens."""
    return all(type(layer) is StaticLayer for layer in StaticCache(config=model.config, max_cache_len=1).layers)


class GrowingDecoder:
    """A batch being decoded: cache, positions, and which columns are prompt or padding. Finished rows can leave it."""

    can_drop_rows = True

    def __init__(self, model: PreTrainedModel, prompts: Prompts, group_B: Tensor, pad: int, new_tokens: int) -> None:
        first = {ids: i for i, ids in reversed(list(enumerate(prompts.ids)))}
        self._distinct = list(first)
        slot = {ids: i for i, ids in enumerate(self._distinct)}
        self._slot_B = torch.tensor([slot[ids] for ids in prompts.ids], device=group_B.device)[group_B]
        self._model = model
        self._pad = pad
        self._width = max(len(ids) for ids in self._distinct)
        self._padded = any(len(ids) < self._width for ids in self._distinct)
        self._new_tokens = new_tokens
        self._cache: Cache = rollout_cache(model.config, self._width + new_tokens)
        self._position_b1 = torch.empty(0)
        self._columns_bC = torch.empty(0)
        self._used = self._width
        self._run: Forward = model
        self._accepts = inspect.signature(model.forward).parameters.keys()

    def prefill(self) -> Tensor:
        """Read each distinct prompt once, then give every row its prompt's state: logits (B, V)."""
        device, width = self._slot_B.device, self._width
        rows = [[self._pad] * (width - len(ids)) + list(ids) for ids in self._distinct]
        lengths = torch.tensor([len(ids) for ids in self._distinct], device=device)
        columns = torch.arange(width + self._new_tokens, device=device)
        columns_uC = (columns >= width - lengths[:, None]).long()
        positions_uS = (columns_uC[:, :width].cumsum(1) - 1).clamp(min=0)
        logits = self._forward(torch.tensor(rows, device=device), columns_uC[:, :width], positions_uS)
        self._columns_bC = columns_uC[self._slot_B]
        self._position_b1 = lengths[self._slot_B, None]
        reorder(self._cache, self._slot_B)
        return logits[self._slot_B]

    def keep(self, index: Tensor) -> None:
        """Go on with the rows at `index` only."""
        reorder(self._cache, index)
        self._columns_bC = self._columns_bC[index]
        self._position_b1 = self._position_b1[index]

    def step(self, token_b: Tensor) -> Tensor:
        """Append a token to every row: logits of the next one, (b, V)."""
        self._used += 1
        logits = self._forward(token_b[:, None], self._columns_bC[:, : self._used], self._position_b1)
        self._position_b1 = self._position_b1 + 1
        return logits

    def _forward(self, ids: Tensor, attends: Tensor, positions: Tensor) -> Tensor:
        # A model without positions (ALiBi) takes none, and reads them off the mask.
        optional = {"position_ids": positions, "logits_to_keep": 1}
        output = self._run(
            input_ids=ids,
            attention_mask=attends if self._padded else None,
            past_key_values=self._cache,
            use_cache=True,
            **{name: value for name, value in optional.items() if name in self._accepts},
        )
        logits: Tensor = output.logits[:, -1]
        return logits


class StaticDecoder(GrowingDecoder):
    """All rows to the end, and room for all tokens from the start; on CUDA the step is one compiled graph.

    The room stays with the model from one rollout to the next of the same shape: a graph knows its addresses.
    """

    can_drop_rows = False

    def prefill(self) -> Tensor:
        """Read each distinct prompt once, then copy its state into every row's place: logits (B, V)."""
        logits = super().prefill()
        grown, width = self._cache, self._width
        self._cache, self._run = _room(self._model, len(self._slot_B), width + self._new_tokens)
        pairs: Any = zip(self._cache.layers, grown.layers, strict=True)  # typed as layers of every kind
        for fixed, layer in pairs:
            keys, values = layer.keys[:, :, :width], layer.values[:, :, :width]
            if not fixed.is_initialized:
                fixed.lazy_initialization(keys, values)
            fixed.keys[:, :, :width] = keys
            fixed.values[:, :, :width] = values
            fixed.cumulative_length.fill_(width)
        return logits

    def step(self, token_b: Tensor) -> Tensor:
        """Append a token to every row: logits of the next one, (b, V)."""
        # Columns that are not written yet lie after the query, where the causal mask hides them.
        self._padded = True
        logits = self._forward(token_b[:, None], self._columns_bC, self._position_b1)
        self._position_b1 = self._position_b1 + 1
        return logits.clone()  # the next replay of the graph writes over it


Forward = Callable[..., Any]
_rooms: WeakKeyDictionary[PreTrainedModel, tuple[tuple[int, int], StaticCache, Forward]] = WeakKeyDictionary()
"""A model's last room, by rows and tokens, and its step."""


def _room(model: PreTrainedModel, rows: int, tokens: int) -> tuple[StaticCache, Forward]:
    """The room that the model has, or another where the shape is another."""
    if (kept := _rooms.get(model)) is None or kept[0] != (rows, tokens):
        step: Forward = model
        if model.device.type == "cuda":
            step = torch.compile(model, mode="reduce-overhead", dynamic=False)
        kept = ((rows, tokens), StaticCache(config=model.config, max_cache_len=tokens), step)
        _rooms[model] = kept
    return kept[1], kept[2]

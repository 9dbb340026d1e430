"""The state of a batch that is being decoded, in two forms: its shapes follow the work, or are fixed.

On a CPU, time is work: finished rows leave the batch, and attention reads the tokens that are there. On an accelerator
a small model's time is the launching of kernels: the step is compiled into one graph, which needs the same shapes and
addresses every time. Both give the same completions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, StaticCache, StaticLayer

from ppo_vs_grpo.algorithms.shared.cache import reorder, rollout_cache
from ppo_vs_grpo.algorithms.shared.types import Prompts

Forward = Callable[..., Any]


@dataclass(slots=True)
class Room:
    """A static decoder's cache and step, kept from one rollout to the next of the same shape.

    A compiled graph knows its addresses, so another cache would mean another graph. Only the last shape's is kept.
    """

    shape: tuple[int, int] = (0, 0)
    cache: StaticCache | None = None
    forward: Forward | None = None

    def take(self, model: PreTrainedModel, rows: int, tokens: int) -> tuple[StaticCache, Forward]:
        """The cache for so many rows and tokens, and the step; compiled on CUDA."""
        if self.cache is None or self.shape != (rows, tokens):
            self.shape, self.cache = (rows, tokens), StaticCache(config=model.config, max_cache_len=tokens)
        if self.forward is None:
            cuda = model.device.type == "cuda"
            self.forward = torch.compile(model, mode="reduce-overhead", dynamic=False) if cuda else model
        return self.cache, self.forward


def decoder(
    model: PreTrainedModel,
    prompts: Prompts,
    group_B: Tensor,
    pad: int,
    new_tokens: int,
    static: bool | None,
    room: Room,
) -> GrowingDecoder:
    """The decoder that suits the model's device, or the one that is asked for."""
    fixed = static if static is not None else group_B.device.type == "cuda"
    if fixed and takes_static_cache(model):
        return StaticDecoder(model, prompts, group_B, pad, new_tokens, room)
    return GrowingDecoder(model, prompts, group_B, pad, new_tokens)


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
    """All rows to the end, and room for all tokens from the start; on CUDA the step is one compiled graph."""

    can_drop_rows = False

    def __init__(
        self, model: PreTrainedModel, prompts: Prompts, group_B: Tensor, pad: int, new_tokens: int, room: Room
    ) -> None:
        super().__init__(model, prompts, group_B, pad, new_tokens)
        self._room = room

    def prefill(self) -> Tensor:
        """Read each distinct prompt once, then copy its state into every row's place: logits (B, V)."""
        logits = super().prefill()
        grown, width = self._cache, self._width
        self._cache, self._run = self._room.take(self._model, len(self._slot_B), width + self._new_tokens)
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
        logits = self._forward(token_b[:, None], self._columns_bC, self._position_b1)
        self._position_b1 = self._position_b1 + 1
        return logits.clone()  # the next replay of the graph writes over it

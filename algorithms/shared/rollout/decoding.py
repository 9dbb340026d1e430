"""The state of a batch that is being decoded. Either all rows start together, or each has a place of its own.

Rows that start together write the same column. Finished ones leave, and attention reads only tokens that exist.
With places, a waiting row takes the place of a finished one: a batch larger than the memory is decoded without waiting
for its longest rows. Places whose shapes never change also suit an accelerator. A small model spends its time there on
launching kernels, and a step compiled into one graph needs the same shapes and addresses every time. All forms give the
same completions.
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

from ppo_vs_grpo.algorithms.shared.rollout.cache import PlaceLayer, place_cache, reorder, rollout_cache
from ppo_vs_grpo.algorithms.shared.types import Prompts

Forward = Callable[..., Any]
BY_COLUMN = ("gpt_neo",)
"""Types with local attention that counts columns, although their cache says nothing of a window."""


@dataclass(slots=True)
class Room:
    """The cache and the step of decoding with fixed shapes, kept for the next rollout of the same shape.

    A compiled graph holds its addresses, so another cache would need another graph. Only the last shape's is kept.
    """

    shape: tuple[int, int] = (0, 0)
    cache: Cache | None = None
    forward: Forward | None = None

    def take(self, model: PreTrainedModel, read: Cache, places: int, capacity: int) -> tuple[Cache, Forward]:
        """The cache of `places` places for what has been read, and the step, which is compiled on CUDA."""
        if self.cache is None or self.shape != (places, capacity):
            self.shape, self.cache = (places, capacity), place_cache(read, places, capacity)
        if self.forward is None:
            cuda = model.device.type == "cuda"
            self.forward = torch.compile(model, mode="reduce-overhead", dynamic=False) if cuda else model
        return self.cache, self.forward


@dataclass(frozen=True, slots=True)
class Lot:
    """Rows to decode. Row i continues prompt `group_B[i]` by at most `new_tokens`; `pad` fills up short prompts."""

    prompts: Prompts
    group_B: Tensor
    pad: int
    new_tokens: int


def decoder(model: PreTrainedModel, lot: Lot, places: int, static: bool | None, room: Room) -> GrowingDecoder:
    """The decoder for this model, device and number of places. `static` True or False overrides the device's choice."""
    fixed = static if static is not None else lot.group_B.device.type == "cuda"
    if (fixed or places < len(lot.group_B)) and takes_places(model):
        return PlacesDecoder(model, lot, places, room if fixed else None)
    return GrowingDecoder(model, lot)


def takes_places(model: PreTrainedModel) -> bool:
    """Whether every layer keeps plain keys and values of all tokens, and sees them by their mask alone."""
    if model.config.model_type in BY_COLUMN:
        return False
    return all(type(layer) is StaticLayer for layer in StaticCache(config=model.config, max_cache_len=1).layers)


class GrowingDecoder:
    """A batch being decoded: cache, positions, and the columns that are not padding. Finished rows can leave."""

    can_drop_rows = True

    def __init__(self, model: PreTrainedModel, lot: Lot) -> None:
        asked = [lot.prompts.ids[group] for group in lot.group_B.tolist()]
        self._distinct = list(dict.fromkeys(asked))
        number = {ids: i for i, ids in enumerate(self._distinct)}
        self._prompt_B = torch.tensor([number[ids] for ids in asked], device=lot.group_B.device)
        self._model = model
        self._pad = lot.pad
        self._width = max(len(ids) for ids in self._distinct)
        self._padded = any(len(ids) < self._width for ids in self._distinct)
        self._capacity = self._width + lot.new_tokens
        self._cache: Cache = rollout_cache(model.config, self._capacity)
        self._position_b1 = torch.empty(0)
        self._columns_bC = torch.empty(0)
        self._used = self._width
        self._run: Forward = model
        self._accepts = inspect.signature(model.forward).parameters.keys()

    def prefill(self) -> Tensor:
        """Read each distinct prompt once, then give every row its prompt's state: logits (B, V)."""
        logits_uV, lengths_u, columns_uC = self._read_prompts()
        self._columns_bC = columns_uC[self._prompt_B]
        self._position_b1 = lengths_u[self._prompt_B, None]
        reorder(self._cache, self._prompt_B)
        return logits_uV[self._prompt_B]

    def _read_prompts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (u, V), length (u,) and mask of columns that are not padding (u, C) of each distinct prompt."""
        device, width = self._prompt_B.device, self._width
        rows = [[self._pad] * (width - len(ids)) + list(ids) for ids in self._distinct]
        lengths_u = torch.tensor([len(ids) for ids in self._distinct], device=device)
        columns = torch.arange(self._capacity, device=device)
        columns_uC = (columns >= width - lengths_u[:, None]).long()
        positions_uS = (columns_uC[:, :width].cumsum(1) - 1).clamp(min=0)
        logits_uV = self._forward(torch.tensor(rows, device=device), columns_uC[:, :width], positions_uS)
        return logits_uV, lengths_u, columns_uC

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
        # A model without positions (ALiBi) takes none; it derives them from the mask.
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


class PlacesDecoder(GrowingDecoder):
    """A batch of `places` rows, each in its own place from its prompt's end on. Waiting rows take free places.

    With a `room` no shape ever changes, and on CUDA the step is one compiled graph.
    """

    def __init__(self, model: PreTrainedModel, lot: Lot, places: int, room: Room | None) -> None:
        super().__init__(model, lot)
        self.can_drop_rows = room is None
        self._places, self._room = places, room
        self._prompts: Any = rollout_cache(model.config, self._width)  # typed as layers of every kind
        self._cache = self._prompts

    def prefill(self) -> Tensor:
        """Read each distinct prompt once, then give the first rows their places: logits (b, V)."""
        self._logits_uV, lengths_u, columns_uC = self._read_prompts()
        self._padded = True  # places differ in length even if the prompts do not
        columns_uC[:, self._width :] = 0
        self._columns_uC, self._before_u = columns_uC, self._width - lengths_u
        if self._room is None:
            self._cache = place_cache(self._prompts, self._places, self._capacity)
        else:
            self._cache, self._run = self._room.take(self._model, self._prompts, self._places, self._capacity)
        self._columns_bC = torch.zeros_like(columns_uC[:1]).repeat(self._places, 1)
        self._before_b = torch.zeros_like(self._columns_bC[:, 0])
        self._column_b: Tensor = self._layers[0].column_b
        first_b = torch.arange(self._places, device=columns_uC.device)
        return self.start(first_b, first_b)

    def start(self, place_b: Tensor, row_b: Tensor) -> Tensor:
        """Start rows in places: logits of their first tokens, (b, V)."""
        prompt_b = self._prompt_B[row_b]
        for layer, read in zip(self._layers, self._prompts.layers, strict=True):
            layer.start(place_b, read, prompt_b)
        self._columns_bC[place_b] = self._columns_uC[prompt_b]
        self._before_b[place_b] = self._before_u[prompt_b]
        self._column_b[place_b] = self._width
        return self._logits_uV[prompt_b]

    def keep(self, index: Tensor) -> None:
        """Go on with the rows at `index` only."""
        reorder(self._cache, index)
        self._columns_bC, self._before_b = self._columns_bC[index], self._before_b[index]
        self._column_b = self._column_b[index]
        for layer in self._layers:
            layer.column_b = self._column_b

    def step(self, token_b: Tensor) -> Tensor:
        """Append a token to every row: logits of the next one, (b, V)."""
        row_b = torch.arange(len(token_b), device=token_b.device)
        self._columns_bC[row_b, self._column_b] = 1
        reach = int(self._column_b.max()) + 1 if self._room is None else self._capacity
        for layer in self._layers:
            layer.reach = reach
        position_b1 = (self._column_b - self._before_b)[:, None]
        logits = self._forward(token_b[:, None], self._columns_bC[:, :reach], position_b1)
        self._column_b.add_(1).clamp_(max=self._capacity - 1)  # finished rows stay until their place is taken
        return logits if self._room is None else logits.clone()  # the graph's next replay overwrites it

    @property
    def _layers(self) -> list[PlaceLayer]:
        layers: Any = self._cache.layers
        return list(layers)

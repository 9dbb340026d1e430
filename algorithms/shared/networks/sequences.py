"""Rows as the update sees them: prompt and completion joined, cut into micro-batches, packed for a network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ppo_vs_grpo.algorithms.shared.networks.attention import Rows, inputs, reads_packed, rows_of
from ppo_vs_grpo.algorithms.shared.types import Rollouts


@dataclass(frozen=True, slots=True)
class Sequences:
    """B right-padded rows of prompt and completion. No row needs an attention mask.

    Under a causal mask, no token sees the padding on its right. Positions count from 0. Rows of a group share a prompt.
    """

    ids_BL: Tensor
    prompt_tokens_B: Tensor
    completion_tokens_B: Tensor
    group_B: Tensor
    width_tokens: int
    """T of the rollouts these rows come from."""
    packed: bool = True
    """Whether the networks read packed tokens, so that prompts count once and padding not at all."""

    @property
    def tokens_B(self) -> Tensor:
        """Tokens of each row."""
        return self.prompt_tokens_B + self.completion_tokens_B

    def packed_tokens(self, rows: Tensor) -> int:
        """Tokens of these rows, the prompt of a group once."""
        prompts = dict(zip(self.group_B[rows].tolist(), self.prompt_tokens_B[rows].tolist(), strict=True))
        return sum(prompts.values()) + int(self.completion_tokens_B[rows].sum())


@dataclass(frozen=True, slots=True)
class Packed:
    """Some rows as one forward pass needs them: their M tokens side by side, each group's prompt once.

    `reads_N` indexes the tokens whose output scores the N completion tokens at `scored_N`: the token before each.
    `mask_bT` puts the N results back into rows. For networks that need rows, `index_bL` is the index among the M
    tokens of each cell of right-padded rows, and `cell_M` is one cell of each token, among b * L.
    """

    ids_M: Tensor
    cell_M: Tensor
    index_bL: Tensor
    rows: Rows
    reads_N: Tensor
    scored_N: Tensor
    mask_bT: Tensor

    @property
    def targets_N(self) -> Tensor:
        """The completion tokens."""
        return self.ids_M[self.scored_N]

    def one_later(self) -> Packed:
        """The same rows, read at each completion token instead of before it."""
        return replace(self, reads_N=self.scored_N)

    def asked_of(self, network: PreTrainedModel) -> tuple[dict[str, Any], Tensor]:
        """Arguments for the network, and the places in its flattened outputs of `reads_N`."""
        if reads_packed(network):
            return inputs(self.ids_M, self.cell_M % self.index_bL.shape[1], self.rows), self.reads_N
        return {"input_ids": self.ids_M[self.index_bL]}, self.cell_M[self.reads_N]

    def unflatten(self, values_N: Tensor) -> Tensor:
        """Put one value per completion token into (b, T), 0 elsewhere; gradients flow."""
        empty_bT = torch.zeros(self.mask_bT.shape, dtype=values_N.dtype, device=values_N.device)
        return empty_bT.masked_scatter(self.mask_bT, values_N)


def join(rollouts: Rollouts, pad: int, packed: bool = True) -> Sequences:
    """Join every row's prompt and completion. `packed`: whether the networks read packed tokens."""
    device = rollouts.completion_BT.device
    lengths = torch.tensor([len(ids) for ids in rollouts.prompts.ids], device=device)
    prompt_tokens_B = lengths[rollouts.group_B]
    completion_tokens_B = rollouts.mask_BT.sum(1)
    width = int((prompt_tokens_B + completion_tokens_B).max())
    ids_BL = torch.full((len(prompt_tokens_B), width), pad, dtype=torch.long, device=device)
    for row, group in enumerate(rollouts.group_B.tolist()):
        ids = rollouts.prompts.ids[group]
        tokens = int(completion_tokens_B[row])
        ids_BL[row, : len(ids)] = torch.tensor(ids, device=device)
        ids_BL[row, len(ids) : len(ids) + tokens] = rollouts.completion_BT[row, :tokens]
    return Sequences(ids_BL, prompt_tokens_B, completion_tokens_B, rollouts.group_B, rollouts.mask_BT.shape[1], packed)


def full_length(prompt_tokens: int, new_tokens: int, group_B: Tensor) -> Sequences:
    """Rows of full length, without ids, for `micro_batches`."""
    prompt_B, new_B = torch.full_like(group_B, prompt_tokens), torch.full_like(group_B, new_tokens)
    return Sequences(group_B.new_empty((len(group_B), 0)), prompt_B, new_B, group_B, new_tokens)


def pack(sequences: Sequences, index: Tensor) -> Packed:
    """Cut out the rows at `index` for one forward pass. Rows of a group share a prompt."""
    starts_b1 = sequences.prompt_tokens_B[index, None]
    counts_b = sequences.completion_tokens_B[index]
    tokens_b = starts_b1[:, 0] + counts_b
    width, rows = int(tokens_b.max()), torch.arange(len(index), device=index.device)
    ids_bL = sequences.ids_BL[index, :width]
    groups_p, group_b = sequences.group_B[index].unique(return_inverse=True)
    first_p = torch.full_like(groups_p, len(index)).scatter_reduce(0, group_b, rows, "amin")
    first_b = first_p[group_b]  # the row whose prompt stands for that of its group

    at_L = torch.arange(width, device=index.device)
    prompt_bL = at_L < starts_b1
    kept_bL = (at_L < tokens_b[:, None]) & (~prompt_bL | (first_b == rows)[:, None])
    own_bL = (kept_bL.flatten().cumsum(0) - 1).view_as(kept_bL)
    index_bL = torch.where(prompt_bL, own_bL[first_b], own_bL)
    cell_M = kept_bL.flatten().nonzero()[:, 0]

    mask_bT = torch.arange(int(counts_b.max()), device=index.device) < counts_b[:, None]
    rows_N, offsets_N = mask_bT.nonzero(as_tuple=True)
    cells_N = rows_N * width + starts_b1[rows_N, 0] + offsets_N
    reads_N, scored_N = index_bL.flatten()[cells_N - 1], index_bL.flatten()[cells_N]
    laid_out = rows_of(index_bL, kept_bL, tokens_b)
    return Packed(ids_bL.flatten()[cell_M], cell_M, index_bL, laid_out, reads_N, scored_N, mask_bT)


def micro_batches(sequences: Sequences, rows: Tensor, budget_tokens: int) -> list[Tensor]:
    """Split rows into parts whose tokens are within the budget; a part has at least one row.

    Packed tokens are each prompt once and its completions; a group stays together if it fits. Otherwise tokens are
    rows times the longest row, and rows of similar length stay together.
    """
    if not sequences.packed:
        return _by_length(sequences.tokens_B, rows, budget_tokens)
    order = rows[torch.argsort(sequences.group_B[rows], stable=True)]
    parts: list[list[int]] = []
    used = budget_tokens
    for piece, tokens in _pieces(sequences, order, budget_tokens):
        if used + tokens > budget_tokens:
            parts.append([])
            used = 0
        parts[-1] += piece
        used += tokens
    return [torch.tensor(part, device=rows.device) for part in parts]


def _pieces(sequences: Sequences, order: Tensor, budget_tokens: int) -> Iterator[tuple[list[int], int]]:
    """Each group's rows, and the tokens of its prompt and completions; a group beyond the budget in similar pieces."""
    columns = (sequences.group_B, sequences.prompt_tokens_B, sequences.completion_tokens_B)
    listed = zip(order.tolist(), *(column[order].tolist() for column in columns), strict=True)
    for _, rows in itertools.groupby(listed, key=lambda row: row[1]):
        group = list(rows)
        prompt, total = group[0][2], sum(completion for *_, completion in group)
        room = max(1, budget_tokens - prompt)
        limit = -(-total // -(-total // room))
        piece: list[int] = []
        tokens = 0
        for row, *_, completion in group:
            if piece and tokens + completion > limit:
                yield piece, prompt + tokens
                piece, tokens = [], 0
            piece.append(row)
            tokens += completion
        yield piece, prompt + tokens


def _by_length(tokens_B: Tensor, rows: Tensor, budget_tokens: int) -> list[Tensor]:
    order = rows[torch.argsort(tokens_B[rows], descending=True, stable=True)]
    parts, at = [], 0
    while at < len(order):
        count = max(1, budget_tokens // int(tokens_B[order[at]]))
        parts.append(order[at : at + count])
        at += count
    return parts


def micro_batches_by_half(sequences: Sequences, rows: Tensor, budget_tokens: int) -> tuple[list[Tensor], list[Tensor]]:
    """Micro-batches of one half of the prompt groups and of the other, whose gradients are independent.

    If halves would need more passes than all rows together, there are none: the first list has all micro-batches.
    """
    whole, group_B = micro_batches(sequences, rows, budget_tokens), sequences.group_B[rows]
    groups = group_B.unique()
    first_B = torch.isin(group_B, groups[: len(groups) // 2])
    one, other = (micro_batches(sequences, rows[half_B], budget_tokens) for half_B in (first_B, ~first_B))
    split = one and other and len(one) + len(other) <= len(whole)
    return (one, other) if split else (whole, [])


def over_rows(sequences: Sequences, budget_tokens: int, read: Callable[[Packed], Tensor]) -> Tensor:
    """Apply `read` (micro-batch -> (b, T)) to every row without gradient: (B, T)."""
    out_BT = torch.zeros((len(sequences.ids_BL), sequences.width_tokens), device=sequences.ids_BL.device)
    with torch.no_grad():
        for index in micro_batches(sequences, torch.arange(len(out_BT), device=out_BT.device), budget_tokens):
            values_bT = read(pack(sequences, index))
            out_BT[index, : values_bT.shape[1]] = values_bT.float()
    return out_BT

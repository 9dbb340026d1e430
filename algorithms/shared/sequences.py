"""Rows as the update sees them: prompt and completion joined, sorted by length, cut into micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ppo_vs_grpo.algorithms.shared.types import Rollouts


@dataclass(frozen=True, slots=True)
class Sequences:
    """B rows of prompt then completion, right-padded, so that no row needs an attention mask.

    Under a causal mask, padding on the right cannot reach a token on its left; positions count from 0.
    """

    ids_BL: Tensor
    prompt_tokens_B: Tensor
    completion_tokens_B: Tensor
    group_B: Tensor
    width_tokens: int
    """T of the rollouts these rows come from."""

    @property
    def tokens_B(self) -> Tensor:
        """Tokens of each row."""
        return self.prompt_tokens_B + self.completion_tokens_B


@dataclass(frozen=True, slots=True)
class Packed:
    """Some rows as one forward pass needs them.

    `reads_N` indexes the flattened (rows * L) positions whose output scores `targets_N`: the position
    before each completion token. `mask_bT` puts the N results back into rows.
    """

    ids_bL: Tensor
    reads_N: Tensor
    targets_N: Tensor
    mask_bT: Tensor

    def one_later(self) -> Packed:
        """The same rows, read at each completion token instead of before it: what follows it."""
        return replace(self, reads_N=self.reads_N + 1)

    def unflatten(self, values_N: Tensor) -> Tensor:
        """Put one value per completion token into (b, T), 0 elsewhere; gradients flow."""
        empty_bT = torch.zeros(self.mask_bT.shape, dtype=values_N.dtype, device=values_N.device)
        return empty_bT.masked_scatter(self.mask_bT, values_N)


def join(rollouts: Rollouts, pad: int) -> Sequences:
    """Join every row's prompt and completion."""
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
    return Sequences(ids_BL, prompt_tokens_B, completion_tokens_B, rollouts.group_B, rollouts.mask_BT.shape[1])


def pack(sequences: Sequences, index: Tensor) -> Packed:
    """Cut the rows at `index` out for one forward pass, no wider than the longest of them."""
    starts_b = sequences.prompt_tokens_B[index]
    counts_b = sequences.completion_tokens_B[index]
    width, tokens = int((starts_b + counts_b).max()), int(counts_b.max())
    ids_bL = sequences.ids_BL[index, :width]
    mask_bT = torch.arange(tokens, device=index.device) < counts_b[:, None]
    rows_N, offsets_N = mask_bT.nonzero(as_tuple=True)
    targets_N = rows_N * width + starts_b[rows_N] + offsets_N
    return Packed(ids_bL, targets_N - 1, ids_bL.reshape(-1)[targets_N], mask_bT)


def micro_batches(tokens_B: Tensor, budget_tokens: int) -> list[Tensor]:
    """Split rows into groups of similar length: rows * longest row <= budget, but at least one row each."""
    order = torch.argsort(tokens_B, descending=True, stable=True)
    groups, at = [], 0
    while at < len(order):
        rows = max(1, budget_tokens // int(tokens_B[order[at]]))
        groups.append(order[at : at + rows])
        at += rows
    return groups


def micro_batches_by_half(tokens_B: Tensor, group_B: Tensor, budget_tokens: int) -> tuple[list[Tensor], list[Tensor]]:
    """Micro-batches of one half of the prompt groups and of the other, so that their gradients are independent.

    All are in the first list where that would take more passes than the rows need together: it is free or not made.
    """
    whole, groups = micro_batches(tokens_B, budget_tokens), group_B.unique()
    first_B = torch.isin(group_B, groups[: len(groups) // 2])
    halves = [half_B.nonzero()[:, 0] for half_B in (first_B, ~first_B)]
    one, other = ([rows[part] for part in micro_batches(tokens_B[rows], budget_tokens)] for rows in halves)
    split = one and other and len(one) + len(other) <= len(whole)
    return (one, other) if split else (whole, [])


def over_rows(sequences: Sequences, budget_tokens: int, read: Callable[[Packed], Tensor]) -> Tensor:
    """Evaluate `read` (micro-batch -> (b, T)) on every row without gradient: (B, T)."""
    out_BT = torch.zeros((len(sequences.ids_BL), sequences.width_tokens), device=sequences.ids_BL.device)
    with torch.no_grad():
        for index in micro_batches(sequences.tokens_B, budget_tokens):
            values_bT = read(pack(sequences, index))
            out_BT[index, : values_bT.shape[1]] = values_bT.float()
    return out_BT

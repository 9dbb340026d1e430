"""Attention over packed tokens. The rest of a decoder works on one token at a time and sees no padding.

A network that reads packed tokens gets the tokens of many rows as one row of M, equal prompts once. The library's
attention call is the one place where tokens see each other: there they are laid out as rows, each with its prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "packed"
MODEL_TYPES = (
    "cohere", "gemma", "glm4", "gpt2", "gpt_neox", "granite", "helium", "llama", "mistral", "mixtral", "olmo", "olmo2",
    "opt", "persimmon", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "smollm3", "starcoder2",
)  # fmt: skip
"""Model types for which tests show that packing makes no difference. All others read padded rows: some of them claim to
take any attention, but do not pass on its arguments, or count positions themselves.
"""
BLOCK_FILLED = 0.75
"""Each row of a block has at least this share of its longest row's tokens. More blocks cost calls, padding its square.
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as attention needs them, in right-padded blocks of similar length: Z places in all.

    `index_Z` is the index among the M tokens of each place (any index at padding). `place_M` is one place of each
    token. Every row has its prompt's tokens, so a prompt's token has several places, all with the same result.
    """

    index_Z: Tensor
    place_M: Tensor
    blocks: tuple[tuple[int, int], ...]
    """Rows and tokens of each block."""


def rows_of(index_bL: Tensor, kept_bL: Tensor, tokens_b: Tensor) -> Rows:
    """Lay rows out. `index_bL` is the packed token of each cell, `kept_bL` marks the cells that were packed, `tokens_b`
    is each row's length.
    """
    order = torch.argsort(tokens_b, descending=True, stable=True)
    blocks: list[tuple[int, int]] = []
    for tokens in tokens_b[order].tolist():
        if blocks and tokens >= BLOCK_FILLED * blocks[-1][1]:
            blocks[-1] = (blocks[-1][0] + 1, blocks[-1][1])
        else:
            blocks.append((1, tokens))
    parts = list(zip(order.split([rows for rows, _ in blocks]), blocks, strict=True))
    index_Z = torch.cat([index_bL[part, :tokens].flatten() for part, (_, tokens) in parts])
    kept_Z = torch.cat([kept_bL[part, :tokens].flatten() for part, (_, tokens) in parts])
    places = kept_Z.nonzero()[:, 0]
    place_M = torch.empty_like(places).scatter_(0, index_Z[places], places)
    return Rows(index_Z, place_M, tuple(blocks))


def read_packed(network: PreTrainedModel) -> bool:
    """Make the network read packed tokens in every later call, if it can. Returns whether it does.

    It can if it has a known type and torch's attention, and all its layers see all tokens (no sliding windows).
    """
    plain = network.config.model_type in MODEL_TYPES and network.config._attn_implementation == "sdpa"
    if plain and all(type(layer) is DynamicLayer for layer in DynamicCache(config=network.config).layers):
        network.set_attn_implementation(NAME)
    return reads_packed(network)


def reads_packed(network: PreTrainedModel) -> bool:
    """Whether the network reads packed tokens."""
    return bool(network.config._attn_implementation == NAME)


def inputs(ids_M: Tensor, positions_M: Tensor, rows: Rows) -> dict[str, Any]:
    """Arguments with which such a network reads M packed tokens; its outputs are one row, (1, M)."""
    # The mask has four dimensions so that the library does not build one of M x M. Nothing reads it.
    unread = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=ids_M.device)
    return {"input_ids": ids_M[None], "position_ids": positions_M[None], "attention_mask": unread, "rows": rows}


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """torch's fused attention, within `rows` if they are given: (1, heads, M, size) each to (1, M, heads, size)."""
    rows: Rows | None = options.pop("rows", None)
    if rows is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    blocks = zip(*(_laid_out(states, rows) for states in (query, key, value)), strict=True)
    done = [sdpa_attention_forward(module, q, k, v, None, **options)[0].flatten(0, 1) for q, k, v in blocks]
    joined_Zhe = torch.cat(done) if len(done) > 1 else done[0]
    return joined_Zhe.index_select(0, rows.place_M)[None], None


def _laid_out(states: Tensor, rows: Rows) -> list[Tensor]:
    """(1, heads, M, size) as blocks (rows, heads, tokens, size)."""
    laid_Zhe = states[0].transpose(0, 1).index_select(0, rows.index_Z)
    parts = laid_Zhe.split([count * tokens for count, tokens in rows.blocks])
    return [part.unflatten(0, block).transpose(1, 2) for part, block in zip(parts, rows.blocks, strict=True)]


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)

"""Prompts and completions of several lengths, and a model that reads them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from copying import PAD
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences

PROMPTS = ((3, 9, 4, 7, 5), (6, 3, 8), (7, 7, 4, 9, 3, 5))


COMPLETIONS = (4, 1, 7, 2, 8, 3, 5, 6, 1)
"""Of row i, whose prompt is PROMPTS[i % 3]."""


SIZES = {
    "vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
    "sliding_window": None,
}  # fmt: skip


OTHERS: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": 24, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 1},
    "opt": {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32},
    **{name: {**SIZES, "head_dim": 8} for name in ("gemma", "glm4", "helium", "qwen3")},
    "mixtral": {**SIZES, "num_local_experts": 4},
    "qwen2_moe": {**SIZES, "num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
}


def rows(completions: tuple[int, ...] = COMPLETIONS, packed: bool = True) -> Sequences:
    generator = torch.Generator().manual_seed(0)
    texts = [
        [*PROMPTS[i % 3], *torch.randint(2, 24, (tokens,), generator=generator).tolist()]
        for i, tokens in enumerate(completions)
    ]
    width = max(map(len, texts))
    return Sequences(
        torch.tensor([text + [PAD] * (width - len(text)) for text in texts]),
        torch.tensor([len(PROMPTS[i % 3]) for i in range(len(texts))]),
        torch.tensor(completions),
        torch.tensor([i % 3 for i in range(len(texts))]),
        max(completions),
        packed,
    )


def model(kind: str, **changes: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**OTHERS.get(kind, SIZES), **changes}))
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()

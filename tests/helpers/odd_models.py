"""Models with other positions and windows."""

from __future__ import annotations

import torch
from transformers import BloomConfig, BloomForCausalLM, MistralConfig, MistralForCausalLM

from copying import END


def sliding() -> MistralForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = MistralConfig(vocab_size=16, intermediate_size=32, sliding_window=4, initializer_range=0.3, **shape)
    return MistralForCausalLM(config).eval()


def alibi() -> BloomForCausalLM:
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=16, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.3, eos_token_id=END)
    return BloomForCausalLM(config).eval()

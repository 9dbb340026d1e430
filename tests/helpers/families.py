"""A small random model of each causal type, and what of the package works with it."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCABULARY, PAD, END = 32, 0, 1

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 48, "head_dim": 8, "max_position_embeddings": 64,
    "pad_token_id": PAD, "bos_token_id": END, "eos_token_id": END,
    # experts
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "n_group": 1, "topk_group": 1,
    # latent attention
    "q_lora_rank": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
}  # fmt: skip
"""What most types are called with. A type that does not know a key does not read it; `...` leaves a key out.
"""


def make(kind: str, **changes: Any) -> PreTrainedModel:
    """The type's small model; weights are large enough that logits differ."""
    torch.manual_seed(0)
    asked = {**SHAPE, **FAMILIES[kind], **changes}
    config = AutoConfig.for_model(kind, **{key: value for key, value in asked.items() if value is not ...})
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


LATENT = {"num_key_value_heads": 4, "head_dim": 8, "qk_head_dim": 16}
EXPERTS = {"first_k_dense_replace": 1, "mlp_layer_types": ["dense", "sparse"]}
STATES = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}
LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip
WINDOWS = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
DECODER = {"is_decoder": True}
BART = {
    "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 48,
    "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48, "is_encoder_decoder": False,
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {
    **{
        kind: {}
        for kind in (
            "afmoe",
            "apertus",
            "arcee",
            "aria_text",
            "bert-generation",
            "big_bird",
            "biogpt",
            "bitnet",
            "bloom",
            "camembert",
            "cohere",
            "cohere2",
            "cohere2_moe",
            "cwm",
            "data2vec-text",
            "diffllama",
            "doge",
            "dots1",
            "electra",
            "ernie4_5",
            "ernie4_5_moe",
            "exaone4",
            "exaone_moe",
            "falcon_mamba",
            "flex_olmo",
            "flint",
            "gemma",
            "gemma4_unified_text",
            "glm",
            "glm4",
            "glm4_moe",
            "gpt2",
            "gpt_bigcode",
            "gpt_neox",
            "gpt_neox_japanese",
            "gpt_oss",
            "granite",
            "granite_swa",
            "granitemoe",
            "granitemoe_swa",
            "granitemoeshared",
            "helium",
            "hrm_text",
            "hunyuan_v1_dense",
            "hunyuan_v1_moe",
            "hy_v3",
            "hy_v4",
            "hyperclovax",
            "jais2",
            "jetmoe",
            "kolibri1",
            "laguna",
            "lfm2",
            "lfm3",
            "llama",
            "llama4_text",
            "mamba",
            "megatron-bert",
            "mellum",
            "mimo_v2_flash",
            "minimax",
            "minimax_m2",
            "ministral",
            "ministral3",
            "mistral",
            "mixtral",
            "modernbert-decoder",
            "mpt",
            "nanochat",
            "nemotron",
            "olmo",
            "olmo2",
            "olmo3",
            "olmo_hybrid",
            "olmoe",
            "openai-gpt",
            "persimmon",
            "phi",
            "phi3",
            "phimoe",
            "qwen2",
            "qwen2_moe",
            "qwen3",
            "qwen3_moe",
            "rembert",
            "roformer",
            "rwkv",
            "seed_oss",
            "smollm3",
            "solar_open",
            "stablelm",
            "starcoder2",
            "vaultgemma",
            "xlm",
            "xlm-roberta",
        )
    },
    "falcon": {"head_dim": ...},
    "recurrent_gemma": {
        "num_hidden_layers": 3,
        "attention_window_size": 4,
        "lru_width": 32,
        "block_types": ["recurrent", "recurrent", "attention"],
    },
    "falcon_h1": {**STATES, "mamba_d_ssm": 64},
    "xlstm": {"v_head_dim": ..., "head_dim": ..., "num_heads": 4},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "max_position_embeddings": ..., "head_dim": ...},
    "axk1": LATENT,
    "beam": EXPERTS,
    "bamba": {**STATES, "attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 4},
    "cpmant": {"dim_ff": 48, "dim_head": 8},
    "ctrl": {"dff": 48},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT | EXPERTS,
    "deepseek_v32": LATENT | EXPERTS,
    "gemma2": WINDOWS,
    "gemma3_text": WINDOWS,
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": LATENT | EXPERTS,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 4, "num_layers": 2},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {**STATES, "layer_types": ["mamba", "attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "use_mamba_kernels": False},
    "longcat_flash": {**LATENT, "ffn_hidden_size": 48, "expert_ffn_hidden_size": 16, "num_layers": 2, "moe_topk": 2},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8, "chunk_size": 8},
    "minicpm3": LATENT,
    "nemotron_h": {
        "layer_types": ["mamba", "attention"],
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "n_groups": 1,
        "ssm_state_size": 8,
        "chunk_size": 8,
    },
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "qwen3_5_text": LINEAR,
    "qwen3_5_moe_text": LINEAR,
    "qwen3_next": LINEAR,
    "xglm": {"ffn_dim": 48},
    "youtu": LATENT,
    "zamba2": {
        "num_hidden_layers": 4,
        "layer_types": ["mamba", "hybrid", "mamba", "hybrid"],
        "mamba_d_state": 8,
        "n_mamba_heads": 8,
        "mamba_ngroups": 1,
        "chunk_size": 8,
    },
    "bart": BART,
    "blenderbot": BART,
    "pegasus": BART,
    "mvp": BART,
    "bert": DECODER,
    "roberta": DECODER,
}

"""Tiny start models as other people would have saved them: a folder, an adapter, a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFWriter
from peft import LoraConfig, get_peft_model
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from ppo_vs_grpo.benchmarks.models import tiny

QUICK = tiny.Size(hidden=16, layers=1, heads=1, intermediate=16, learning_rate=1e-3, demonstrations=64, steps=2)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def save_model(folder: Path) -> LlamaForCausalLM:
    """Save a Llama of random weights with its tokenizer."""
    model = tiny.untrained(QUICK, tiny.tokenizer(), tied=False)
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return model


def change_json(path: Path, **changes: object) -> None:
    """Set keys of a JSON file; None takes a key out."""
    said = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))


def save_adapter(folder: Path, base: Path, base_name: str | None = None, **settings: object) -> None:
    """Save an adapter of the base model whose two matrices are drawn, so that it changes every logit."""
    config = LoraConfig(r=2, lora_alpha=4, task_type="CAUSAL_LM", **{"target_modules": "all-linear"} | settings)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    model.save_pretrained(folder)
    change_json(folder / "adapter_config.json", base_model_name_or_path=base_name or str(base))


def save_gguf(file: Path, digits_apart: bool = True) -> dict[str, np.ndarray]:
    """Write a Llama of one layer and width 32 as GGUF, with bytes as tokens and one merge; its tensors by name."""
    letters = sorted(ByteLevel.alphabet())
    tokens, merges = [*SPECIAL, *letters, "ĊĊ"], ["Ċ Ċ"]
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(16)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm" if digits_apart else "default")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    rng = np.random.default_rng(0)
    shapes = {
        "token_embd": (len(tokens), 32),
        **{"output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)},
        **{"blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32), "blk.0.attn_output": (32, 32)},
        **{"blk.0.ffn_gate": (32, 32), "blk.0.ffn_up": (32, 32), "blk.0.ffn_down": (32, 32)},
    }
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors

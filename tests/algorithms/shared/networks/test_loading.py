"""Of a model that also sees, the part that reads text is loaded; what is no causal language model is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from copying import llama
from ppo_vs_grpo.algorithms.shared.networks.loading import load
from ppo_vs_grpo.tasks.errors import UserError

IDS = torch.tensor([[3, 4, 5, 6, 7, 8]])
TEXT: dict[str, Any] = {
    "vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip
SEES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
WHOLES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "gemma3": ({}, {}, "Gemma3ForCausalLM"),
    "llava": ({"model_type": "llama"}, {"model_type": "clip_vision_model"}, "LlamaForCausalLM"),
    "mistral3": ({"model_type": "mistral"}, {"model_type": "pixtral"}, "MistralForCausalLM"),
}


def saved(kind: str, folder: Path) -> PreTrainedModel:
    """A model that sees, in a folder."""
    torch.manual_seed(0)
    text, sees, _ = WHOLES[kind]
    config = AutoConfig.for_model(kind, text_config=TEXT | text, vision_config=SEES | sees)
    whole = AutoModelForImageTextToText.from_config(config).eval()
    whole.save_pretrained(folder)
    return whole


@pytest.mark.parametrize("kind", WHOLES)
@torch.no_grad()
def test_the_text_part_says_what_the_whole_says_of_text(kind: str, tmp_path: Path) -> None:
    whole = saved(kind, tmp_path)
    text = load(tmp_path, torch.float32)
    assert type(text).__name__ == WHOLES[kind][2]
    assert not [name for name, _ in text.named_parameters() if "vision" in name or "projector" in name]
    torch.testing.assert_close(text(input_ids=IDS).logits, whole(input_ids=IDS).logits)


def test_a_model_of_text_alone_is_loaded_in_the_type_asked_for(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path)
    assert load(tmp_path, torch.bfloat16).dtype == torch.bfloat16


def test_a_text_part_of_which_weights_are_missing_is_refused(tmp_path: Path) -> None:
    saved("llava", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "layers.1" not in k}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(
        UserError, match=r"start: the text part of llava is no LlamaForCausalLM: weights are missing, mod"
    ):
        load(tmp_path, torch.float32)


def test_types_without_a_causal_language_model_are_refused(tmp_path: Path) -> None:
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(vocab_size=32, decoder_start_token_id=0, **shape)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"start: transformers has no causal language model of the type t5"):
        load(tmp_path, torch.float32)
    Qwen2_5_VLConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"start: transformers has no causal language model of the type qwen2_5_vl"):
        load(tmp_path, torch.float32)

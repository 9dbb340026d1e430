"""The causal language model in a folder of weights; of a model that also sees or hears, the part that reads text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from ppo_vs_grpo.tasks.errors import UserError

WITHIN_A_WHOLE = {
    r"^(model\.language_model|language_model\.model)\.": "model.",
    r"^language_model\.lm_head\.": "lm_head.",
}
"""Where a whole model keeps the weights of its text part, and where that part has them alone."""


def load(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Load the start model of a folder, without the towers that read pictures or sound.

    UserError where transformers has no causal language model of this type, and where weights of it are missing.
    """
    whole = AutoConfig.from_pretrained(folder)
    text = whole.get_text_config(decoder=True)
    kinds: Any = MODEL_FOR_CAUSAL_LM_MAPPING  # typed as a private class
    if text is whole or type(text) not in kinds:
        if type(whole) not in kinds:
            raise UserError(f"start: transformers has no causal language model of the type {whole.model_type}")
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        return model
    text.tie_word_embeddings = whole.tie_word_embeddings
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder, config=text, dtype=dtype, key_mapping=WITHIN_A_WHOLE, output_loading_info=True
    )
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"start: the text part of {whole.model_type} is no {type(model).__name__}: weights are missing, "
            f"{missing[0]} and {len(missing) - 1} more"
        )
    return model

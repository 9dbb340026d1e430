"""Which tokens end a completion."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ppo_vs_grpo.algorithms.shared.networks.vocabulary import vocabulary_tokens
from ppo_vs_grpo.tasks.errors import UserError


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids that end a completion: those of the tokenizer, of the model's generation config and of its config.

    A model that was taught to chat says one end token after a turn and has another for a text. Ids beyond the model's
    vocabulary, which a config has that was never set, are none. UserError where nothing is left.
    """
    named = {
        "tokenizer.eos_token_id": tokenizer.eos_token_id,
        "generation_config.eos_token_id": getattr(model.generation_config, "eos_token_id", None),
        "config.eos_token_id": getattr(model.config, "eos_token_id", None),
    }
    vocabulary = vocabulary_tokens(model)
    found = dict.fromkeys(token for ids in named.values() for token in _listed(ids) if 0 <= token < vocabulary)
    if not found:
        said = ", ".join(f"{place} {ids}" for place, ids in named.items())
        raise UserError(
            f"start: no end token, so no completion can end: {said}, of {vocabulary} tokens. Set one of them"
        )
    return tuple(found)


def _listed(ids: Any) -> list[int]:
    """One id, several or none as a list."""
    if ids is None:
        return []
    return [int(one) for one in ids] if isinstance(ids, (list, tuple)) else [int(ids)]

"""The tokens that a policy may say: those that a reward can read, and the end tokens.

Decoding drops special tokens, and a vocabulary that was rounded up has ids without a token. Said inside an answer, they
would change nothing that a reward sees, and learn from it all the same.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ppo_vs_grpo.tasks.errors import UserError

NEVER = -1e4
"""Added to a logit. The probability is exactly 0 in float32, and what is computed from its logarithm stays finite."""


def vocabulary_tokens(model: PreTrainedModel) -> int:
    """How many tokens a model gives logits for. UserError for what is no causal language model."""
    if model.get_output_embeddings() is None:
        raise UserError(f"model: {type(model).__name__} has no output embedding, so it is not a causal language model")
    return int(model.get_output_embeddings().get_parameter("weight").shape[0])


def unreadable(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> tuple[int, ...]:
    """The ids of the model that decode to nothing, without the end tokens."""
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    read = set(tokenizer.get_vocab().values()) - special - set(tokenizer.all_special_ids)
    return tuple(sorted(set(range(vocabulary_tokens(model))) - read - set(ends)))


def silence(model: PreTrainedModel, ids: Collection[int]) -> None:
    """Make these tokens impossible in every later pass of the model: rollout, likelihood and all copies alike."""
    if ids:
        never_V = torch.zeros(vocabulary_tokens(model), device=model.device)
        never_V[list(ids)] = NEVER
        model.register_forward_hook(_Silence(never_V))


class _Silence:
    """Adds to the logits of a pass. A hook is copied with its model; a wrapped `forward` would not be."""

    def __init__(self, never_V: Tensor) -> None:
        self._never_V = never_V

    def __call__(self, model: PreTrainedModel, inputs: Any, output: Any) -> None:
        output.logits += self._never_V  # in place: another tensor of this size would be the largest of a pass

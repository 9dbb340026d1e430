"""Start models that are not taught: random weights, and an end token as likely as a speed cell asks.

What a completion costs depends on how many tokens it has, so a comparison of speed sets that. One dimension of the
hidden state is the same for every token: the embedding writes it, so loud that no layer changes it, and the output
embedding reads from it how likely each token is. The others are drawn as in `tiny.untrained`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ppo_vs_grpo.benchmarks.models import tiny
from ppo_vs_grpo.tasks.lengths import CHARACTERS, Lengths

if TYPE_CHECKING:
    from ppo_vs_grpo.benchmarks.models.tiny import Size

RECIPE = 2
"""Version of what `make` does; part of the content hash."""

NEVER = -30.0
"""Logit, beside 0 for a character, of a token that is not to be drawn."""

LOUD = 100.0
"""The constant dimension, many times what the layers add to the others: what it says is nearly all that is said."""


def make(task: Lengths, size: Size, folder: Path) -> None:
    """Save a model of this size into the folder whose completions have the task's lengths."""
    import torch

    characters = tiny.tokenizer()
    model = tiny.untrained(size, characters, tied=False)
    logits_V = torch.full((len(characters),), NEVER)
    logits_V[characters(CHARACTERS)["input_ids"]] = 0.0
    if task.mean_tokens:
        end_share = 1 / task.mean_tokens
        logits_V[characters.eos_token_id] = math.log(end_share * len(CHARACTERS) / (1 - end_share))
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = LOUD
        model.lm_head.weight[:, 0] = logits_V / size.hidden**0.5  # the last norm makes the loud dimension that
    model.save_pretrained(folder)
    characters.save_pretrained(folder)

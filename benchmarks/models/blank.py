"""Untaught start models: random weights, and an end token with a given probability.

The cost of a completion depends on its number of tokens, so a comparison of speed fixes that number. One dimension of
the hidden state is the same for every token. The embedding writes it so large that no layer changes it, and the output
embedding turns it into the probability of each token. The other weights are drawn as in `tiny.untrained`.
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
"""Version of `make`; part of the content hash."""

NEVER = -30.0
"""Logit of a token that must not be drawn; a character has 0."""

LOUD = 100.0
"""The constant dimension. It is so much larger than the others that it alone decides the logits."""


def make(task: Lengths, size: Size, folder: Path) -> None:
    """Save a model of this size, whose completions have the task's lengths, into the folder."""
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

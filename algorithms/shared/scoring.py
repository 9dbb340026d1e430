"""Score rollouts by a task. No other module calls a reward."""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerBase

from ppo_vs_grpo.algorithms.shared.types import Rollouts, ScoredRollouts
from ppo_vs_grpo.tasks.base import Score, Task


def texts(rollouts: Rollouts, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The completions as text, without end and padding tokens: B strings."""
    rows = rollouts.completion_BT.tolist()
    lengths = rollouts.mask_BT.sum(1).tolist()
    kept = [row[:n] for row, n in zip(rows, lengths, strict=True)]
    decoded: list[str] = tokenizer.batch_decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return decoded


def score(rollouts: Rollouts, task: Task, tokenizer: PreTrainedTokenizerBase) -> ScoredRollouts:
    """Score every completion by the task's rule, or all at once if it has `score_all(problems, completions)`.

    That method returns a list of scores. A learned reward has it, since one pass over many completions is cheaper.
    """
    problems = [rollouts.prompts.problems[g] for g in rollouts.group_B.tolist()]
    written = texts(rollouts, tokenizer)
    if (score_all := getattr(task, "score_all", None)) is not None:
        scores: list[Score] = score_all(problems, written)
    else:
        scores = [task.score(problem, text) for problem, text in zip(problems, written, strict=True)]
    rewards = [float("nan") if s.reward is None else s.reward for s in scores]
    device = rollouts.mask_BT.device
    names = sorted({name for s in scores for name in s.parts})
    parts = {name: torch.tensor([s.parts.get(name, 0.0) for s in scores], device=device) for name in names}
    return ScoredRollouts(
        rollouts=rollouts,
        rewards_B=torch.tensor(rewards, dtype=torch.float32, device=device),
        passed_B=torch.tensor([s.passed for s in scores], device=device),
        parts=parts,
    )

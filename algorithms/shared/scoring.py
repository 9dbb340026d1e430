"""Score rollouts by a task. No other module calls a reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ppo_vs_grpo.algorithms.shared.types import Rollouts, ScoredRollouts
from ppo_vs_grpo.tasks.base import Problem, Score, Task
from ppo_vs_grpo.tasks.errors import UserError, shown
from ppo_vs_grpo.tasks.rewards import RatingError

MISSING = float("nan")


class RewardError(RuntimeError):
    """A reward that cannot be learned from. It is the task's fault, no arm's: the run fails, it has not diverged."""


def texts(rollouts: Rollouts, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str] = ()) -> list[str]:
    """The completions as text: B strings, each up to its end token or to the first of the `stops`.

    Each is decoded by itself, as TRL does it: a tokenizer that marks the beginning of a word with a space may keep or
    drop that of the first one. A rule that is not about spaces strips its text. The end token goes by its place, since
    a model may end with one that its tokenizer does not call special.
    """
    if not stops:
        return _decoded(answer_ids(rollouts), tokenizer)
    whole = _decoded(sampled_ids(rollouts), tokenizer)
    return [
        ended if (before := _before(text, stops)) is None else before
        for text, ended in zip(whole, _decoded(answer_ids(rollouts), tokenizer), strict=True)
    ]


def stops_of(task: Task) -> tuple[str, ...]:
    """The stop strings that a task asks for in an attribute `stop`. UserError for what is no sequence of texts."""
    asked = getattr(task, "stop", ())
    if isinstance(asked, str) or not all(isinstance(text, str) and text for text in asked):
        raise UserError(f"task: {task.name!r}: stop is {asked!r}; it should be a list of texts, none of them empty")
    return tuple(asked)


def _before(text: str, stops: Sequence[str]) -> str | None:
    """The text before the first stop string; None where there is none."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else None


def sampled_ids(rollouts: Rollouts) -> list[list[int]]:
    """The sampled tokens of each completion, the end token included."""
    rows = zip(rollouts.completion_BT.tolist(), rollouts.mask_BT.sum(1).tolist(), strict=True)
    return [row[:n] for row, n in rows]


def answer_ids(rollouts: Rollouts) -> list[list[int]]:
    """The sampled tokens of each completion without its last one if it has ended."""
    rows = zip(sampled_ids(rollouts), rollouts.ended_B.tolist(), strict=True)
    return [row[: len(row) - ended] for row, ended in rows]


def _decoded(ids: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    decoded: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return decoded


def score(rollouts: Rollouts, task: Task, tokenizer: PreTrainedTokenizerBase) -> ScoredRollouts:
    """Score every completion by the task's rule, or all at once if it has `score_all`.

    `score_all(problems, completions, completion_ids)` gets texts and sampled tokens, the end token included as in TRL,
    and returns a list of scores. A learned reward has it, since one pass over many completions is cheaper.

    A part that a score lacks is missing, NaN. RewardError, with task, prompt and completion, where a rule raises, gives
    what is no score, or a reward that is no number or infinite; and where `score_all` raises, or gives too few or too
    many.
    """
    problems = [rollouts.prompts.problems[g] for g in rollouts.group_B.tolist()]
    scores = _scores(task, problems, texts(rollouts, tokenizer, stops_of(task)), sampled_ids(rollouts))
    rewards = [MISSING if s.reward is None else float(s.reward) for s in scores]
    device = rollouts.mask_BT.device
    names = sorted({name for s in scores for name in s.parts})
    parts = {name: torch.tensor([s.parts.get(name, MISSING) for s in scores], device=device) for name in names}
    return ScoredRollouts(
        rollouts=rollouts,
        rewards_B=torch.tensor(rewards, dtype=torch.float32, device=device),
        passed_B=torch.tensor([s.passed for s in scores], device=device),
        parts=parts,
    )


def _scores(
    task: Task, problems: Sequence[Problem], written: Sequence[str], ids: Sequence[Sequence[int]]
) -> list[Score]:
    """The task's scores, each of which can be learned from or is missing."""
    if hasattr(task, "score_all"):
        scores = _all_scored(task, problems, written, ids)
        if len(scores) != len(written):
            raise RewardError(f"task {task.name}: score_all gave {len(scores)} scores for {len(written)} completions")
    else:
        scores = [_scored(task, problem, text) for problem, text in zip(problems, written, strict=True)]
    for found, problem, text in zip(scores, problems, written, strict=True):
        if wrong := _wrong(found):
            raise RewardError(f"{_place(task, problem, text)}: {wrong}")
    return scores


def _all_scored(
    task: Any, problems: Sequence[Problem], written: Sequence[str], ids: Sequence[Sequence[int]]
) -> list[Score]:
    try:
        return list(task.score_all(problems, written, ids))
    except RatingError as error:  # says which prompt and completion
        raise RewardError(f"task {task.name}: {error}") from error
    except Exception as error:
        raise RewardError(f"task {task.name}: score_all raised {type(error).__name__}: {error}") from error


def _scored(task: Task, problem: Problem, text: str) -> Score:
    try:
        return task.score(problem, text)
    except Exception as error:
        raise RewardError(f"{_place(task, problem, text)}: score raised {type(error).__name__}: {error}") from error


def _wrong(found: object) -> str:
    """What is wrong with a score; empty where nothing is."""
    if not isinstance(found, Score):
        return f"the score is {shown(found)}; it should be a Score"
    if found.reward is None:
        return ""
    if not isinstance(found.reward, Real):
        return f"the reward is {shown(found.reward)}, no number"
    return f"the reward is {found.reward:g}; a reward is finite, or None" if math.isinf(found.reward) else ""


def _place(task: Task, problem: Problem, text: str) -> str:
    return f"task {task.name}, prompt {shown(problem.prompt)}, completion {shown(text)}"

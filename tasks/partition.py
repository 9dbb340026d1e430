"""Three splits of rows that share no prompt, and what was left out for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from ppo_vs_grpo.tasks.base import Problem, Split
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, shown
from ppo_vs_grpo.tasks.splits import split_of

TOLERATED = 0.01
"""The share of a split's prompts that another split may repeat, and of rows that may be unusable."""

EXAMPLES = 3
"""What an error shows of what it counts."""

OPTION = {"heldout": "test", "validation": "validation"}
"""The options that name the sources of the splits that are not trained on."""

Splits = dict[Split, list[Problem]]


def partition(train: Sequence[Problem], own: Mapping[Split, Sequence[Problem]]) -> tuple[Splits, dict[str, int]]:
    """The splits, and how many rows were left out of each. `own` are the splits that have a source of their own.

    A split without one is taken out of the train rows by the hash of the prompt's text. In validation and heldout a
    prompt stands once. What is held out is not trained on: such rows leave the train split, or validation.
    Raises UserError where that is more than a share of TOLERATED of the split.
    """
    splits: Splits = {"train": [], **{split: list(rows) for split, rows in own.items()}}
    for problem in train:
        split = split_of(problem.prompt)
        splits.setdefault("train" if split in own else split, []).append(problem)  # an own split takes no train row
    left_out = {}
    asked: tuple[Split, ...] = ("heldout", "validation")
    for split in asked:
        first: dict[str, Problem] = {}
        for problem in splits.get(split, []):
            first.setdefault(problem.prompt, problem)
        left_out[f"duplicates in {split}"] = len(splits.get(split, [])) - len(first)
        splits[split] = list(first.values())
    pairs: tuple[tuple[Split, Split], ...] = (("heldout", "validation"), ("heldout", "train"), ("validation", "train"))
    for kept, other in pairs:
        left_out[f"{other} rows repeated in {kept}"] = _separate(splits, kept, other)
    return {split: splits[split] for split in get_args(Split)}, {what: n for what, n in left_out.items() if n}


def _separate(splits: Splits, kept: Split, other: Split) -> int:
    """Take the prompts of `kept` out of `other`; the number of rows that were."""
    prompts = {problem.prompt for problem in splits[kept]}
    repeated = [problem for problem in splits[other] if problem.prompt in prompts]
    different = list(dict.fromkeys(problem.prompt for problem in repeated))
    if len(different) > TOLERATED * len(prompts):
        raise UserError(
            f"options.{OPTION[kept]}: {len(different)} of {len(prompts)} {kept} prompts are {other} prompts too, as "
            f"{examples(different)}; at most {TOLERATED:.0%} may be: remove them from one of the two"
        )
    splits[other] = [problem for problem in splits[other] if problem.prompt not in prompts]
    return len(repeated)


def examples(texts: Sequence[str]) -> str:
    """The first few of the texts, each shortened."""
    return ", ".join(shown(text, BRIEF) for text in texts[:EXAMPLES]) + (" ..." if len(texts) > EXAMPLES else "")

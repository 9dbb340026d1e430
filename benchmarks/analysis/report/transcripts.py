"""A page of transcripts: for each task up to twenty prompts, and beside each other what the arms write to them."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.transcripts import Beside, Transcript, side_by_side
from ppo_vs_grpo.benchmarks.records.visible import LONGEST, shown

PAGE = "transcripts.html"

SHORTEST = 60

PAGE_BYTES = 500_000
"""A page larger than this is made again with shorter texts: what is published should stay below 2 MB."""


def transcripts_page(environment: jinja2.Environment, results: Results, name: str) -> str | None:
    """The page as HTML; None where the runs kept no transcripts of their last evaluation."""
    tasks = [beside for task in results.tasks if (beside := side_by_side(results, task))]
    if not tasks:
        return None
    longest = LONGEST
    while True:
        environment.filters["shown"] = lambda text, longest=longest: shown(text, longest)
        environment.filters["marks"] = marks
        page = environment.get_template(f"{PAGE}.j2").render(
            results=results, id=name, tasks=tasks, counted={beside.task: counted(beside) for beside in tasks}
        )
        if len(page.encode()) <= PAGE_BYTES or longest <= SHORTEST:
            return page
        longest //= 2


def marks(one: Transcript) -> str:
    """What is known of a completion, such as `passed · reward 1 · 12 tokens · ended`."""
    known = ["passed" if one.passed else "failed"]
    if one.reward is not None:
        known.append(f"reward {one.reward:.3g}")
    if one.tokens is not None:
        known.append(f"{one.tokens:,} token{'s' * (one.tokens != 1)}")
    if one.ended is not None:
        known.append("ended" if one.ended else "cut off at the limit")
    return " · ".join(known)


def counted(beside: Beside) -> str:
    """How many of the prompts each arm solves, and on how many the arms differ, as a sentence."""
    prompts = beside.prompts
    each = [f"{arm} solves {sum(arm in prompt.solved_by for prompt in prompts)}" for arm in beside.arms]
    differ = sum(prompt.differs for prompt in prompts)
    of_these = f"Of these {len(prompts)} prompts {_listed(each)} at the end"
    return f"{of_these}; they differ on {differ}." if len(beside.arms) > 1 else f"{of_these}."


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))

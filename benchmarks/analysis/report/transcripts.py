"""A page of transcripts: for each task up to twenty prompts, and beside each other what the arms write to them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import jinja2

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.transcripts import Beside, Transcript, side_by_side

PAGE = "transcripts.html"

LONGEST = 2000
"""Characters of a text that are shown at most: half from its beginning, half from its end."""

SHORTEST = 60

PAGE_BYTES = 500_000
"""A page larger than this is made again with shorter texts: what is published should stay below 2 MB."""

JOINERS = "\u200c\u200d"
"""Invisible, but letters of Persian, of Indian scripts and of emoji take their shape from them."""


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


def shown(text: str, longest: int = LONGEST) -> str:
    """A text as a page shows it: at most so many characters, and of what would not be seen the code point.

    Such are control characters, as those before a terminal's colours, and marks that turn text round. Line ends and
    tabs stay. Of a longer text the middle is left out, and how much of it is said.
    """
    if len(text) > longest:
        half = longest // 2
        left_out = f"\n[… {len(text) - 2 * half:,} characters left out …]\n"
        return f"{shown(text[:half])}{left_out}{shown(text[-half:])}"
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in "\n\t" or character in JOINERS:
        return character
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    return f"⟨U+{ord(character):04X}⟩"


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

"""The rule `math`: expressions that are equal, by math-verify, which runs in a child process and may be killed there.

A strict comparison of final answers comes first; only what that cannot decide is parsed. math-verify's own time limits
are switched off: they are whole seconds, and no signal ends a power of huge numbers. The worker's limit holds.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

from math_verify import parse, verify

from ppo_vs_grpo.tasks.rewards.rules import exact, marked, whole_number

for _name in ("math_verify.parser", "math_verify.grader"):
    logging.getLogger(_name).setLevel(logging.ERROR)  # they warn that their time limits are off


def rate(completions: Sequence[str], answers: Sequence[str]) -> list[tuple[float, bool]]:
    """The reward of each completion, and whether an answer could be read from it."""
    return [_rate(text, answer) for text, answer in zip(completions, answers, strict=True)]


def readable(answers: Sequence[str]) -> list[bool]:
    """Whether each right answer can be compared with something."""
    finals = map(_final, answers)
    return [whole_number(final) is not None or _understood(_parsed(final)) for final in finals]


def _rate(text: str, answer: str) -> tuple[float, bool]:
    final = marked(text)
    given = text if final is None else final
    right = _final(answer)
    if given.strip() and (exact(given, right)[0] or _same_number(given, right)):
        return 1.0, True
    parsed = _parsed(text, whole=False) if final is None else _parsed(final)
    equal = bool(parsed) and verify(list(_parsed(right)), list(parsed), timeout_seconds=None)
    return float(equal), _understood(parsed)


def _same_number(given: str, right: str) -> bool:
    """Whether both are nothing but a number: the last one in 2\\sqrt{3} says little about it."""
    value = whole_number(given)
    return value is not None and value == whole_number(right)


def _understood(parsed: Sequence[Any]) -> bool:
    """Whether there is an expression. What math-verify cannot read it may hand back as text."""
    return any(not isinstance(part, str) for part in parsed)


def _final(answer: str) -> str:
    found = marked(answer)
    return answer.strip() if found is None else found


@functools.lru_cache(maxsize=4096)
def _parsed(text: str, whole: bool = True) -> tuple[Any, ...]:
    """What math-verify reads. A `whole` text is an expression, else it is prose with expressions in it.

    Without the box, `2\\sqrt{3}` would be read as 2.
    """
    bare = text.strip().strip("$")
    return tuple(parse(f"\\boxed{{{bare}}}" if whole else text, parsing_timeout=None))


_parsed("1")  # the first one takes half a second, which is no completion's fault

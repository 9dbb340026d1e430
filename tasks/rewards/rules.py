"""Rules that compare a completion with its row's answer, the fact `answer`. Pure functions of two texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, shown
from ppo_vs_grpo.tasks.rewards.base import Rated

VERSION = 1
"""Of `exact` and `number`; it changes whenever one of their rewards changes."""

MARK = "####"
"""What stands before the final answer in GSM8K (Cobbe et al. 2021, arXiv 2110.14168)."""

MINUS = "\N{MINUS SIGN}"

LONGEST = 300
"""Characters of a number; longer ones are no answers."""

_DIGITS = r"(?<![\w./])(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|(?<![\w./])\.[0-9]+"
_NUMBER = re.compile(
    rf"((?:(?<![\w.)\]}}/])[-+])?)\\?\$?((?:(?<=\$)[-+])?)({_DIGITS})(?:/([0-9]+))?(?!\w|\.[0-9]|,[0-9]{{3}}(?![0-9])|/[0-9])"
)
_SCANNED = re.compile(rf"{_NUMBER.pattern}|(?<![\w./])[0-9]{{1,3}}(?:,[0-9]{{3}})++")
"""A number; or thousands that are none, since a letter follows, say. These are passed over at once: no group in them
can begin a number either, and to ask each of them would take as many steps as the square of their number."""

Rule = Callable[[str, str], tuple[float, bool]]
"""From a completion and the right answer to the reward, and whether the completion held an answer to compare."""


def exact(completion: str, answer: str) -> tuple[float, bool]:
    """1 if the completion is the answer, blanks around both aside. Any text but an empty one is an answer."""
    given = completion.strip()
    return float(given == answer.strip()), bool(given)


def number(completion: str, answer: str) -> tuple[float, bool]:
    """1 if the final numbers of completion and answer have the same value; see `final_number`."""
    given = final_number(completion)
    return float(given is not None and given == final_number(answer)), given is not None


def final_number(text: str) -> Fraction | None:
    """The value of a text's final number, or None. Nothing is rounded: 0.5, .50 and 1/2 are equal, 0.33 is not 1/3.

    Where there is a `####`, only the line behind the last one counts. Where that has a `\\boxed{...}`, the last box
    should hold nothing but the number; else the number is the last one.

    A number has digits, perhaps with a decimal point, commas between thousands, a sign or a dollar before it, or `/`
    and a denominator: 18, -3, 1,234, $5.00, .5, 3/4. Nothing but that may touch a letter, so x2, 5km and 1e5 hold no
    number; a sign behind a digit or bracket is a minus between two numbers; `%` is not read; 1.2.3 is none.
    """
    text = _behind_mark(text).replace(MINUS, "-")
    box = boxed(text)
    if box is not None:
        return whole_number(box)
    found = [number for number in _SCANNED.finditer(text) if number[3]]
    return _value(found[-1]) if found else None


def whole_number(text: str) -> Fraction | None:
    """The value of a text that is nothing but a number, or None."""
    found = _NUMBER.fullmatch(text.strip().replace(MINUS, "-").rstrip("."))
    return _value(found) if found else None


def marked(text: str) -> str | None:
    """The marked final answer: the last box, of the line behind the last `####` where there is one, else that line.

    None where there is neither.
    """
    line = _behind_mark(text)
    box = boxed(line)
    return line if box is None and MARK in text else box


def boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{...}`; None where there is none, and nothing where it is not closed."""
    _, box, rest = text.rpartition("\\boxed{")
    if not box:
        return None
    depth = 1
    for at, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[:at].strip()
    return ""


def _behind_mark(text: str) -> str:
    """The line behind the last mark; the text where there is none."""
    return text.rpartition(MARK)[2].strip().partition("\n")[0] if MARK in text else text


def _value(found: re.Match[str]) -> Fraction | None:
    before, after, digits, under = found.groups()
    if len(found[0]) > LONGEST or (under and not int(under)):
        return None
    size = Fraction(digits.replace(",", "")) / int(under or 1)
    return -size if "-" in before + after else size


RULES: dict[str, Rule] = {"exact": exact, "number": number}


@dataclass(frozen=True, slots=True)
class Ruled:
    """The reward by a rule of RULES, with the part `parsed`."""

    name: str
    rule: str

    def rate(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Rated]:
        """Rate each completion against its row's answer."""
        rated = []
        for problem, text in zip(problems, completions, strict=True):
            reward, parsed = RULES[self.rule](text, str(problem.facts["answer"]))
            rated.append(Rated(reward, {"parsed": float(parsed)}))
        return rated

    def check(self, problems: Sequence[Problem]) -> None:
        """Raise UserError where a problem has no answer, or one that no completion can be compared with."""
        for problem, answer in zip(problems, answers(self.rule, problems), strict=True):
            if not RULES[self.rule](answer, answer)[1]:
                raise unreadable(self.rule, problem)

    def digest(self) -> str:
        """The rule and its version."""
        return f"{self.rule} {VERSION}"


def answers(rule: str, problems: Sequence[Problem]) -> list[str]:
    """The rows' answers as text. Raises UserError where one has none."""
    for problem in problems:
        if problem.facts.get("answer") is None:
            raise UserError(
                f"options.reward: {rule!r} needs an answer; the row with prompt {shown(problem.prompt, BRIEF)} has none"
            )
    return [str(problem.facts["answer"]) for problem in problems]


def unreadable(rule: str, problem: Problem) -> UserError:
    """The error of a row whose answer a rule cannot read: every completion would be wrong."""
    answer = shown(problem.facts["answer"], BRIEF)
    return UserError(
        f"options.reward: {rule!r} cannot read the answer {answer} of the row with prompt "
        f"{shown(problem.prompt, BRIEF)}; mend or remove the row"
    )

"""Rules that compare a completion with the answer of its row, the fact `answer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards.base import Rated

VERSION = 1
"""Of the rules; it changes whenever one of their rewards changes."""

Rule = Callable[[str, str], tuple[float, bool]]
"""From a completion and the right answer to the reward, and whether the completion held an answer to compare."""


def exact(completion: str, answer: str) -> tuple[float, bool]:
    """1 if the completion is the answer, blanks around it aside. Any text but an empty one is an answer."""
    given = completion.strip()
    return float(given == answer.strip()), bool(given)


RULES: dict[str, Rule] = {"exact": exact}


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
        """Raise UserError where a problem has no answer."""
        for problem in problems:
            if problem.facts.get("answer") is None:
                raise UserError(f"reward: {self.rule!r} needs an answer, which the prompt {problem.prompt!r} lacks")

    def digest(self) -> str:
        """The rule and its version."""
        return f"{self.rule} {VERSION}"

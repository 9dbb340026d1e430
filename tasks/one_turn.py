"""Environments of `verifiers` that take one turn: their rows, and their rubric as the reward.

The library is loaded in a child process alone: it handles signals in its own way, and a rubric is a user's code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from ppo_vs_grpo.tasks.base import Problem, Score, Split
from ppo_vs_grpo.tasks.errors import UserError, nearest
from ppo_vs_grpo.tasks.options import finite, texts, whole_number
from ppo_vs_grpo.tasks.partition import partition
from ppo_vs_grpo.tasks.prompts import Columns
from ppo_vs_grpo.tasks.rewards.base import Rated
from ppo_vs_grpo.tasks.rewards.functions import source_digest
from ppo_vs_grpo.tasks.rewards.given import guard_of
from ppo_vs_grpo.tasks.rewards.guard import Row, reward_of
from ppo_vs_grpo.tasks.rewards.worker import LOAD_LIMIT_S, FailedCall, NotLoaded, Place

FAMILY = "verifiers"

COLUMNS = Columns("prompt", None, None, marked=False)
"""An environment makes the column `prompt` itself."""

RUBRIC = "ppo_vs_grpo.tasks.rewards.rubric"
"""The module that runs in the child process."""


class OneTurn:
    """The rows of an environment under its rubric. `arguments` are those of its `load_environment`.

    The reward is the rubric's weighted sum, its functions are the parts. A completion passes with a reward of
    `pass_at`, or with such a part `pass_by`. Held out is the environment's evaluation dataset, where it has one.
    """

    version = 1

    def __init__(
        self,
        environment: str,
        pass_at: float = 1.0,
        pass_by: str | None = None,
        best: float = 1.0,
        max_new_tokens: int = 256,
        stop: Sequence[str] = (),
        limit_s: float = 30.0,
        on_error: str = "raise",
        **arguments: Any,
    ) -> None:
        self.name = f"{FAMILY}/{environment}"
        self.max_new_tokens = whole_number("max_new_tokens", max_new_tokens, 1, 10**6)
        self.stop = texts("stop", stop)
        self.best_score, self.pass_at = finite("best", best), finite("pass_at", pass_at)
        self.pass_by = pass_by
        self.rewards = Rubric(environment, arguments, limit_s, on_error)
        rows, functions = self.rewards.rows()
        if pass_by is not None and pass_by not in functions:
            raise UserError(f"options.pass_by: {pass_by!r} is no function of the rubric; {nearest(pass_by, functions)}")
        found = {split: COLUMNS.problems(rows[split], f"{self.name} {split}") for split in rows}
        own: dict[Split, list[Problem]] = {"heldout": found["evaluation"]} if found["evaluation"] else {}
        self._splits, self.left_out = partition(found["train"], own)

    def rows(self, split: Split) -> Sequence[Problem]:
        """The problems of a split in the environment's order."""
        return self._splits[split]

    def score(self, problem: Problem, completion: str) -> Score:
        """Score one completion, given without its tokens."""
        return self.score_all([problem], [completion], [()])[0]

    def score_all(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Score]:
        """Score completions at once, by the rubric. Raises RatingError."""
        rated = self.rewards.rate(problems, completions, completion_ids)
        return [Score(one.reward, self._passed(one), one.parts) for one in rated]

    def _passed(self, rated: Rated) -> bool:
        reached = rated.reward if self.pass_by is None else rated.parts.get(self.pass_by)
        return reached is not None and reached >= self.pass_at


class Rubric:
    """An environment in its process: the rows that it has, and the rewards that it gives."""

    def __init__(self, environment: str, arguments: dict[str, Any], limit_s: float, on_error: str) -> None:
        self.name = "rubric"
        self._given = {"environment": environment, "arguments": arguments}
        self._guard = guard_of(limit_s, on_error)

    def rows(self) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
        """The rows of `train` and of `evaluation`, and the names of the rubric's functions.

        Raises UserError where the environment cannot be used.
        """
        try:
            (written,) = self._guard.worker.call(self._place("rows_of"), {}, LOAD_LIMIT_S)
        except (NotLoaded, FailedCall) as error:
            raise UserError(f"task: '{FAMILY}/{self._given['environment']}' cannot be used: it {error}") from None
        found = json.loads(written[0])
        return found, found.pop("functions")

    def rate(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Rated]:
        """The rubric's rewards, and its functions as parts. Raises RatingError."""
        rows = list(zip(problems, completions, completion_ids, strict=True))
        return self._guard.rate(self.name, self._place("rubric_of"), rows, _arguments, _read)

    def digest(self) -> str:
        """The environment, its arguments, a hash of the file that makes it, and the library's version."""
        environment = str(self._given["environment"])
        module = environment.rpartition("/")[2].replace("-", "_")
        made_by = source_digest(f"{module}:load_environment")
        return f"{json.dumps(self._given, sort_keys=True)} {made_by} by {FAMILY} {version(FAMILY)}"

    def _place(self, function: str) -> Place:
        return Place(f"{RUBRIC}:{function}", self._given)


def _arguments(rows: Sequence[Row]) -> dict[str, Any]:
    return {"rows": [dict(problem.facts) for problem, _, _ in rows], "completions": [text for _, text, _ in rows]}


def _read(value: Any) -> Rated:
    reward, parts, failures = value
    if failures:
        raise FailedCall(f"raised {failures[0]}")
    return Rated(reward_of(reward), {name: float(part) for name, part in parts})

"""Rewards by functions: a user's or TRL's, called as TRL's GRPOTrainer calls them, and the rule `math`.

A function gets keyword arguments: `prompts`, `completions`, `completion_ids`, and every column of the rows as a list.
It returns a list of numbers, or None where it does not apply. It may be a coroutine function.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.cache import Remembered
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, shown
from ppo_vs_grpo.tasks.rewards import rules
from ppo_vs_grpo.tasks.rewards.base import Rated
from ppo_vs_grpo.tasks.rewards.guard import Guard, Row, reward_of
from ppo_vs_grpo.tasks.rewards.worker import FailedCall, NotLoaded, Place, Signature, Worker

OURS = ("prompts", "completions", "completion_ids")
"""Arguments that are no columns of a row."""

NOT_COLUMNS = ("prompt", "completion", "completion_ids")
"""Columns that TRL does not pass on."""

STATE = "trainer_state"
"""TRL's state of the trainer. Here it is None: a reward that changes in training has no held-out value."""

MESSAGES_ONLY = "trl.rewards"
"""The module whose functions read conversations and nothing else."""

MATH_VERSION = 2
"""Of the rule `math`; it changes whenever one of its rewards changes."""

CHECKED = 256
"""Right answers that are read in one call."""


@dataclass(frozen=True, slots=True)
class Function:
    """The reward by a user's function."""

    name: str
    function: Place
    guard: Guard

    def rate(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Rated]:
        """The function's rewards. Raises RatingError where it fails, UserError where it is not there."""
        signature = self._signature()
        rows = list(zip(problems, completions, completion_ids, strict=True))
        return self.guard.rate(self.name, self.function, rows, lambda asked: self._arguments(signature, asked), _read)

    def check(self, problems: Sequence[Problem]) -> None:
        """Raise UserError where the function is not there, or needs a column that a row lacks."""
        needed = set(self._signature().required) - {*OURS, STATE}
        for problem in problems:
            if lacking := sorted(needed - problem.facts.keys()):
                has = ", ".join(map(str, problem.facts)) or "none"
                raise UserError(
                    f"options.reward: {self.function.place!r} needs the column {lacking[0]!r}; the row with prompt "
                    f"{shown(problem.prompt, BRIEF)} has {has}; rename a column, or name another reward"
                )

    def digest(self) -> str:
        """The function's name and options, and a hash of the file that holds it."""
        return f"{self.function.key} {source_digest(self.function.place)}"

    def _signature(self) -> Signature:
        try:
            return self.guard.worker.signature(self.function)
        except NotLoaded as error:
            raise UserError(f"options.reward: {self.function.place!r} cannot be loaded: it {error}") from None

    def _arguments(self, signature: Signature, rows: Sequence[Row]) -> Mapping[str, Any]:
        as_messages = self.function.place.startswith(MESSAGES_ONLY)
        columns = {name: None for problem, _, _ in rows for name in problem.facts if name not in NOT_COLUMNS}
        given: dict[str, Any] = {name: [problem.facts.get(name) for problem, _, _ in rows] for name in columns}
        given |= {STATE: None}
        given |= {
            "prompts": [_prompt(problem, as_messages) for problem, _, _ in rows],
            "completions": [_completion(problem, text, as_messages) for problem, text, _ in rows],
            "completion_ids": [list(ids) for _, _, ids in rows],
        }
        return {name: value for name, value in given.items() if signature.takes(name)}


@dataclass(frozen=True, slots=True)
class Mathematics:
    """The reward by the rule `math`, with the part `parsed`: 1 if the completion's final answer equals the row's.

    A strict comparison comes first; math-verify decides the rest. Completions are asked one by one, so that one which
    takes longer than the limit, or more memory than there is, costs no other its time: it is wrong and not parsed.
    """

    name: str
    limit_s: float
    worker: Worker

    def rate(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Rated]:
        """Rate each completion against its row's answer."""
        right = rules.answers(self.name, problems)
        return [self._rate(text, answer) for text, answer in zip(completions, right, strict=True)]

    def check(self, problems: Sequence[Problem]) -> None:
        """Raise UserError where an answer is no expression: every completion would be wrong.

        Which answers are one is remembered from one process to the next: reading them takes a millisecond and more.
        """
        right = rules.answers(self.name, problems)
        readable = Remembered(f"readable by {self.digest()}").of(right, self._readable)
        for problem, known in zip(problems, readable, strict=True):
            if not known:
                raise rules.unreadable(self.name, problem)

    def digest(self) -> str:
        """The rule with its version, and that of math-verify. Raises UserError where it is not installed."""
        try:
            return f"math {MATH_VERSION}, math-verify {version('math-verify')}"
        except PackageNotFoundError:
            raise UserError(
                "options.reward: 'math' needs math-verify; install this package with the extra 'math'"
            ) from None

    def _rate(self, text: str, answer: str) -> Rated:
        try:
            asked = {"completions": [text], "answers": [answer]}
            ((reward, parsed),) = self.worker.call(_MATH, asked, self.limit_s)
        except FailedCall:
            return Rated(0.0, {"parsed": 0.0})
        return Rated(reward, {"parsed": float(parsed)})

    def _readable(self, answers: Sequence[str]) -> list[bool]:
        found: list[bool] = []
        for at in range(0, len(answers), CHECKED):
            some = list(answers[at : at + CHECKED])
            try:
                found += self.worker.call(_READABLE, {"answers": some}, self.limit_s * len(some))
            except (FailedCall, NotLoaded) as error:
                raise UserError(f"options.reward: 'math' cannot read the answers: it {error}") from None
        return found


_MATH = Place("ppo_vs_grpo.tasks.rewards.mathematics:rate")
_READABLE = Place("ppo_vs_grpo.tasks.rewards.mathematics:readable")


def checked_place(place: str) -> str:
    """The place as `module:function` or `file.py:function`. Raises UserError where there is no such file or module.

    Nothing is imported but the packages that hold the module.
    """
    module, colon, name = place.rpartition(":")
    if not colon:
        module, _, name = place.rpartition(".")
    if not module or not name.isidentifier():
        raise UserError(f"options.reward: {place!r}: a function is 'package.module:function' or 'file.py:function'")
    if module.endswith(".py"):
        if not Path(module).expanduser().is_file():
            raise UserError(f"options.reward: {place!r}: there is no file {module!r} in {Path.cwd()}")
    elif not _source(module):
        raise UserError(f"options.reward: {place!r}: there is no module {module!r}")
    return f"{module}:{name}"


def _source(module: str) -> str | None:
    """The file of a module, or what else it comes from; None where there is none. Nothing is imported."""
    path: Sequence[str] | None = None
    spec: ModuleSpec | None = None
    whole = ""
    for name in module.split("."):
        whole = f"{whole}.{name}".removeprefix(".")
        finders = (finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((found for find in finders if (found := find(whole, path, None))), None)
        if spec is None or path == []:
            return None
        path = spec.submodule_search_locations or []
    return None if spec is None else spec.origin or "built-in"


def source_digest(place: str) -> str:
    """A hash of the file that holds the function of a place, or what it is of instead."""
    module = place.rpartition(":")[0]
    if module.startswith(MESSAGES_ONLY):
        return f"of trl {version('trl')}"
    path = Path(module).expanduser() if module.endswith(".py") else Path(_source(module) or "")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "without file"


def _prompt(problem: Problem, as_messages: bool) -> Any:
    if problem.messages:
        return [dict(message) for message in problem.messages]
    return [{"role": "user", "content": problem.prompt}] if as_messages else problem.prompt


def _completion(problem: Problem, text: str, as_messages: bool) -> Any:
    return [{"role": "assistant", "content": text}] if problem.messages or as_messages else text


def _read(value: Any) -> Rated:
    return Rated(reward_of(value))

"""Problems from rows of data: the prompt a column, a conversation, or a template over columns."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, nearest, shown
from ppo_vs_grpo.tasks.rewards.rules import marked
from ppo_vs_grpo.tasks.tables import Row


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a dataset mean.

    `prompt` is a column, or with braces a template over columns. The fact `answer` is the column `answer`; of a
    `marked` one it is what stands behind the last `####` or in the last box, and the whole is the fact `answer_text`.
    """

    prompt: str
    answer: str | None
    stratum: str | None
    marked: bool

    def problems(self, rows: Sequence[Row], source: str) -> list[Problem]:
        """The rows as problems, all their columns as facts. Raises UserError with the option, or the row from 1."""
        self._check(rows, source)
        return [self._problem(row, f"{source}, row {number}") for number, row in enumerate(rows, 1)]

    def _check(self, rows: Sequence[Row], source: str) -> None:
        named = [("prompt", column) for column in self._prompt_columns()]
        named += [("answer", self.answer)] if self.answer is not None else []
        named += [("stratum", self.stratum)] if self.stratum is not None else []
        known = dict.fromkeys(column for row in rows for column in row)
        for option, column in named:
            if column not in known:
                raise UserError(f"options.{option}: {source} has no column {column!r}; {nearest(column, known)}")

    def _prompt_columns(self) -> list[str]:
        if not self._is_template():
            return [self.prompt]
        try:
            fields = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(self.prompt)]
        except ValueError as error:
            raise UserError(f"options.prompt: {self.prompt!r}: {error}; braces of the text are doubled") from None
        if wrong := [name for name, spec, how in fields if name is not None and (spec or how or not name)]:
            raise UserError(f"options.prompt: {self.prompt!r}: braces should hold a column's name, not {wrong[0]!r}")
        return [name for name, _, _ in fields if name is not None]

    def _is_template(self) -> bool:
        return "{" in self.prompt or "}" in self.prompt

    def _problem(self, row: Row, place: str) -> Problem:
        facts = dict(row)
        if self.answer is not None:
            facts["answer"] = row.get(self.answer)
            if self.marked and facts["answer"] is not None:
                facts["answer_text"] = facts["answer"]
                facts["answer"] = marked(str(facts["answer"]))
        stratum = "all" if self.stratum is None else str(row.get(self.stratum))
        messages: tuple[Mapping[str, str], ...] = ()
        if self._is_template():
            texts = {column: _text(row.get(column), column, place) for column in self._prompt_columns()}
            prompt = "".join(
                before + ("" if name is None else texts[name])
                for before, name, _, _ in string.Formatter().parse(self.prompt)
            )
        elif isinstance(row.get(self.prompt), list):
            messages = _messages(row[self.prompt], self.prompt, place)
            prompt = "\n\n".join(message["content"] for message in messages)
        else:
            prompt = _text(row.get(self.prompt), self.prompt, place)
        if not prompt.strip():
            raise UserError(f"options.prompt: {place}: the prompt is empty; fill or remove the row")
        return Problem(prompt, facts, stratum, messages)


def _text(value: Any, column: str, place: str) -> str:
    """A column's text; a number is written out, as CSV files have it."""
    if value is None or value == "" or value == []:
        raise UserError(f"options.prompt: {place}: the column {column!r} is empty; fill or remove the row")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"options.prompt: {place}: the column {column!r} should hold text, not {shown(value, BRIEF)}")
    return str(value)


def _messages(given: list[Any], column: str, place: str) -> tuple[Mapping[str, str], ...]:
    """A conversation that ends before the answer."""
    for message in given:
        if not (isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))):
            raise UserError(
                f"options.prompt: {place}: each message of {column!r} should have the texts role and content, "
                f"not {shown(message, BRIEF)}"
            )
    if given and given[-1]["role"] == "assistant":
        raise UserError(
            f"options.prompt: {place}: the conversation in {column!r} should end before the answer, with no message "
            "of the role assistant"
        )
    return tuple({"role": message["role"], "content": message["content"]} for message in given)

"""Rewards from a table of labels: what people, or another model, scored before training."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from statistics import fmean
from typing import Any

from ppo_vs_grpo.tasks import tables
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError, shown
from ppo_vs_grpo.tasks.rewards.base import Rated

COLUMNS = ("prompt", "completion", "score")
MATCHES = ("exact", "nearest")

Table = Mapping[str, Mapping[str, float]]
"""The score of each labelled completion, blanks around it aside, by the key of its prompt."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The reward that a table gives a completion of the same prompt.

    `exact`: the score of the same text, blanks around it aside; no reward where there is none. `nearest`: the score of
    the prompt's most similar text, the mean of several that are equally so; the part `label_similarity` says how
    similar. Similarity is the share of characters in common runs, 0 to 1 (difflib's ratio, Ratcliff and Obershelp).
    A prompt without labels has no reward. `needed`: rows without any label are a mistake, since nothing else pays.
    """

    name: str
    path: Path
    match: str
    table: Table
    needed: bool

    def rate(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Rated]:
        """Look each completion up."""
        return [self._rate(problem, text.strip()) for problem, text in zip(problems, completions, strict=True)]

    def check(self, problems: Sequence[Problem]) -> None:
        """Raise UserError where labels are all there is, and no problem has one."""
        if self.needed and problems and not any(self._labelled(problem) for problem in problems):
            raise UserError(
                f"options.reward.labels: {self.path} has no label for any of {len(problems)} prompts, such as "
                f"{shown(problems[0].prompt)}; its column prompt should hold the prompts of the rows"
            )

    def digest(self) -> str:
        """The way of matching and a hash of the file."""
        return f"labels {self.match} {hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]}"

    def _rate(self, problem: Problem, text: str) -> Rated:
        labelled = self._labelled(problem)
        if self.match == "exact" or not labelled:
            return Rated(labelled.get(text))
        similarity, scores = most_similar(text, labelled)
        return Rated(fmean(scores), {"label_similarity": similarity})

    def _labelled(self, problem: Problem) -> Mapping[str, float]:
        return next((self.table[key] for key in _keys_of(problem) if key in self.table), {})


def most_similar(text: str, labelled: Mapping[str, float]) -> tuple[float, list[float]]:
    """The similarity of the labelled texts that are most like the text, and their scores."""
    if text in labelled:
        return 1.0, [labelled[text]]
    matcher = difflib.SequenceMatcher(None, b=text, autojunk=False)
    best, scores = -1.0, [math.nan]
    for other, score in labelled.items():
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() < best or matcher.quick_ratio() < best:
            continue  # bounds from above
        if (ratio := matcher.ratio()) > best:
            best, scores = ratio, []
        if ratio == best:
            scores.append(score)
    return best, scores


def read_labels(name: str, given: Mapping[str, Any], needed: bool) -> Labels:
    """The labels that a suite asks for. A completion labelled twice has the mean. Raises UserError."""
    path, match = given["labels"], given.get("match", "exact")
    if match not in MATCHES:
        raise UserError(f"options.reward.match: {match!r}: should be {' or '.join(MATCHES)}")
    if not isinstance(path, str):
        raise UserError(f"options.reward.labels: {path!r}: should be a file with the columns {', '.join(COLUMNS)}")
    table: dict[str, dict[str, list[float]]] = {}
    for number, row in enumerate(tables.read("reward.labels", path), 1):
        if lacking := [column for column in COLUMNS if row.get(column) is None]:
            raise UserError(f"options.reward.labels: {path}, row {number}: has no {lacking[0]}")
        try:
            key, text = _key(row["prompt"]), str(row["completion"]).strip()
        except (KeyError, TypeError):
            raise UserError(
                f"options.reward.labels: {path}, row {number}: the prompt {shown(row['prompt'])} should be a text, or "
                "messages with role and content"
            ) from None
        table.setdefault(key, {}).setdefault(text, []).append(_score(row["score"], path, number))
    means = {key: {text: fmean(scores) for text, scores in texts.items()} for key, texts in table.items()}
    return Labels(name, Path(path).expanduser().absolute(), match, means, needed)


def _score(value: Any, path: str, number: int) -> float:
    try:
        score = float(value) if isinstance(value, Real | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise UserError(f"options.reward.labels: {path}, row {number}: the score is {value!r}, no finite number")
    return score


def _key(prompt: Any) -> str:
    """A prompt to look up: its text, or the messages of a conversation."""
    if isinstance(prompt, str):
        return prompt.strip()
    return json.dumps([[message["role"], message["content"]] for message in prompt])


def _keys_of(problem: Problem) -> Iterator[str]:
    if problem.messages:
        yield _key(problem.messages)
    yield problem.prompt.strip()

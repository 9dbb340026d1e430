"""Dataset: problems from a file or a Hugging Face dataset, under any reward.

    {"question": "Natalia sold 48 clips ...", "answer": "... #### 72"}

The rows keep their own train and test splits. What has no source of its own is taken out of the train rows by the hash
of the prompt's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ppo_vs_grpo.tasks import hub, rewards, tables
from ppo_vs_grpo.tasks.base import Problem, Score, Split
from ppo_vs_grpo.tasks.embedded import foreign
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, nearest, shown
from ppo_vs_grpo.tasks.options import finite, flag, text, texts, whole_number
from ppo_vs_grpo.tasks.partition import partition
from ppo_vs_grpo.tasks.prompts import Columns
from ppo_vs_grpo.tasks.unusable import without_unusable


class Dataset:
    """The rows of `source` under `reward`, whatever `rewards.make` takes.

    `source` and `test`, `validation` are files (.jsonl, .json, .parquet, .csv), or `source` is a dataset of the hub
    (with `config` and `revision`) and the others are splits of it; its splits `test` and `validation` are taken
    unasked. A completion passes with a reward of `pass_at`, or with such a part `pass_by`. `best` is the best pass rate
    that one can expect.

    `left_out` counts the rows that were left out, by reason. `rewards` rates; a caller sets models there. Sampling
    ends at each of the texts `stop`. All columns are facts; a row's `answer` is a fact whatever its column is called.
    """

    def __init__(
        self,
        source: str,
        prompt: str = "prompt",
        answer: str | None = None,
        reward: Any = "exact",
        test: str | None = None,
        validation: str | None = None,
        config: str | None = None,
        revision: str | None = None,
        stratum: str | None = None,
        demonstration: str | None = None,
        marked: bool = False,
        max_new_tokens: int = 256,
        stop: Sequence[str] = (),
        pass_at: float = 1.0,
        pass_by: str | None = None,
        best: float = 1.0,
        limit_s: float = 30.0,
        on_error: str = "raise",
        version: int = 1,
        name: str = "dataset",
    ) -> None:
        self.name, self.version = text("name", name), whole_number("version", version, 1, 10**9)
        self.max_new_tokens = whole_number("max_new_tokens", max_new_tokens, 1, 10**6)
        self.stop = texts("stop", stop)
        self.best_score, self.pass_at = finite("best", best), finite("pass_at", pass_at)
        self.rewards = rewards.make(reward, limit_s, on_error)
        if pass_by is not None and pass_by not in self.rewards.names:
            raise UserError(f"options.pass_by: {pass_by!r} is no reward here; {nearest(pass_by, self.rewards.names)}")
        self.pass_by, self.demonstration = pass_by, demonstration
        columns = Columns(text("prompt", prompt), answer, stratum, flag("marked", marked))
        sources = _sources(text("source", source), test, validation, config, revision)
        found: dict[Split, list[Problem]] = {}
        self.left_out: dict[str, int] = {}
        for split, (place, rows) in sources.items():
            found[split], unusable = without_unusable(columns.problems(rows, place), self.rewards, place)
            self.left_out |= {f"unusable in {split}": unusable} if unusable else {}
        self._splits, repeated = partition(found.pop("train"), found)
        self.left_out |= repeated

    def rows(self, split: Split) -> Sequence[Problem]:
        """The problems of a split in the order of its source."""
        return self._splits[split]

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """The column `demonstration`, or the whole answer.

        Raises UserError where there is none, and where a prompt or a demonstration has a character that the embedded
        models do not read.
        """
        if self._unreadable:
            raise UserError(f"start: {self._unreadable}; name a saved model")
        return self._demonstrated(problem)

    def score(self, problem: Problem, completion: str) -> Score:
        """Score one completion, given without its tokens."""
        return self.score_all([problem], [completion], [()])[0]

    def score_all(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Score]:
        """Score completions at once, by the rewards. Raises RatingError of the rewards."""
        rated = self.rewards.rate(problems, completions, completion_ids)
        return [Score(one.reward, self._passed(one), one.parts) for one in rated]

    def _passed(self, rated: rewards.Rated) -> bool:
        reached = rated.reward if self.pass_by is None else rated.parts.get(self.pass_by)
        return reached is not None and reached >= self.pass_at

    def _demonstrated(self, problem: Problem) -> str:
        column = self.demonstration or ("answer_text" if "answer_text" in problem.facts else "answer")
        if (found := problem.facts.get(column)) is None:
            raise UserError(
                f"options.demonstration: an embedded model starts from demonstrations, and the row with prompt "
                f"{shown(problem.prompt, BRIEF)} has no {column!r}; {nearest(column, problem.facts)}"
            )
        return str(found)

    @cached_property
    def _unreadable(self) -> str:
        """The first text that an embedded model could not read, told; empty where there is none."""
        for split, problems in self._splits.items():
            for problem in problems:
                for written in (problem.prompt, self._demonstrated(problem) if split == "train" else ""):
                    if unread := foreign(written):
                        return f"the embedded models read ASCII only, not the {unread!r} in {shown(written, BRIEF)}"
        return ""


def _sources(
    source: str, test: str | None, validation: str | None, config: str | None, revision: str | None
) -> dict[Split, tuple[str, list[tables.Row]]]:
    """The rows of each split that has a source of its own, with the source's name. `train` is always one."""
    own: dict[Split, str | None] = {"heldout": test, "validation": validation}
    options = {"heldout": "test", "validation": "validation"}
    if tables.is_file(source):
        found: dict[Split, tuple[str, list[tables.Row]]] = {"train": (source, tables.read("source", source))}
        for split, name in own.items():
            if name is not None:
                found[split] = (name, tables.read(options[split], text(options[split], name)))
        return found
    splits = hub.Splits(source, config, revision)
    names = splits.names()
    train = "train" if "train" in names or len(names) > 1 else names[0]
    found = {"train": (f"{source} {train}", splits.rows("source", train))}
    for split, asked in own.items():
        name = asked or (options[split] if options[split] in names and options[split] != train else None)
        if name is not None:
            found[split] = (f"{source} {name}", splits.rows(options[split], name))
    return found

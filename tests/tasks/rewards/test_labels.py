"""Labels: what a table says about a completion, exactly or by the most similar text."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from ppo_vs_grpo.tasks import rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards import Rated

ROWS: list[dict[str, Any]] = [
    {"prompt": "p", "completion": "abcd", "score": 1.0},
    {"prompt": "p", "completion": " wxyz\n", "score": -2},
    {"prompt": "p", "completion": "abce", "score": 0.5},
    {"prompt": "p", "completion": "wxyz", "score": 0},
    {"prompt": "q", "completion": "abcd", "score": 9},
]


def written(folder: Path, kind: str = "jsonl", rows: list[dict[str, Any]] = ROWS) -> str:
    path = folder / f"labels.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist([row | {"score": float(row["score"])} for row in rows]), path
        )
    return str(path)


def rate(given: Any, *completions: str, problem: Problem = Problem("p")) -> list[Rated]:  # noqa: B008
    made = rewards.make(given)
    made.check([problem])
    return made.rate([problem] * len(completions), completions, [()] * len(completions))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_same_text_has_its_score_and_no_other_has_one(tmp_path: Path, kind: str) -> None:
    assert rate({"labels": written(tmp_path, kind)}, "abcd ", "wxyz", "abc", "q") == [
        Rated(1.0, {"labels": 1.0}),
        Rated(-1.0, {"labels": -1.0}),  # labelled twice, -2 and 0
        Rated(None, {}),
        Rated(None, {}),
    ]


def test_the_most_similar_text_gives_its_score_and_equally_similar_ones_their_mean(tmp_path: Path) -> None:
    given = {"labels": written(tmp_path), "match": "nearest", "name": "people"}
    # by hand: the ratio is 2 * common characters / characters of both
    assert rate(given, "abcd", "abc", "wx", "12") == [
        Rated(1.0, {"people": 1.0, "label_similarity": 1.0}),
        Rated(0.75, {"people": 0.75, "label_similarity": 6 / 7}),  # abcd and abce
        Rated(-1.0, {"people": -1.0, "label_similarity": 4 / 6}),
        Rated((1.0 + 0.5 - 1.0) / 3, {"people": 0.5 / 3, "label_similarity": 0.0}),
    ]


def test_a_prompt_without_labels_has_no_reward_and_labels_for_none_are_a_mistake(tmp_path: Path) -> None:
    path, unknown = written(tmp_path), Problem("r")
    made = rewards.make({"labels": path, "match": "nearest"})
    made.check([Problem("p"), unknown])
    assert made.rate([unknown], ["abcd"], [()]) == [Rated(None, {})]
    with pytest.raises(UserError, match="has no label for any of 1 prompts, such as 'r'"):
        made.check([unknown])
    rewards.make([{"labels": path}, {"reward": "exact"}]).check([Problem("r", {"answer": "1"})])


def test_a_conversation_is_known_by_its_messages_or_its_text(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    path = written(tmp_path, rows=[{"prompt": messages, "completion": "a", "score": 3}])
    asked = Problem("be brief\n\nhi", messages=tuple(messages))
    assert rate({"labels": path}, "a", problem=asked)[0].reward == 3
    path = written(tmp_path, rows=[{"prompt": "be brief\n\nhi", "completion": "a", "score": 4}])
    assert rate({"labels": path}, "a", problem=asked)[0].reward == 4


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "p", "completion": "a"}, "row 2: has no score"),
        ({"prompt": None, "completion": "a", "score": 1}, "row 2: has no prompt"),
        ({"prompt": "p", "completion": "a", "score": "good"}, "row 2: the score is 'good', no finite number"),
        ({"prompt": "p", "completion": "a", "score": float("inf")}, "row 2: the score is inf, no finite number"),
        ({"prompt": 3, "completion": "a", "score": 1}, "row 2: the prompt 3 should be a text, or messages"),
    ],
)
def test_a_row_that_says_nothing_is_named(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    path = written(tmp_path, rows=[ROWS[0], row])
    with pytest.raises(UserError) as found:
        rewards.make({"labels": path})
    assert str(found.value).startswith(f"options.reward.labels: {path}, {words}")


def test_a_digest_changes_with_labels_and_match(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = [rewards.make({"labels": path, "match": match}).digest() for match in ("exact", "nearest")]
    written(tmp_path, rows=ROWS[1:])
    found.append(rewards.make({"labels": path}).digest())
    assert len(set(found)) == 3

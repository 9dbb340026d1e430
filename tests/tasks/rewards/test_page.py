"""docs/rewards.md: every suite on the page makes a task that rates, and its function is the one that is shown."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from ppo_vs_grpo.tasks import make, rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.rewards.rules import final_number

PAGE = (Path(__file__).parents[3] / "docs" / "rewards.md").read_text(encoding="utf-8")
SUITES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SOURCES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the page names, in the current folder."""
    rows = [{"question": f"{n}+1=", "answer": str(n + 1)} for n in range(40)]
    labels = [{"prompt": row["question"], "completion": "12", "score": 0.25} for row in rows]
    for name, written in (("train.jsonl", rows), ("labels.jsonl", labels)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in written))
    pair = {"prompt": "1+1=", "chosen": "2", "rejected": "3"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    (tmp_path / "mine.py").write_text("\n".join(SOURCES))
    (tmp_path / "reward-model").mkdir()
    monkeypatch.chdir(tmp_path)


def rated(made: Any, completion: str) -> rewards.Rated:
    for model in made.rewards.models:
        model.judge = lambda problems, completions: [2.0] * len(completions)
    (found,) = made.rewards.rate([Problem("11+1=", {"question": "11+1=", "answer": "12"})], [completion], [[0] * 288])
    assert isinstance(found, rewards.Rated)
    return found


SHORT = 1 - 0.01 * 2
EXPECTED: list[dict[str, float]] = [
    {"number": 1.0, "parsed": 1.0},
    {"short_and_right": SHORT},
    {"get_soft_overlong_punishment": -1.0},
    {"short_and_right": SHORT, "reward_error": 0.0},
    {"labels": 0.25, "label_similarity": 1.0},
    {"model": 2.0},
    {"preferences": 2.0},
    {"number": 1.0, "parsed": 1.0, "short": SHORT, "model": 2.0},
]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("suite", "parts"), list(zip(SUITES, EXPECTED, strict=True)))
def test_a_suite_of_the_page_rates(suite: str, parts: dict[str, float]) -> None:
    (choice,) = yaml.safe_load(suite)["tasks"].values()
    assert rated(make(choice["task"], choice["options"]), "12").parts == pytest.approx(parts)


@pytest.mark.usefixtures("files")
def test_the_sum_of_the_page() -> None:
    (choice,) = yaml.safe_load(SUITES[-1])["tasks"].values()
    made = make(choice["task"], choice["options"])
    assert rated(made, "12").reward == pytest.approx(1 + 0.1 * SHORT + 0.5 * 2)


def test_the_numbers_of_the_page_are_numbers_and_what_touches_letters_is_none() -> None:
    ((numbers, others),) = re.findall(r"number\. (18, .*?) are numbers,.*?is none: (.*?)\. Values", PAGE, re.DOTALL)
    assert [final_number(text) for text in re.split(r", | and ", numbers)] == [
        18,
        -3,
        1234,
        5,
        Fraction(1, 2),
        Fraction(3, 4),
    ]
    assert [final_number(text) for text in others.split(", ")] == [None, None, None]

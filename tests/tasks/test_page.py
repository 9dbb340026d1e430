"""docs/tasks.md: the suites under "Your own data" are suites, and their tasks are made and score."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.dataset import Dataset
from ppo_vs_grpo.tasks.splits import heldout, problems
from word_problems import GSM8K, written

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
SUITES = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)]


def task_of(suite: dict[str, Any]) -> Any:
    (choice,) = suite["tasks"].values()
    return make(choice["task"], choice["options"])


def test_the_page_has_its_suites() -> None:
    assert [list(suite["tasks"]) for suite in SUITES] == [["clips"], ["sums"], ["words"]]


def test_the_dataset_of_the_page_is_made_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "train.jsonl", GSM8K[:30])
    written(tmp_path / "test.jsonl", GSM8K[30:])
    task = task_of(SUITES[0])
    assert isinstance(task, Dataset)
    problem = heldout(task, "heldout", 1)[0]
    assert problem.prompt.startswith("A baker fills ")
    assert problem.prompt.endswith("?\nReason step by step. Write the final answer, a number, after ####.")
    assert task.score(problem, problem.facts["answer_text"]).passed
    assert not task.score(problem, "#### 3").passed
    assert task.stop == ("\nQuestion:",)


def test_the_generator_of_the_page_is_made() -> None:
    assert problems(task_of(SUITES[1]), "train", 0, 0, 1)[0].prompt.count("+") <= 2


def test_the_table_has_every_option() -> None:
    table = PAGE.partition("## Your own data")[2].partition("- **Splits.**")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert told == inspect.signature(Dataset).parameters.keys()

"""Tasks by name and by place, their options, and what a mistake is told."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import user_task
from drawing import DRAWING
from ppo_vs_grpo import tasks
from ppo_vs_grpo.tasks import TASKS, make
from ppo_vs_grpo.tasks.errors import UserError


@pytest.mark.parametrize("name", DRAWING)
def test_a_name_in_the_table_makes_the_task_of_that_name(name: str) -> None:
    task = make(name)
    assert task.name == ("recall" if name == "noisy" else name)  # its streams are those of the task that it wraps
    assert TASKS[name] == f"{type(task).__module__}:{type(task).__qualname__}"


def test_a_users_class_is_a_task() -> None:
    task = make("user_task:Parity", {"highest": 50})
    assert isinstance(task, user_task.Parity)
    assert task.highest == 50


def test_a_class_with_open_options_gets_them_all() -> None:
    task = make("user_task:Open", {"highest": 7, "other": 1})
    assert isinstance(task, user_task.Open)
    assert task.highest == 7


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("contdown", {}, ["'contdown'", "did you mean 'countdown'", "recall", "package.module:Class"]),
        ("", {}, ["task: unknown ''", "countdown"]),
        (":Parity", {}, ["unknown"]),
        ("no_such_module:Task", {}, ["no_such_module", "cannot be imported", "No module named"]),
        ("broken_task:Task", {}, ["broken_task", "RuntimeError: the data file is missing"]),
        ("user_task:Party", {}, ["no class 'Party'", "did you mean 'Parity'"]),
        ("user_task:annotations", {}, ["no class 'annotations'"]),
        ("user_task:NoTask", {}, ["is no task", "version, max_new_tokens, best_score, draw"]),
        ("user_task:Parity", {"highest": -1}, ["user_task:Parity", "highest must not be negative"]),
        ("user_task:Parity", {"highest": "x"}, ["user_task:Parity", "'x'"]),
        ("recall", {"horizons": 3}, ["options.horizons", "'recall'", "did you mean 'horizon'", "pairs"]),
        ("recall", {"horizon": 0}, ["options.horizon: 0: should be a whole number from 1 to 256"]),
        ("recall", {"horizon": 3.0}, ["options.horizon: 3.0", "whole number"]),
        ("recall", {"pairs": 9}, ["options.pairs: 9", "from 4 to 8"]),
        ("recall", {"demo_accuracy": 1.1}, ["options.demo_accuracy: 1.1: should be a number from 0 to 1"]),
        ("countdown", {"numbers": 5}, ["options.numbers: 5", "from 3 to 4"]),
        ("recall", {"horizon": True}, ["options.horizon: True", "whole number"]),
        ("countdown", {"demo_accuracy": float("nan")}, ["options.demo_accuracy: nan"]),
        ("countdown", {"demo_accuracy": True}, ["options.demo_accuracy: True"]),
        ("sorting", {"length": 3}, ["options.length: 3", "from 4 to 14"]),
        ("sorting", {"graded": "yes"}, ["options.graded: 'yes': should be true or false"]),
        ("arithmetic", {"demo_accuracy": "0.4"}, ["options.demo_accuracy: '0.4'"]),
        ("arithmetic", {"mix": {"esay": 1}}, ["options.mix.esay", "did you mean 'easy'", "unsolvable"]),
        ("arithmetic", {"mix": {"easy": 1.5, "hard": -0.5}}, ["options.mix.easy: 1.5"]),
        ("arithmetic", {"mix": {"easy": 0.5, "hard": 0.4}}, ["options.mix:", "sum to 1, not to 0.9"]),
        ("arithmetic", {"mix": 3}, ["options.mix: 3: should be a mapping of easy, medium, hard, unsolvable"]),
    ],
)
def test_a_mistake_is_told_in_one_line(task: str, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        make(task, options)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def test_a_flat_import_is_refused() -> None:
    spec = importlib.util.spec_from_file_location("tasks", Path(str(tasks.__file__)))
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"ppo_vs_grpo\.tasks, not tasks"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_a_task_is_made_and_scored_without_torch() -> None:
    code = (
        "import sys\n"
        "from ppo_vs_grpo.tasks import make\n"
        "from ppo_vs_grpo.tasks.splits import data_hash\n"
        f"for name in {DRAWING}: data_hash(make(name))\n"
        "print({'torch', 'transformers', 'pandas', 'pydantic', 'datasets', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_task_with_rows_does_without_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("user_task.NoTask.rows", lambda self, split: (), raising=False)
    with pytest.raises(UserError, match=r"it lacks version, max_new_tokens, best_score, score \("):
        make("user_task:NoTask")
    for member in ("version", "max_new_tokens", "best_score", "score"):
        monkeypatch.setattr(f"user_task.NoTask.{member}", 1, raising=False)
    assert make("user_task:NoTask").name == "nothing"
    with pytest.raises(UserError, match=r"^options\.task: 'user_task:NoTask': should be a task that draws"):
        make("noisy", {"task": "user_task:NoTask"})

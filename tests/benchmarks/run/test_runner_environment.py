"""No secret of the environment reaches a run, a user's function or a results folder, but those that a suite names."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fake_suite import FakeRun, make_suite
from ppo_vs_grpo.benchmarks.run.device import Device
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.run.runner import run_suite
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError
from tiny_models import save_model

SECRETS = {
    name: f"planted-{name.lower()}-of-a-test"
    for name in ("GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "HOSTNAME", "JUDGE_KEY")
}

JUDGE = """
import json, os
with open({told!r}, "a") as file:
    file.write(json.dumps(dict(os.environ)) + "\\n")
KEY = os.environ["JUDGE_KEY"]
def judged(completions, **_):
    return [float(len(text) % 2) for text in completions]
"""
"""A user's reward that needs a key as soon as it is imported."""


@pytest.fixture(autouse=True)
def _planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "planted-home-of-a-test").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "planted-home-of-a-test"))
    monkeypatch.setenv("USER", "planted-user-of-a-test")
    monkeypatch.setattr(local, "POLL_S", 0.02)


def leaks(results: Path) -> list[str]:
    """The files in which a planted value stands."""
    assert any(results.rglob("manifest.json"))
    return [str(path) for path in results.rglob("*") if path.is_file() and b"-of-a-test" in path.read_bytes()]


@pytest.mark.parametrize("named", [[], ["JUDGE_KEY", "ABSENT"]])
def test_a_run_gets_what_it_needs_and_what_the_suite_names(tmp_path: Path, named: list[str]) -> None:
    fake = FakeRun(tmp_path, suite=make_suite(tasks=("red",), seeds=1, timing=False))
    fake.suite = fake.suite.model_copy(update={"environment": named})
    built = tmp_path / "built"
    fake.builds = {"red": ("sh", "-c", f"env > {built}")}
    assert fake.run() == 0
    for names in [set(event["environment"]) for event in fake.events()]:
        assert names & SECRETS.keys() == set(named) & SECRETS.keys()
        assert {"PATH", "HOME", "OMP_NUM_THREADS", "PYTHONHASHSEED"} <= names
    assert ("JUDGE_KEY" in built.read_text()) is ("JUDGE_KEY" in named)
    assert "GITHUB_TOKEN" not in built.read_text()
    assert leaks(fake.results) == []


def judged_suite(folder: Path, environment: list[str]) -> Suite:
    (folder / "mine.py").write_text(JUDGE.format(told=str(folder / "told")))
    rows = [{"question": f"{i}:", "answer": str(i)} for i in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options: dict[str, Any] = {"source": str(folder / "rows.jsonl"), "prompt": "question", "answer": "answer"}
    return Suite.model_validate(
        {
            "name": "judged",
            "start": str(folder / "start"),
            "tasks": {"rows": {"task": "dataset", "options": options | {"reward": f"{folder / 'mine.py'}:judged"}}},
            "arms": {"grpo": {"algorithm": "grpo"}},
            "seeds": 1,
            "train": {"completions": 16, "prompts_per_update": 2, "group_size": 4, "max_new_tokens": 4},
            "eval": {"prompts": 4, "samples": 1, "points": 2, "transcripts": 1},
            "timing": None,
            "environment": environment,
        }
    )


def test_a_users_function_gets_the_key_that_it_needs_and_no_byte_of_it_is_kept(tmp_path: Path) -> None:
    save_model(tmp_path / "start")
    told, results = tmp_path / "told", tmp_path / "results"
    with pytest.raises(UserError, match="JUDGE_KEY"):
        run_suite(judged_suite(tmp_path, []), "judged", results, device=Device.cpu)
    told.unlink()
    suite = judged_suite(tmp_path, ["JUDGE_KEY"])
    screen = StringIO()
    assert run_suite(suite, "judged", results, device=Device.cpu, console=Console(file=screen)) == 0, screen.getvalue()
    gotten = [json.loads(line) for line in told.read_text().splitlines()]
    assert len(gotten) >= 2, "once where the suite is read, once in the run"
    for environment in gotten:
        assert environment.keys() & SECRETS.keys() == {"JUDGE_KEY"}
    assert leaks(results) == []
    assert "- JUDGE_KEY" in (results / "judged" / "suite.lock.yaml").read_text()


def test_names_are_no_part_of_a_runs_key() -> None:
    assert "environment" not in RunSpec.model_fields
    assert "limits" not in RunSpec.model_fields


@pytest.mark.parametrize("wrong", ["JUDGE_KEY=planted-of-a-test", "1ST", "a b", ""])
def test_a_value_or_no_name_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="should be a variable's name, such as JUDGE_KEY, no value"):
        Suite.model_validate({**make_suite().model_dump(exclude={"seeds"}), "seeds": 1, "environment": [wrong]})

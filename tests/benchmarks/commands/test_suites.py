"""Suites listed, with what they take, and begun."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from checkout import ROOT
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError

PUBLISHED = sorted(ROOT.glob("results/published/*/suite.lock.yaml"))


def test_a_bare_list_has_each_suite_with_its_runs_and_minutes() -> None:
    listed = CliRunner().invoke(app, ["list"])
    assert listed.exit_code == 0
    rows = {line.split()[0]: line.split() for line in listed.output.splitlines() if not line.startswith(" ")}
    assert rows["suite"] == ["suite", "runs", "minutes"]
    assert rows["core"][1:3] == ["120", "20-45"]
    assert rows["claims"][1:4] == ["784", "about", "236"]


@pytest.mark.parametrize("lock", PUBLISHED, ids=[path.parent.name for path in PUBLISHED])
def test_the_runs_that_are_listed_are_those_that_were_run(lock: Path) -> None:
    written = yaml.safe_load(lock.read_text())
    assert Suite.model_validate(written["suite"]).planned == len(written["keys"])


def test_the_suite_that_init_writes_is_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begun = CliRunner().invoke(app, ["init", "my-suite"])
    assert begun.output == "wrote my-suite.yaml; next: ppo-vs-grpo run my-suite.yaml\n"
    shown = CliRunner().invoke(app, ["show", "my-suite.yaml"])  # resolves it: looks everything up
    assert shown.exit_code == 0, shown.exception
    suite = Suite.model_validate(yaml.safe_load(shown.output))
    assert (suite.name, list(suite.arms), len(suite.seeds)) == ("my-suite", ["ppo", "grpo"], 8)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mine", "mine.yaml: is there already; choose another name, or delete it"),
        ("core", "init core: a suite of the package is called so; choose another name, such as my-core"),
        ("a b", "init a b: a suite's name has letters, digits, _, + and - only, as in my-suite"),
    ],
)
def test_init_overwrites_nothing(name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("kept")
    refused = CliRunner().invoke(app, ["init", name])
    assert isinstance(refused.exception, UserError)
    assert str(refused.exception) == says
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]

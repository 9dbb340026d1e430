"""Suites listed, with what they take, and begun."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from checkout import ROOT
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.suites.suite import Suite

PUBLISHED = sorted(ROOT.glob("results/published/*/suite.lock.yaml"))


def test_a_bare_list_has_each_suite_with_its_runs_and_minutes() -> None:
    listed = CliRunner().invoke(app, ["list"])
    assert listed.exit_code == 0
    rows = {line.split()[0]: line.split() for line in listed.output.splitlines() if not line.startswith(" ")}
    assert rows["suite"] == ["suite", "runs", "minutes"]
    assert rows["core"][1:3] == ["80", "12-28"]
    assert rows["claims"][1:4] == ["344", "about", "97"]


@pytest.mark.parametrize("lock", PUBLISHED, ids=[path.parent.name for path in PUBLISHED])
def test_the_runs_that_are_listed_are_those_that_were_run(lock: Path) -> None:
    written = yaml.safe_load(lock.read_text())
    assert Suite.model_validate(written["suite"]).planned == len(written["keys"])

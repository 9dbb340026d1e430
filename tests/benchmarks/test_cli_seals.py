"""`report` on results that were changed: what is said, the exit code, and what still counts."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from command import mistake
from damage import by_hand, rehash, run_folder, strip
from ppo_vs_grpo.benchmarks.__main__ import app
from synthetic import make_suite, write_results


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_results(tmp_path / "small", make_suite(tasks=("recall",), seeds=3, updates=8, prompts=8, timing=False))


def test_changed_runs_are_named_and_left_out_with_exit_code_1(folder: Path) -> None:
    edited, poorer, doubled = (run_folder(folder, f"grpo.recall.s{seed}") for seed in range(3))
    by_hand(status="diverged")(edited)
    (poorer / "env.json").write_text(json.dumps({"cpu": "Example CPU of another kind"}))
    table = doubled / "evals.parquet"
    rows = pd.read_parquet(table)
    pd.concat([rows, rows]).to_parquet(table, index=False)
    rehash(doubled)
    ended = CliRunner().invoke(app, ["report", str(folder)])
    assert ended.exit_code == 1
    assert [line[:-1].split(" ")[2:7] for line in ended.stderr.splitlines()] == [
        [f"runs/{edited.name}/manifest.json:", "changed", "since", "the", "run"],
        [f"runs/{poorer.name}/env.json:", "changed", "since", "the", "run"],
        [f"runs/{doubled.name}/evals.parquet:", "two", "rows", "of", "update"],
    ]
    unfinished = pd.read_csv(folder / "report" / "tables" / "unfinished.csv")
    assert unfinished["state"].tolist() == ["unreadable"] * 3
    assert "another kind" not in (folder / "report" / "report.md").read_text()


def test_a_changed_lock_is_one_line_with_exit_code_2_and_no_report(folder: Path) -> None:
    path = folder / "suite.lock.yaml"
    path.write_text(path.read_text().replace("algorithm: grpo", "algorithm: rloo"))
    line = mistake("report", str(folder))
    assert line.startswith(f"error: {path}: changed since the suite wrote it: its seal is ")
    assert line.endswith("Restore it, or run the suite again: that writes it anew")
    assert not (folder / "report").exists()


def test_a_folder_without_seals_has_a_report_that_says_so(folder: Path) -> None:
    strip(folder)
    ended = CliRunner().invoke(app, ["report", str(folder)])
    assert ended.exit_code == 0
    says = "6 runs and suite.lock.yaml carry no seal: nothing shows whether they were changed since."
    assert ended.stderr == f"{says}\n"
    for page in ("report.md", "report.html"):
        assert (folder / "report" / page).read_text().count(says) == 1

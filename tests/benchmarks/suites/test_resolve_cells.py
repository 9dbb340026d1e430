"""Cells that only the timing pass runs: from the suite to runs, from runs to frames, and a whole suite with a peer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.suites.sections import SpeedCell
from suite_files import message, specs

CELLS = """
timing.cells={
  wide: {task: lengths, start: tiny, options: {new_tokens: 9}, train: {epochs: 2}},
  narrow: {task: lengths, start: nano, arms: [grpo]},
}
"""


def test_cells_are_timed_after_the_tasks_repeat_by_repeat(path: Path) -> None:
    made = specs(path, CELLS, "timing.repeats=2")
    assert [(spec.task, spec.arm, spec.seed) for spec in made if spec.task in ("wide", "narrow")] == [
        *(("wide", "ppo", 0), ("wide", "grpo", 0), ("narrow", "grpo", 0)),
        *(("wide", "grpo", 1), ("wide", "ppo", 1), ("narrow", "grpo", 1)),
    ]
    assert {spec.purpose for spec in made[-6:]} == {"timing"}


def test_a_cell_has_its_own_start_and_settings(path: Path) -> None:
    by_cell = {spec.task: spec for spec in specs(path, CELLS)}
    assert (by_cell["wide"].start, by_cell["wide"].train.epochs, by_cell["wide"].train.max_new_tokens) == ("tiny", 2, 9)
    assert (by_cell["narrow"].start, by_cell["narrow"].train.epochs) == ("nano", 1)
    assert by_cell["sorting"].start == "nano"
    assert by_cell["wide"].train.completions == 7 * 32


def test_cells_change_no_key_of_another_run(path: Path) -> None:
    plain, with_cells = ([spec.key for spec in specs(path, *more)] for more in ((), (CELLS,)))
    assert with_cells[: len(plain)] == plain
    timed = specs(path)[-1]
    assert timed.timing is not None
    more = timed.timing.model_copy(update={"cells": {"wide": SpeedCell(task="lengths", start="nano")}})
    assert timed.model_copy(update={"timing": more}).key == timed.key


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("{task: lengths}", "timing.cells.a.start: missing"),
        ("{task: lenths, start: nano}", "timing.cells.a.task: unknown 'lenths'; did you mean 'lengths'"),
        ("{task: lengths, start: nan}", "timing.cells.a.start: 'nan' is neither an embedded size"),
        ("{task: lengths, start: nano, options: {new_tokens: 0}}", "timing.cells.a.options.new_tokens: 0: should be"),
        ("{task: lengths, start: nano, train: {epoch: 2}}", "timing.cells.a.train.epoch: unknown"),
        ("{task: lengths, start: nano, arms: [gpo]}", "timing.cells.a.arms: gpo: no arm of this suite"),
    ],
)
def test_a_mistake_in_a_cell_names_the_cell(path: Path, cell: str, expected: str) -> None:
    assert message(path, f"timing.cells={{a: {cell}}}").startswith(expected)


def test_a_cell_and_a_task_have_different_labels(path: Path) -> None:
    said = message(path, "timing.cells={recall: {task: lengths, start: nano}}")
    assert "timing.cells.recall: also a task of this suite" in said


def test_a_peer_is_not_probed(path: Path) -> None:
    made = specs(path, "arms.grpo={algorithm: trl-grpo}", "probes={}")
    assert {spec.arm: spec.probes is not None for spec in made if spec.purpose == "train"} == {
        "ppo": True,
        "grpo": False,
    }


def test_a_suite_with_a_peer_and_a_cell_from_its_file_to_its_report(tmp_path: Path) -> None:
    suite = tmp_path / "beside.yaml"
    suite.write_text(
        "start: nano\n"
        "tasks: {short: {task: lengths, options: {new_tokens: 4}}}\n"
        "arms: {grpo: {algorithm: grpo}, theirs: {algorithm: trl-grpo}}\n"
        "seeds: 1\n"
        "train: {completions: 16, prompts_per_update: 2, group_size: 4, mini_batches: 1}\n"
        "eval: {prompts: 4, samples: 1, points: 2, transcripts: 1}\n"
        "timing:\n"
        "  {updates: 1, warmup_updates: 1, repeats: 1, arms: [grpo],\n"
        "   cells: {wide: {task: lengths, start: nano, options: {new_tokens: 8}, arms: [grpo, theirs]}}}\n"
    )
    command = [sys.executable, "-P", "-m", "ppo_vs_grpo.benchmarks", "run", str(suite)]
    command += ["--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "On equal work theirs takes" in said or "no cell was measured alone on the machine" in said

    results = load(tmp_path / "results" / "beside")
    assert set(results.runs["status"]) == {"ok"}
    assert (set(results.timing["task"]), set(results.speed["task"])) == ({"short"}, {"wide"})
    assert (set(results.memory["task"]), set(results.speed_memory["task"])) == ({"short"}, {"wide"})
    table = pd.read_csv(tmp_path / "results" / "beside" / "report" / "tables" / "speed.csv")
    assert table[["cell", "arm", "peer", "n"]].to_numpy().tolist() == [["wide", "grpo", "theirs", 1]]
    assert table["tokens_times"].tolist() == [1]
    text = (tmp_path / "results" / "beside" / "report" / "report.html").read_text()
    assert '<section id="scaling">' in text
    first = text[: text.index("What it cost")]
    assert "On equal work theirs takes" in first or "no cell was measured alone on the machine" in first

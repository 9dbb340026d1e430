"""The smoke suite for real: a start model, four runs, the timing pass, the report, the notebook."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from checkout import ROOT
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results

NOTEBOOK = ROOT / "results" / "analysis.ipynb"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    line = [sys.executable, "-P", "-m", "ppo_vs_grpo.benchmarks", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the smoke suite's results in `results` and its start model in `cache`."""
    folder = tmp_path_factory.mktemp("smoke")
    done = command("run", "smoke", "--results", str(folder / "results"), "--cache", str(folder / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(folder / "results/smoke/report/report.html") in done.stdout.replace("\n", "")
    return folder


@pytest.fixture(scope="module")
def results(smoke: Path) -> Results:
    return load(smoke / "results/smoke")


def test_every_cell_has_its_runs(results: Results) -> None:
    assert results.missing.empty
    assert sorted(results.runs["status"]) == ["ok"] * 8
    assert {arm: frame.shape for arm, frame in results.score_matrix().items()} == {"ppo": (2, 1), "grpo": (2, 1)}


def test_the_index_is_the_table_of_runs(smoke: Path, results: Results) -> None:
    index = pd.read_parquet(smoke / "results/smoke/index.parquet")
    assert index["key"].tolist() == results.runs["key"].tolist()
    assert index["completions"].tolist() == results.runs["completions"].tolist()


def test_arms_meet_the_same_start_prompts_and_first_completions(results: Results) -> None:
    first = results.metrics[results.metrics["update"] == 1].set_index(["arm", "seed"])
    for column in ("reward_mean", "completion_tokens_mean", "tokens", "reward_std_within_group"):
        assert (first.loc["ppo", column] == first.loc["grpo", column]).all()
    start = results.evals[results.evals["update"] == 0]
    passes = start.pivot_table(index="prompt", columns=["arm", "seed"], values="passes")
    assert passes.nunique(axis=1).eq(1).all()


def test_a_repeat_gives_the_same_metrics(smoke: Path, tmp_path: Path, results: Results) -> None:
    """Bit for bit, seconds aside, in another process and another folder."""
    for key in results.runs.loc[results.runs["purpose"] == "train", "key"].iloc[:2]:
        before = smoke / "results/smoke/runs" / key
        again = tmp_path / key
        again.mkdir()
        shutil.copy(before / "spec.json", again)
        (start,) = (path for path in (smoke / "cache").iterdir() if path.is_dir())
        worker = [sys.executable, "-P", "-m", "ppo_vs_grpo.benchmarks.run.worker", str(again), str(start)]
        subprocess.run(worker, check=True, capture_output=True)
        for name in ("metrics", "evals"):
            assert lines(before / f"{name}.jsonl") == lines(again / f"{name}.jsonl")


def test_neither_the_slots_nor_a_busy_machine_changes_a_number(smoke: Path, tmp_path: Path, results: Results) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        seeds = ("--slots", "1", "--seeds", "0", "--set", "timing=null")
        done = command("run", "smoke", *seeds, "--results", str(tmp_path), "--cache", str(smoke / "cache"))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [path for path in (tmp_path / "smoke/runs").iterdir() if path.is_dir()]
    assert len(runs) == 2
    for again in runs:
        before = smoke / "results/smoke/runs" / again.name
        for name in ("metrics", "evals"):
            assert lines(before / f"{name}.jsonl") == lines(again / f"{name}.jsonl")


def lines(path: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.endswith("_s")} for row in rows]


def test_the_timing_pass_measures_each_phase_and_its_memory(results: Results) -> None:
    measured = results.timing[~results.timing["warmup"].astype(bool)]
    assert (measured[["rollout_s", "reward_s", "reference_s", "update_s"]] > 0).all(axis=None)
    assert (measured.loc[measured["arm"] == "ppo", "value_s"] > 0).all()
    assert (measured.loc[measured["arm"] == "grpo", "value_s"] == 0).all()
    timed = results.memory[results.memory["purpose"] == "timing"]
    assert {"process", "rollout", "update"} <= set(timed["phase"])
    assert timed["bytes"].between(50e6, 2e9).all()


def test_a_second_call_finds_everything_done_and_writes_the_same_report(smoke: Path) -> None:
    report = smoke / "results/smoke/report/report.html"
    before = report.read_bytes()
    again = command("run", "smoke", "--results", str(smoke / "results"), "--cache", str(smoke / "cache"))
    assert again.returncode == 0
    assert "8 of them finished before" in again.stdout
    assert report.read_bytes() == before


def test_a_corrupt_line_is_one_message_and_the_report_is_made_without_its_run(smoke: Path, tmp_path: Path) -> None:
    folder = tmp_path / "smoke"
    shutil.copytree(smoke / "results/smoke", folder, ignore=shutil.ignore_patterns("report"))
    broken = next((folder / "runs").iterdir()) / "metrics.jsonl"
    broken.write_text(broken.read_text().replace("{", "", 1))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = command("report", str(folder))
    assert done.returncode == 1
    (message,) = done.stderr.strip().splitlines()
    assert message.startswith(f"left out: runs/{broken.parent.name}/metrics.jsonl, line 1: not JSON")
    assert "unreadable" in (folder / "report/report.md").read_text()
    assert {path: path.read_bytes() for path in before} == before


def test_the_notebook_runs_on_real_results(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PPO_VS_GRPO_RESULTS", str(smoke / "results/smoke"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))

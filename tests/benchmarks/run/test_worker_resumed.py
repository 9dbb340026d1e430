"""A run that is killed and goes on from its checkpoints leaves what an uninterrupted run leaves."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from example_spec import SPEC
from ppo_vs_grpo.algorithms import entry
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.probes import ProbeConfig
from ppo_vs_grpo.benchmarks.records.recorder import Recorder
from ppo_vs_grpo.benchmarks.run import checkpoints, worker
from ppo_vs_grpo.benchmarks.run.state import RunState
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig
from run_folders import prepared

ARM = "ppo-critic"
RUN = SPEC.model_copy(
    update={
        **{"arm": ARM, "algorithm": ARM, "config": entry(ARM).config},
        "train": TrainConfig(completions=56, prompts_per_update=2, group_size=4, max_new_tokens=4),
        "eval": EvalConfig(prompts=4, samples=2, points=4, transcripts=2),
        "probes": ProbeConfig(prompts=2, reference_prompts=2, continuations=2, prefixes=1),
    }
)
EVERY_TWO = '{"updates": 2, "minutes": null}'


class Killed(BaseException):
    """What no `except Exception` stops."""


def killed_after(update: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """End the process once the line of this update is written."""
    whole = worker.Run._record

    def record(run: worker.Run, metrics: dict[str, Any], warmup: bool) -> None:
        whole(run, metrics, warmup)
        if metrics["update"] == update:
            raise error

    monkeypatch.setattr(worker.Run, "_record", record)


def begin(folder: Path, model: Path, *options: str, checkpoint: str = EVERY_TWO) -> int:
    """Start the run or go on with it, as the runner does."""
    state = RunState(RUN, folder)
    state.prepare()
    going_on = [] if state.goes_on_from is None else ["--go-on", str(state.goes_on_from)]
    return worker.main([str(folder), str(model), "--contended", "--checkpoint", checkpoint, *going_on, *options])


def manifest_of(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return made


def left(folder: Path) -> dict[str, Any]:
    """All that a run says, without seconds and the memory of its process."""
    rows = {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in folder.glob("*.jsonl")}
    rows |= {path.name: pd.read_parquet(path).to_dict("records") for path in folder.glob("*.parquet")}
    rows["samples"] = [
        json.loads(line) for line in gzip.decompress((folder / "samples.jsonl.gz").read_bytes()).splitlines()
    ]
    said = {
        name: [
            {key: str(value) for key, value in row.items() if not key.endswith("_s")}
            for row in each
            if row.get("source") != "peak_rss"
        ]
        for name, each in rows.items()
    }
    counts = ("status", "updates", "completions", "tokens", "optimizer_steps", "weights")
    return {**said, **{name: manifest_of(folder)[name] for name in counts}}


def test_kills_leave_no_trace_but_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, model = prepared(tmp_path, RUN)
    assert worker.main([str(folder), str(model), "--save-policies"]) == 0
    whole = left(folder)
    assert manifest_of(folder)["resumed"] == 0
    assert {"policy/model.safetensors", "critic/model.safetensors"} <= whole["weights"].keys()
    killed, seams = tmp_path / "killed", []
    for update in (1, 4, 4, 7):  # before the first checkpoint; in the evaluation after 4, twice; at the end
        with monkeypatch.context() as patch:
            killed_after(update, patch, Killed())
            with pytest.raises(Killed):
                begin(killed, model)
        seams.append(RunState(RUN, killed).prepare()[-1:])
    assert seams == [[], ["goes on from update 2 of 7"], ["goes on from update 2 of 7"], ["goes on from update 6 of 7"]]
    assert begin(killed, model, "--save-policies") == 0
    assert left(killed) == whole
    manifest = manifest_of(killed)
    assert manifest["resumed"] == 2, "the seams at 2 and at 6; what was lost after 2 is no part of the run"
    assert manifest["wall_s"] > manifest["startup_s"] + manifest["train_s"] + manifest["eval_s"] + manifest["probe_s"]
    assert not (killed / "checkpoints").exists()


def test_a_kill_while_a_checkpoint_is_written_costs_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = prepared(tmp_path, RUN)
    killed = tmp_path / "killed"
    whole = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if target.name == "0000004":
            raise Killed
        return whole(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            begin(killed, model)
    assert RunState(RUN, killed).prepare() == ["goes on from update 2 of 7"]


def test_a_run_that_fails_by_itself_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = prepared(tmp_path, RUN)
    folder = tmp_path / "failed"
    with monkeypatch.context() as patch:
        killed_after(5, patch, RuntimeError("a reward that is no number"))
        assert begin(folder, model, checkpoint='{"updates": 2, "keep": true}') == 1
    assert manifest_of(folder)["status"] == "failed"
    state = RunState(RUN, folder)
    assert (state.prepare(), state.goes_on_from) == ([], None)


def test_a_run_whose_disk_is_full_goes_on_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = prepared(tmp_path, RUN)
    folder = tmp_path / "full"
    assert begin(tmp_path / "whole", model, "--save-policies") == 0
    append = Recorder._append

    def fill(recorder: Recorder, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if name == "metrics" and rows[0]["update"] == 5:
            with (recorder.folder / "metrics.jsonl").open("a") as lines:
                lines.write('{"update": 5, "rew')
            raise OSError(28, "No space left on device")
        append(recorder, name, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_append", fill)
        assert begin(folder, model) == 1
    assert manifest_of(folder)["error"] == "OSError: [Errno 28] No space left on device"
    assert RunState(RUN, folder).prepare() == ["goes on from update 4 of 7"]
    assert begin(folder, model, "--save-policies") == 0
    assert left(folder) == left(tmp_path / "whole")


def test_a_checkpoint_that_cannot_be_written_is_a_line_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = prepared(tmp_path, RUN)

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write", full)
    assert begin(folder, model) == 0
    assert "checkpoint of update 2: not written: [Errno 28] No space left on device" in capsys.readouterr().out


def test_a_run_of_seconds_writes_none_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, model = prepared(tmp_path, RUN)
    assert worker.main([str(folder), str(model), "--checkpoint", "{}"]) == 0
    assert "checkpoint of" not in capsys.readouterr().out
    (again := tmp_path / "again").mkdir()
    (again / "spec.json").write_text(RUN.model_dump_json())
    assert worker.main([str(again), str(model), "--checkpoint", '{"minutes": 1e-9, "keep": true}']) == 0
    assert capsys.readouterr().out.count("checkpoint of update") == 7
    assert sorted(path.name for path in (again / "checkpoints").iterdir()) == ["0000006", "0000007"]

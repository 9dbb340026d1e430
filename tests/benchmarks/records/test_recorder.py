"""What a run leaves behind, and what it must never hold."""

from __future__ import annotations

import getpass
import gzip
import hashlib
import io
import json
import math
import socket
import subprocess
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest

from example_spec import SPEC
from faulty_disk import Disk
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.records.recorder import Recorder
from ppo_vs_grpo.benchmarks.records.schema import read_lines
from ppo_vs_grpo.benchmarks.run.machine import Neighbours, surroundings


def test_lines_are_written_as_they_happen_and_the_manifest_last(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, SPEC.identity)
    recorder.metrics({"update": 1, "reward_mean": 0.5, "value_loss": math.nan})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"update": 1, "reward_mean": 0.5, "value_loss": None}]
    assert not (tmp_path / "manifest.json").exists()

    recorder.evals([{"prompt": 0, "passes": 2}], [{"prompt": "3,5,7=22:", "completion": "3*5+7"}])
    recorder.memory("process", "peak_rss", 7)
    recorder.finish({"status": "ok"})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["status"], manifest["key"], manifest["seed"]) == ("ok", SPEC.key, 3)
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    assert {"metrics.parquet", "evals.parquet", "memory.parquet", "samples.jsonl.gz"} < manifest["files"].keys()
    assert pd.read_parquet(tmp_path / "memory.parquet").to_dict("records") == [
        {"phase": "process", "role": "process", "source": "peak_rss", "bytes": 7}
    ]
    assert json.loads(gzip.decompress((tmp_path / "samples.jsonl.gz").read_bytes()))["completion"] == "3*5+7"


def test_a_part_may_come_and_go_and_a_reward_may_be_missing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, SPEC.identity)
    recorder.metrics({"update": 1, "reward_a": 0.5})
    recorder.metrics({"update": 2, "reward_b": 0.25})
    recorder.evals([{"prompt": 0}], [{"completion": "7", "reward": math.nan}])
    assert read_lines(tmp_path / "metrics.jsonl")[1] == {"update": 2, "reward_a": None, "reward_b": 0.25}
    recorder.finish({"status": "ok"})
    table = pd.read_parquet(tmp_path / "metrics.parquet")
    assert table.replace({math.nan: None}).to_dict("list") == {
        "update": [1, 2], "reward_a": [0.5, None], "reward_b": [None, 0.25],
    }  # fmt: skip
    transcript = gzip.decompress((tmp_path / "samples.jsonl.gz").read_bytes()).decode()
    assert json.loads(transcript, parse_constant=pytest.fail) == {"completion": "7", "reward": None}


def test_lines_do_not_stay_in_memory(tmp_path: Path) -> None:
    """A thousand updates of forty numbers took 3 MB as long as each line was kept for the table at the end."""
    recorder = Recorder(tmp_path, SPEC.identity)
    row = {f"metric_{i}": 0.1 * i for i in range(40)}
    recorder.metrics(row | {"update": 0})
    tracemalloc.start()
    try:
        for update in range(1, 1001):
            recorder.metrics({name: value + update for name, value in row.items()} | {"update": update})
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown_bytes < 100_000
    recorder.finish({"status": "ok"})
    assert pd.read_parquet(tmp_path / "metrics.parquet")["update"].tolist() == list(range(1001))


def test_half_a_line_of_a_full_disk_is_no_row(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, SPEC.identity)
    recorder.metrics({"update": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"update": 2, "rew')
    recorder.finish({"status": "failed"})
    assert pd.read_parquet(tmp_path / "metrics.parquet")["update"].tolist() == [1]


def test_a_disk_that_fails_once_leaves_nothing_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, SPEC.identity)
    recorder.metrics({"update": 1})
    for first in (1, 2):  # as the file is opened, as it is written
        with monkeypatch.context() as failing:
            failing.setattr(io, "open", Disk(str(tmp_path), first, full=False)._open)
            with pytest.raises(OSError, match="Input/output error"):
                recorder.metrics({"update": 2, "reward_mean": 0.5})
    recorder.metrics({"update": 3})
    recorder.finish({"status": "failed"})
    assert pd.read_parquet(tmp_path / "metrics.parquet")["update"].tolist() == [1, 3]


def test_the_environment_names_no_person_machine_or_folder() -> None:
    text = json.dumps(surroundings())
    for secret in (getpass.getuser(), socket.gethostname(), str(Path.home())):
        assert f'"{secret}' not in text
        assert f"{secret}/" not in text


def test_the_commit_is_the_packages_not_the_current_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    here = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=b"]
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "other"], check=True)
    assert surroundings()["package"]["commit"] == here


def test_neighbours_are_the_machines_work_without_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 2 s the machine worked 3 s, this process 1.5 of them: 0.75 of a core belongs to others."""
    reads = iter([(0.0, 10.0, 5.0), (2.0, 13.0, 6.5)])
    monkeypatch.setattr(Neighbours, "_read", lambda meter: next(reads))
    assert Neighbours().cores() == 0.75


def test_the_machines_work_contains_ones_own() -> None:
    meter = Neighbours()
    wall_s, busy_s, own_s = meter._read()
    while meter._read()[2] < own_s + 0.5:
        pass
    later_s, more_busy_s, more_own_s = meter._read()
    assert 0.5 <= more_own_s - own_s <= more_busy_s - busy_s + 0.1  # the kernel counts in hundredths
    assert later_s - wall_s >= 0.4


def test_a_key_tells_what_changes_a_result_and_nothing_else() -> None:
    def changed(**fields: object) -> str:
        return SPEC.model_copy(update=fields).cfg8

    assert changed(seed=4) == changed(suite="other") == changed(start="/a/path") == SPEC.cfg8
    others = {changed(start_hash="1"), changed(task_data="1"), changed(protocol=2), changed(config={"lam": 1.0})}
    assert len({*others, SPEC.cfg8, changed(train=TrainConfig(beta=0.5))}) == 6

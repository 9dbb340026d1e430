"""What a mirror takes at each look into the folder, and what it leaves for later."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fake_wandb import put_fake, told
from ppo_vs_grpo.benchmarks.records.lock import run_names, write_lock
from ppo_vs_grpo.benchmarks.tracking.__main__ import SMALL_BYTES, Mirror
from ppo_vs_grpo.benchmarks.tracking.beside import Mode
from synthetic import make_suite, write_results


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What wandb was told, by a mirror in this process."""
    log = put_fake(tmp_path, monkeypatch)
    monkeypatch.syspath_prepend(tmp_path / "fake")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    assert importlib.import_module("wandb").Settings is dict
    yield log
    sys.modules.pop("wandb", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two training runs and four of the timing pass."""
    suite = make_suite(tasks=("sorting",), seeds=1, updates=6, prompts=4)
    folder = write_results(tmp_path / "synthetic", suite)
    (folder / "wandb").mkdir()
    return folder


def keys(folder: Path, kind: str) -> set[str]:
    return {place.name for place in (folder / kind).iterdir()}


def the_ppo_run(folder: Path) -> Path:
    return next((folder / "runs").glob("ppo.*"))


def test_a_timing_run_has_the_machine_to_itself(folder: Path, log: Path) -> None:
    next((folder / "timing").glob("*/manifest.json")).unlink()
    mirror = Mirror(folder, Mode.offline)
    mirror.step(ended=False)
    assert not log.exists()
    mirror.step(ended=True)
    assert set(told(log, "summary")) > keys(folder, "runs")


def test_the_timing_pass_comes_at_the_end(folder: Path, log: Path) -> None:
    mirror = Mirror(folder, Mode.offline)
    mirror.step(ended=False)
    assert set(told(log, "summary")) == keys(folder, "runs")
    mirror.step(ended=True)
    assert set(told(log, "summary")) == keys(folder, "runs") | keys(folder, "timing")


def test_a_run_that_came_to_no_end_is_a_failure_in_wandb(folder: Path, log: Path) -> None:
    place = the_ppo_run(folder)
    (place / "manifest.json").unlink()
    mirror = Mirror(folder, Mode.offline)
    mirror.step(ended=False)
    assert [step for step, _ in told(log, "log")[place.name]] == [0, 1, 2, 3, 4, 5]
    mirror.step(ended=True)
    ends = told(log, "finish")
    assert ends.pop(place.name) == [[1]]
    assert set(map(str, ends.values())) == {"[[0]]"}
    assert place.name not in told(log, "summary")


def test_large_files_stay_where_they_are(folder: Path, log: Path) -> None:
    place = the_ppo_run(folder)
    for name, size_bytes in (("large", SMALL_BYTES + 1), ("small", SMALL_BYTES)):
        (place / name).write_bytes(bytes(size_bytes))
    Mirror(folder, Mode.offline).step(ended=True)
    ((_, _, files),) = told(log, "artifact")[place.name]
    assert "small" in files
    assert "large" not in files


@pytest.mark.parametrize("mode", [Mode.offline, Mode.online])
def test_half_an_offline_run_makes_way_for_the_whole(folder: Path, log: Path, mode: Mode) -> None:
    place = the_ppo_run(folder)
    half, other = (folder / "wandb" / f"offline-run-20261128_010203-{key}" for key in (place.name, "another"))
    half.mkdir()
    other.mkdir()
    Mirror(folder, mode).step(ended=True)
    assert half.exists() == (mode is Mode.online)
    assert other.exists()


def test_curves_are_over_completions(folder: Path, log: Path) -> None:
    Mirror(folder, Mode.offline).step(ended=True)
    assert set(map(str, told(log, "axis").values())) == {"[['*', 'completions']]"}


def test_runs_that_a_suite_gained_are_seen(folder: Path) -> None:
    lock = folder / "suite.lock.yaml"
    before = run_names(folder)
    os.utime(lock, ns=(1, 1))
    assert run_names(folder) == before
    longer = yaml.safe_load(lock.read_text())
    longer["suite"]["seeds"].append(99)
    longer["keys"].append("ppo.sorting.s99.0123abcd")
    write_lock(folder, longer, longer["seals"])
    assert [name.key for name in run_names(folder) if name not in before] == ["ppo.sorting.s99.0123abcd"]

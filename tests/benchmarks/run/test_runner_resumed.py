"""A suite whose workers are killed by SIGKILL goes on, and leaves the records of one that was left alone."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import psutil
import pytest
from rich.console import Console

from ppo_vs_grpo.benchmarks.run.device import Device
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.run.progress import Board
from ppo_vs_grpo.benchmarks.run.runner import run_suite
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from tiny_models import save_model

UPDATES = 24


def make_suite(start: Path) -> Suite:
    return Suite.model_validate(
        {
            "name": "killed",
            "start": str(start),
            "tasks": {"countdown": {"task": "countdown"}},
            "arms": {"ppo": {"algorithm": "ppo"}},
            "seeds": 1,
            "train": {
                "completions": UPDATES * 16, "prompts_per_update": 4, "group_size": 4, "max_new_tokens": 6,
            },
            "eval": {"prompts": 8, "samples": 2, "points": 4, "transcripts": 2},
            "timing": None,
            "checkpoint": {"updates": 3},
        }
    )  # fmt: skip


def workers() -> list[psutil.Process]:
    """The processes that train: children of the server that forks them, which is a child of this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.ppid() != os.getpid():
                found.append(process)
    return found


def kill_after(
    results: Path, updates: int, ended: Event, killed: list[int], number: signal.Signals = signal.SIGKILL
) -> None:
    """Send a signal to the process that trains as soon as it has written so many updates."""

    def lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in results.glob("*/runs/*/metrics.jsonl"))

    while not workers():
        if ended.wait(0.01):
            return
    before = lines()  # what the run goes on from: the folder is taken back before the process begins
    while lines() < before + updates:
        if ended.wait(0.002):
            return
    for process in workers():
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
            killed.append(process.pid)


def run(
    suite: Suite, results: Path, kill: int = 2 * UPDATES, number: signal.Signals = signal.SIGKILL
) -> tuple[int, str, int]:
    """Run what is left of the suite, killing its worker after some updates; exit code, screen, processes killed."""
    screen, ended, killed = StringIO(), Event(), list[int]()
    killer = Thread(target=kill_after, args=(results, kill, ended, killed, number))
    killer.start()
    try:
        console = Console(file=screen, width=200)
        code = run_suite(suite, "killed", results, slots=1, device=Device.cpu, save_policies=True, console=console)
    finally:
        ended.set()
        killer.join()
    return code, screen.getvalue(), len(killed)


def left(results: Path) -> dict[str, Any]:
    """By run and file, what was left, without seconds."""
    said: dict[str, Any] = {}
    for path in sorted(results.glob("killed/runs/*/*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        said[f"{path.parent.name}/{path.name}"] = [
            {name: value for name, value in row.items() if not name.endswith("_s")} for row in rows
        ]
    for manifest in sorted(results.glob("killed/runs/*/manifest.json")):
        content = json.loads(manifest.read_text())
        hashes = content["weights"] | {"samples": content["files"]["samples.jsonl.gz"]}
        said[manifest.parent.name] = [content["status"], content["updates"], hashes]
    return said


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    start = tmp_path_factory.mktemp("models") / "start"
    save_model(start)
    return make_suite(start)


@pytest.fixture(scope="module")
def alone(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a suite leaves that nobody disturbs."""
    results = tmp_path_factory.mktemp("alone")
    assert run(suite, results)[0] == 0
    return left(results)


def test_kills_at_any_instant_change_nothing(suite: Suite, alone: dict[str, Any], tmp_path: Path) -> None:
    after = np.random.default_rng().integers(4, 8, 2).tolist()  # at least one checkpoint later each time
    screens = []
    for updates in after:
        code, screen, killed = run(suite, tmp_path / "killed", updates)
        assert (code, killed) == (1, 1), after
        assert "killed by signal 9" in screen
        screens.append(screen)
    code, screen, _ = run(suite, tmp_path / "killed")
    assert (code, "failed" in screen) == (0, False), after
    for told in (screens[1], screen):
        assert re.search(rf"countdown ppo s0 goes on from update \d+ of {UPDATES}", told), after
    assert left(tmp_path / "killed") == alone, after
    (manifest,) = tmp_path.glob("killed/killed/runs/*/manifest.json")
    assert json.loads(manifest.read_text())["resumed"] == 2, after


def test_a_run_that_hangs_is_ended_and_goes_on_from_its_last_checkpoint(
    suite: Suite, alone: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker stands still; an hour passes for the runner, whose polls count in full."""
    now_s = time.monotonic

    def stands_still() -> bool:
        return any(process.status() == psutil.STATUS_STOPPED for process in workers())

    def an_hour_passes(board: Board) -> None:
        if stands_still():
            monkeypatch.setattr(time, "monotonic", lambda: now_s() + 3601)

    with monkeypatch.context() as patch:
        patch.setattr(local, "MOST_POLLS", 1_000_000)
        patch.setattr(Board, "refresh", an_hour_passes)
        code, screen, _ = run(suite, tmp_path / "hung", 8, signal.SIGSTOP)
        patch.setattr(time, "monotonic", now_s)
    assert code == 1
    assert "countdown ppo s0: failed" in screen
    assert "no sign of life for 60 minutes (limits.silent_minutes)" in screen
    code, screen, _ = run(suite, tmp_path / "hung")
    assert code == 0
    assert re.search(rf"countdown ppo s0 goes on from update \d+ of {UPDATES}", screen)
    assert left(tmp_path / "hung") == alone


def test_a_run_that_stood_still_and_goes_on_leaves_the_same_records(
    suite: Suite, alone: dict[str, Any], tmp_path: Path
) -> None:

    def go_on(ended: Event, stood: list[int]) -> None:
        while not ended.wait(0.05):
            for process in workers():
                with suppress(psutil.NoSuchProcess):
                    if process.status() == psutil.STATUS_STOPPED:
                        time.sleep(0.5)
                        stood.append(process.pid)
                        process.resume()

    ended, stood = Event(), list[int]()
    nurse = Thread(target=go_on, args=(ended, stood))
    nurse.start()
    code, _, stopped = run(suite, tmp_path / "stopped", 8, signal.SIGSTOP)
    ended.set()
    nurse.join()
    assert (code, stopped, len(stood)) == (0, 1, 1)
    assert left(tmp_path / "stopped") == alone

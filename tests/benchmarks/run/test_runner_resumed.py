"""A suite whose workers are killed by SIGKILL goes on, and leaves the records of one that was left alone."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import suppress
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from ppo_vs_grpo.benchmarks.run.device import Device
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


def kill_after(results: Path, updates: int, ended: Event, killed: list[int]) -> None:
    """Kill the process that trains as soon as it has written so many updates."""

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
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)


def run(suite: Suite, results: Path, kill: int = 2 * UPDATES) -> tuple[int, str, int]:
    """Run what is left of the suite, killing its worker after some updates; exit code, screen, processes killed."""
    screen, ended, killed = StringIO(), Event(), list[int]()
    killer = Thread(target=kill_after, args=(results, kill, ended, killed))
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


def test_kills_at_any_instant_change_nothing(tmp_path: Path) -> None:
    start = tmp_path / "start"
    save_model(start)
    suite = make_suite(start)
    assert run(suite, tmp_path / "alone")[0] == 0
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
    assert left(tmp_path / "killed") == left(tmp_path / "alone"), after
    (manifest,) = tmp_path.glob("killed/killed/runs/*/manifest.json")
    assert json.loads(manifest.read_text())["resumed"] == 2, after

"""A suite of short real runs that is stopped and goes on: its file, its processes, and what it leaves."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

NAME = "stopped"
RUNS = f"{NAME}/runs"
SERVER = "forkserver"
WAIT_S = 120.0
"""What has not come by then does not come."""


def write_suite(folder: Path, seeds: int = 1, updates: int = 24, probes: bool = True) -> Path:
    """Write a suite file and the start model that it names: one of nano's shape that was taught nothing.

    The task is `lengths`: rewards differ in every group, so each update depends on the ones before.
    """
    from ppo_vs_grpo.benchmarks.models import tiny

    start, path = folder / "start", folder / f"{NAME}.yaml"
    with redirect_stderr(StringIO()):  # a bar of progress
        tiny.untrained(tiny.SIZES["nano"], tiny.tokenizer()).save_pretrained(start)
    tiny.tokenizer().save_pretrained(start)
    suite = {
        **{"name": NAME, "start": str(start), "tasks": ["lengths"], "arms": ["ppo", "grpo"], "seeds": seeds},
        "train": {"completions": updates * 16, "prompts_per_update": 4, "group_size": 4, "max_new_tokens": 6},
        "eval": {"prompts": 8, "samples": 2, "points": 4, "transcripts": 2},
        "probes": {"prompts": 2, "reference_prompts": 2, "continuations": 2, "prefixes": 1} if probes else None,
        "timing": None,
        "checkpoint": {"updates": 3},
    }
    path.write_text(yaml.safe_dump(suite))
    return path


def left(results: Path) -> dict[str, Any]:
    """By run, all that it says: rows without seconds and without the memory of its process, texts, counts."""
    said: dict[str, Any] = {}
    for run in sorted((results / RUNS).iterdir()):
        manifest = json.loads((run / "manifest.json").read_text())
        rows = {path.name: list(map(json.loads, path.read_text().splitlines())) for path in run.glob("*.jsonl")}
        rows |= {path.name: pd.read_parquet(path).to_dict("records") for path in run.glob("*.parquet")}
        said[run.name] = {
            **{name: [told(row) for row in each if row.get("source") != "peak_rss"] for name, each in rows.items()},
            "samples": gzip.decompress((run / "samples.jsonl.gz").read_bytes()),
            **{name: manifest[name] for name in ("status", "updates", "completions", "tokens", "optimizer_steps")},
        }
    return said


def told(row: dict[str, Any]) -> dict[str, str]:
    """A row without seconds, its numbers to the last digit."""
    return {name: repr(value) for name, value in row.items() if not name.endswith("_s")}


def finished(results: Path) -> dict[str, bytes]:
    """The manifests of the runs that ended well, by run: none of them may change again."""
    manifests = {}
    for path in (results / RUNS).glob("*/manifest.json"):
        with suppress(FileNotFoundError):  # that of a failed run goes as the run begins again
            manifests[path.parent.name] = path.read_bytes()
    return {key: manifest for key, manifest in manifests.items() if json.loads(manifest)["status"] == "ok"}


def checkpoints(run: Path) -> list[int]:
    """The updates of a run's whole checkpoints, oldest first."""
    return sorted(int(place.name) for place in (run / "checkpoints").glob("*") if place.name.isdecimal())


def server_of(runner: int) -> psutil.Process | None:
    """The process that forks a runner's workers."""
    with suppress(psutil.Error):
        for child in psutil.Process(runner).children():
            if child.name() == SERVER or any(SERVER in word for word in child.cmdline()):
                return child
    return None


def workers_of(runner: int) -> list[tuple[psutil.Process, Path]]:
    """The processes that train for a runner, each with its run's folder: where its output goes."""
    found = []
    with suppress(psutil.Error):
        for process in psutil.Process(runner).children(recursive=True):
            with suppress(psutil.Error, OSError):
                log = Path(os.readlink(f"/proc/{process.pid}/fd/1"))
                if log.name == "stdout.log":
                    found.append((process, log.parent))
    return found


def kill_all(runner: int) -> None:
    """Kill a runner and everything below it, as the end of a session or of a container does."""
    below = []
    with suppress(psutil.Error):
        below = psutil.Process(runner).children(recursive=True)
    for pid in (runner, *(process.pid for process in below)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_locked(results: Path) -> bool:
    """Whether some process still writes to the suite's results."""
    with suppress(FileNotFoundError), (results / NAME / ".lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def comes(event: Callable[[], object], seconds: float = WAIT_S) -> bool:
    """Wait until something holds; False where it does not come in time."""
    deadline = time.monotonic() + seconds
    while not event():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True

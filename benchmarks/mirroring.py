"""Run a mirror of results in wandb beside a suite, and keep account of what is mirrored.

The mirror itself is a process of its own (`mirror.py`), so that it can neither stop nor slow the runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

WAIT_S = 30.0
"""How long a suite that is done waits for the rest to be mirrored."""

HURRY_S = 5.0
"""The same for one that was interrupted or went wrong."""

MODULE = "ppo_vs_grpo.benchmarks.mirror"


class Mode(StrEnum):
    """Where a mirror goes: to the server, to files that `wandb sync` sends later, or nowhere."""

    online = "online"
    offline = "offline"
    off = "off"


@contextmanager
def mirrored(folder: Path, mode: Mode) -> Iterator[None]:
    """Mirror a suite's folder while the block runs; whatever goes wrong with that is one line on stderr.

    The mirror learns of the block's end from the end of its input, which also comes when this process is killed.
    """
    if mode is Mode.off:
        yield
        return
    command = [sys.executable, "-P", "-m", MODULE, str(folder), "--mode", mode.value, "--follow"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
        )
        patience_s = HURRY_S
        try:
            yield
            patience_s = WAIT_S
        finally:
            reason = _conclude(process, patience_s, log)
            if reason and (folder / "suite.lock.yaml").exists():
                left, total = _left(folder, mode)
                what = f"{left} of {total} runs" if left else "the report"
                later = f"python -m {MODULE} {folder} --mode {mode.value}"
                print(f"wandb: {what} not mirrored ({reason}); later: {later}", file=sys.stderr)


def _conclude(process: subprocess.Popen[bytes], patience_s: float, log: IO[bytes]) -> str:
    """Let a mirror finish, but not for long; returns why it did not, or an empty text."""
    try:
        if process.stdin:
            process.stdin.close()
        if process.wait(patience_s) == 0:
            return ""
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        return f"not done after {patience_s:g} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@lru_cache(maxsize=1)
def _read_lock(path: Path, mtime_ns: int) -> dict[str, Any]:
    import yaml

    lock: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return lock


def read_lock(folder: Path) -> dict[str, Any]:
    """The resolved suite and its runs' keys; read again only where the file changed."""
    path = folder / "suite.lock.yaml"
    return _read_lock(path, path.stat().st_mtime_ns)


def places(folder: Path) -> dict[str, Path]:
    """Where each run of the suite is or will be."""
    return {
        key: folder / ("timing" if re.search(r"\.r\d+\.[0-9a-f]+$", key) else "runs") / key
        for key in read_lock(folder)["keys"]
    }


def finished(place: Path) -> bool:
    """Whether a run has an end, good or bad."""
    return (place / "manifest.json").exists()


def fingerprint(path: Path) -> str:
    """A file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def mirrored_so_far(folder: Path) -> dict[str, dict[str, str]]:
    """By mode, what is mirrored: the hash of its last file, by run."""
    path = folder / "wandb" / "mirrored.json"
    record: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return record


def _left(folder: Path, mode: Mode) -> tuple[int, int]:
    """How many finished runs are not mirrored, and how many there are."""
    ended = [place for place in places(folder).values() if finished(place)]
    done = mirrored_so_far(folder).get(mode.value, {})
    return sum(done.get(place.name) != fingerprint(place / "manifest.json") for place in ended), len(ended)

"""The machine: versions, hardware and the package's own commit; its cores, and how busy others keep them."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from ppo_vs_grpo.tasks.environment import allowed

PACKAGES = ("torch", "transformers", "trl", "numpy", "pandas", "pyarrow")


def surroundings(device: str = "cpu") -> dict[str, Any]:
    """Versions and hardware of a run on the device, with nothing that names a person, a machine or a folder."""
    import torch

    return {
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": cores(),
        "accelerator": torch.cuda.get_device_name() if device == "cuda" else str(None if device == "cpu" else device),
        "threads": torch.get_num_threads(),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "package": {"version": version_of("ppo-vs-grpo"), **checkout()},
    }


def version_of(name: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def checkout() -> dict[str, Any]:
    """The commit of the checkout this package lies in, not of the current folder; nulls when it is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=allowed(os.environ))
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "algorithms", "benchmarks", "tasks")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


CONTENDED_CORES = 0.25
"""Other processes' work, in cores, above which a timing is not to be headlined."""


class Neighbours:
    """Cores that other processes kept busy, on average, since this meter was made."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start = self._read()

    def cores(self) -> float:
        """Cores' worth of other processes' work, on average."""
        wall_s, busy_s, own_s = (now - then for now, then in zip(self._read(), self._start, strict=True))
        return max(0.0, busy_s - own_s) / wall_s if wall_s > 0 else 0.0

    def _read(self) -> tuple[float, float, float]:
        cpu, own = psutil.cpu_times(), self._process.cpu_times()
        busy_s = sum(cpu) - cpu.idle - getattr(cpu, "iowait", 0.0)
        return time.monotonic(), busy_s, own.user + own.system


def busy_cores(over_s: float = 0.5) -> float:
    """Cores that other processes keep busy now, measured over `over_s` seconds."""
    neighbours = Neighbours()
    time.sleep(over_s)
    return neighbours.cores()


def seconds_since_process_start() -> float:
    """Seconds since the process was launched. A clock that is set after the first call changes nothing of it."""
    return time.monotonic() - _launched_s(os.getpid())


@lru_cache(maxsize=1)
def _launched_s(pid: int) -> float:
    """When a process was launched, on the monotonic clock."""
    return time.monotonic() - (time.time() - float(psutil.Process(pid).create_time()))

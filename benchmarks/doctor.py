"""Whether this machine can run a suite, and what it would run it on."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from ppo_vs_grpo.benchmarks.processes import cores
from ppo_vs_grpo.benchmarks.starts import cache_folder

PACKAGES = ("torch", "transformers", "trl", "pandas", "pyarrow")
PYTHONS = ((3, 11), (3, 14))
RUN_BYTES = 2 * 1024**3
"""What a run of the core suite may take."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `ok` is False when a suite cannot run because of it."""

    name: str
    found: str
    ok: bool = True


def examine(results: Path, cache: Path | None) -> list[Check]:
    """Look at versions, processor, memory and folders."""
    memory = psutil.virtual_memory()
    gigabytes = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    lowest, above = PYTHONS
    return [
        Check("python", sys.version.split()[0], lowest <= sys.version_info[:2] < above),
        *[_package(name) for name in PACKAGES],
        Check("cores", f"{cores()}; so many runs at a time, one thread each, unless --slots says otherwise"),
        Check("threads", f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}; the runner sets its own"),
        Check("memory", gigabytes, memory.available > RUN_BYTES),
        Check("accelerator", _accelerator()),
        _writable("start models", cache_folder(cache)),
        _writable("results", results),
    ]


def _package(name: str) -> Check:
    try:
        return Check(name, version(name))
    except PackageNotFoundError:
        return Check(name, "not installed; install ppo-vs-grpo with its dependencies", ok=False)


def _accelerator() -> str:
    try:
        import torch
    except ImportError:
        return "unknown without torch"
    return str(torch.accelerator.current_accelerator() or "none; the suites are made for a CPU")


def _writable(name: str, folder: Path) -> Check:
    """Try to write where the folder is, or where it would be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check(name, str(folder))
    except OSError as error:
        return Check(name, f"{folder}: cannot write there ({error.strerror})", ok=False)

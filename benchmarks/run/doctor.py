"""Can this machine run a suite, and on what hardware?"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from ppo_vs_grpo.benchmarks.run.machine import cores
from ppo_vs_grpo.tasks.cache import cache_folder
from ppo_vs_grpo.tasks.errors import UserError

PACKAGES = ("torch", "transformers", "tokenizers", "trl", "pandas", "pyarrow")
IMPORTED = ("torch", "transformers", "tokenizers", "pyarrow")
"""Packages that every run imports. Each has compiled code, which can be installed and still fail to load."""

MEND = (
    "`python -m pip check` names what is missing; in a checkout `make clean bench` sets everything up anew, elsewhere "
    "`pip install --force-reinstall ppo-vs-grpo` does"
)
PYTHONS = ((3, 11), (3, 14))
RUN_BYTES = 2 * 1024**3
"""Free memory below which a run of the core suite may fail."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `ok` is False when a suite cannot run because of it."""

    name: str
    found: str
    ok: bool = True


def examine(results: Path, cache: Path | None) -> list[Check]:
    """Import what a run imports; look at versions, processor, memory and folders."""
    memory = psutil.virtual_memory()
    gigabytes = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    lowest, above = PYTHONS
    return [
        system(sys.platform, platform.machine()),
        Check("python", sys.version.split()[0], lowest <= sys.version_info[:2] < above),
        *[_package(name) for name in PACKAGES],
        Check("cores", f"{cores()}; so many runs at a time on the CPU, one on an accelerator, unless --slots is given"),
        Check("threads", f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}; the runner sets its own"),
        Check("memory", gigabytes, memory.available > RUN_BYTES),
        Check("accelerator", _accelerator()),
        _writable("start models", cache_folder(cache)),
        _writable("results", results),
    ]


def system(name: str, machine: str) -> Check:
    """Whether runs can be started on a system, by its name in `sys.platform`, and what is otherwise there."""
    if name == "linux":
        return Check("system", f"Linux {machine}; on the CPU, runs are forked from a process that has imported torch")
    if name == "darwin" and machine == "arm64":
        return Check("system", "macOS; each run imports torch for itself, and all cores are taken as free")
    if name == "darwin":
        return Check(
            "system", "macOS on Intel: torch has no current build for it; use Apple silicon or Linux", ok=False
        )
    where = "Windows" if name == "win32" else name
    return Check(
        "system", f"{where}: runs need Linux or macOS, such as WSL 2; reports can be read and made here", ok=False
    )


def require_system() -> None:
    """Raise a UserError where no run can be started."""
    if not (check := system(sys.platform, platform.machine())).ok:
        raise UserError(check.found)


def require_imports() -> None:
    """Import what a run imports. Raises UserError naming all that is broken, and how to mend it."""
    broken = [check for check in map(_package, IMPORTED) if not check.ok]
    if broken:
        raise UserError("; ".join(f"{check.name} {check.found}" for check in broken) + f". {MEND}")


def _package(name: str) -> Check:
    """Check that a package is installed and, if every run imports it, that it imports."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name, "is not installed", ok=False)
    if name in IMPORTED:
        try:
            importlib.import_module(name)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            return Check(name, f"{found} is installed and cannot be imported ({said})", ok=False)
    return Check(name, found)


def _accelerator() -> str:
    try:
        import torch
    except Exception:
        return "unknown without torch"
    return str(torch.accelerator.current_accelerator(check_available=True) or "none; runs compute on the CPU")


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

"""A results folder: what lies where in it, who may write to it, and how a file is written whole and told apart."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from ppo_vs_grpo.tasks.errors import UserError

Purpose = Literal["train", "timing"]

LOCK = "suite.lock.yaml"
"""The suite with every default written out, the keys of its runs, and their seals: lock.py."""

MANIFEST = "manifest.json"
"""Written last into a run's folder: its presence means that the run has an end."""

NETWORKS = ("policy", "critic")
"""The folders in a run's that hold the networks it ended with, where they were asked for."""

PARTS: dict[str, str] = {"train": "runs", "timing": "timing"}
"""The folders of the runs, by the runs' purpose."""

KEY = re.compile(r"(?P<arm>[^.]+)\.(?P<task>[^.]+)\.(?P<kind>[sr])(?P<seed>\d+)\.[0-9a-f]{8}")
"""A run's key. Its kind is `s` and a seed in training, `r` and a repeat in the timing pass."""


DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""What goes wrong with a disk: nobody's mistake, and no fault of the program."""


class RunName(NamedTuple):
    """Which run a key names."""

    purpose: Purpose
    arm: str
    task: str
    seed: int
    key: str


def run_key(purpose: Purpose, arm: str, task: str, seed: int, cfg8: str) -> str:
    """The name of a run's folder. `cfg8` is a hash of eight hex digits."""
    return f"{arm}.{task}.{'r' if purpose == 'timing' else 's'}{seed}.{cfg8}"


def run_name(key: str) -> RunName | None:
    """Which run a key names; None if it is no key."""
    match = KEY.fullmatch(key)
    if match is None:
        return None
    return RunName("timing" if match["kind"] == "r" else "train", match["arm"], match["task"], int(match["seed"]), key)


def run_folder(folder: Path, purpose: Purpose, key: str) -> Path:
    """Where a run lies in a suite's results folder."""
    return folder / PARTS[purpose] / key


def is_finished(folder: Path) -> bool:
    """Whether a run has an end, good or bad."""
    return (folder / MANIFEST).exists()


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Hold a suite's results folder for writing. Yields the lock's descriptor, for children to inherit.

    Raises UserError where the folder cannot be written or another process holds it.
    """
    lock = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise UserError(f"results folder {folder}: not writable ({error.strerror})") from None
    with held(lock, f"results folder {folder}: another run is writing to it") as descriptor:
        yield descriptor


@contextmanager
def held(path: Path, busy: str) -> Iterator[int]:
    """Hold a lock file as long as the block runs. Raises UserError, beginning with `busy`, where another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(descriptor)
        except OSError:
            raise UserError(f"{busy}; wait for it or stop it") from None
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file, by the way that the system has. Raises OSError where another process holds it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def appended(path: Path, data: bytes) -> int:
    """Append to a file, all of it or nothing; returns where it begins.

    A buffer would write again what a disk that failed once had taken half of, and leave a line that nobody can read.
    """
    with path.open("ab", buffering=0) as file:
        begin = file.tell()
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            with suppress(OSError):
                file.truncate(begin)
            raise
    return begin


def write_whole(path: Path, text: str) -> None:
    """Write a file that is either whole or not there."""
    half = path.with_name(path.name + ".part")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


def disk_failed(error: BaseException) -> bool:
    """Whether an error says that a disk is full or does not work."""
    return isinstance(error, OSError) and error.errno in DISK


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of files, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fingerprint(path: Path) -> str:
    """A file's SHA-256, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

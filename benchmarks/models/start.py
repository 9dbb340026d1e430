"""A start model that was found, and how the folder of one that has to be made appears complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ppo_vs_grpo.tasks.errors import UserError

Make = Callable[[Path, Path], None]
"""Writes a start model into an empty folder; the second path is the folder of start models."""


@dataclass(frozen=True, slots=True)
class Start:
    """A start model by the name that a run's spec has for it.

    `digest` identifies its content and is known before it is made. `path` is its folder: absolute for a model that was
    saved by somebody, which has no `make`, else below the folder of start models.
    """

    name: str
    digest: str
    path: Path
    make: Make | None

    def folder(self, cache: Path) -> Path:
        """Its folder, made or not."""
        return cache / self.path  # an absolute path stays as it is


def path_of(key: str, name: str) -> Path:
    """The path that a key of a suite names, there or not. UserError, beginning with the key, for what cannot be one."""
    path = Path(name).expanduser()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):  # a name on the hub may begin like a file that is here
        pass
    except OSError as error:
        raise UserError(f"{key}: {name[:40]}: {error.strerror}") from None
    return path


def is_built(folder: Path) -> bool:
    """Whether the folder holds a complete model. Folders appear complete, by a rename; links may lose their files."""
    return (folder / "config.json").is_file() and all(path.exists() for path in folder.iterdir())


def built(start: Start, cache: Path) -> Path:
    """The folder of a start model, made unless it is there. Several processes may ask at once."""
    from filelock import FileLock

    folder = start.folder(cache)
    if start.make is None or is_built(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(f"cache: cannot write to {cache} ({error.strerror}); choose another with --cache") from error
    with lock:
        if not is_built(folder):
            scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
            try:
                start.make(scratch, cache)
                shutil.rmtree(folder, ignore_errors=True)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder

"""The runner's own files: what cannot be written is one message, and ends the suite with nothing lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ppo_vs_grpo.tasks.errors import UserError

MEND = "finished runs stay; mend that, then run the same command: it goes on with the others"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a UserError that names its file, or else `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot be written ({error.strerror or error}); {MEND}") from None


def check_still_held(folder: Path, lock_fd: int) -> None:
    """Raise a UserError where the results folder whose lock this process holds was deleted, moved or replaced."""
    try:
        if os.path.samestat(os.stat(folder / ".lock"), os.fstat(lock_fd)):
            return
    except OSError:
        pass
    raise UserError(
        f"results folder {folder}: deleted, moved or replaced while the suite ran; its runs were stopped. Put it back, "
        "or run the same command to begin again"
    )

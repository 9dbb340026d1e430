"""A disk that fails: in this process one operation below a folder, and where it is full all that come after it."""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Value
from pathlib import Path
from typing import Any

NEVER = 10**9
FEW_BYTES = 100
"""What libraries that write by themselves may write before they meet the end of the disk."""

opened = io.open


@dataclass
class Disk:
    """Fails at operation `first` below `folder`, counted from 1. It is full and stays so, or has an error once.

    `count` is shared with the processes that are forked from the one that made it.
    """

    folder: str
    first: int = NEVER
    full: bool = True
    count: Any = field(default_factory=lambda: Value("q"))

    @property
    def fails(self) -> bool:
        """Count an operation. Whether it fails."""
        with self.count:
            self.count.value += 1
            number = self.count.value
        return bool(number >= self.first if self.full else number == self.first)

    def check(self, path: Any) -> None:
        """Count an operation on a path, if it lies in the folder. Raises OSError where it fails."""
        if self.holds(path) and self.fails:
            number = errno.ENOSPC if self.full else errno.EIO
            raise OSError(number, os.strerror(number), os.fspath(path))

    def holds(self, path: Any) -> bool:
        """Whether a path is in the folder."""
        return isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(self.folder)

    def install(self) -> None:
        """Stand between this process and its disk, for good: what opens, writes, renames, makes folders and syncs."""
        builtins.open = io.open = self._open  # type: ignore[assignment]
        for name in ("replace", "rename", "mkdir"):
            setattr(os, name, self._first_checked(getattr(os, name)))
        os.open = self._opening(os.open)  # type: ignore[assignment]
        os.fsync = self._syncing(os.fsync)
        import pyarrow.parquet
        import safetensors.torch

        pyarrow.parquet.write_table = self._short(pyarrow.parquet.write_table, 1)
        safetensors.torch.save_file = self._short(safetensors.torch.save_file, 1)

    def _open(self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        if not (self.holds(file) and set(mode) & set("wax+")):
            return opened(file, mode, buffering, *rest, **named)
        self.check(file)
        raw = FailingFile(file, mode.replace("b", "").replace("t", ""), disk=self)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named, line_buffering=buffering == 1)

    def _first_checked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(path: Any, *rest: Any, **named: Any) -> Any:
            self.check(path)
            return call(path, *rest, **named)

        return checked

    def _opening(self, call: Callable[..., int]) -> Callable[..., int]:
        def checked(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.check(path)
            return call(path, flags, *rest, **named)

        return checked

    def _syncing(self, call: Callable[[Any], None]) -> Callable[[Any], None]:
        def checked(file: Any) -> None:
            number = file if isinstance(file, int) else file.fileno()
            self.check(os.readlink(f"/proc/self/fd/{number}"))
            call(file)

        return checked

    def _short(self, call: Callable[..., Any], place: int) -> Callable[..., Any]:
        """A library's own writer, with a real limit to the sizes of files while it fails."""

        def limited(*rest: Any, **named: Any) -> Any:
            if not (self.holds(rest[place]) and self.fails):
                return call(*rest, **named)
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, before[1]))
            try:
                return call(*rest, **named)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

        return limited


class FailingFile(io.FileIO):
    """A file whose writes count, and fail after half of what they were to write."""

    def __init__(self, file: Any, mode: str, disk: Disk) -> None:
        super().__init__(file, mode)
        self.disk, self.path = disk, Path(file)

    def write(self, data: Any) -> int:
        """Write, or half of it and raise OSError."""
        try:
            self.disk.check(self.path)
        except OSError:
            super().write(memoryview(data)[: len(data) // 2])
            raise
        return super().write(data)

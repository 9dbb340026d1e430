"""A job for an engine: a command, its threads and its log; interruption."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType


@dataclass(frozen=True, slots=True)
class Job:
    """One process. `prepare` makes its folder and returns its command; `finish` takes its return code.

    What the process prints is added to `log`. The return code is negative when a signal ended the process, as in
    `subprocess`.
    """

    log: Path
    threads: int
    prepare: Callable[[], Sequence[str]]
    finish: Callable[[int], None]


@dataclass(slots=True)
class Interruption:
    """A request to stop: by Ctrl-C, by closing the terminal or by SIGTERM."""

    requested: bool = field(default=False)

    def request(self, signal_number: int, frame: FrameType | None) -> None:
        """Note the request; a signal handler does no more than that."""
        self.requested = True


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the signals that ask to stop into a flag for as long as the block runs."""
    interruption = Interruption()
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interruption.request) for number in asked}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def reason_of(code: int, log: Path) -> str:
    """Why a process ended without a manifest, in one line."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by signal {-code} ({name}{', out of memory?' if -code == signal.SIGKILL else ''})"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return f"exit code {code} without a manifest; last line of {log.name}: {lines[-1] if lines else '(nothing)'}"

"""A job for an engine: a command, its threads, its log, its limits; interruption."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from ppo_vs_grpo.benchmarks.suites.sections import Limits


@dataclass(slots=True)
class Watch:
    """Whether a process gives signs of life and keeps its time, counted by the polls of whoever runs it.

    The file `sign` is only looked at for a change. Its time is compared with no clock, so that a clock that is set and
    a machine that sleeps end nothing. `exceeded` says which limit was, once one was.
    """

    sign: Path
    limits: Limits
    exceeded: str | None = None
    _seen_ns: int | None = None
    _silent_s: float = 0.0
    _running_s: float = 0.0

    def is_over(self, passed_s: float) -> bool:
        """Whether a limit is exceeded, `passed_s` seconds after the last look."""
        seen_ns = None
        with suppress(OSError):  # not there yet, or removed just now
            seen_ns = self.sign.stat().st_mtime_ns
        self._silent_s = self._silent_s + passed_s if seen_ns == self._seen_ns else 0.0
        self._seen_ns = seen_ns
        self._running_s += passed_s
        silent, total = self.limits.silent_minutes, self.limits.minutes
        if silent is not None and self._silent_s > 60 * silent:
            self.exceeded = f"no sign of life for {silent:g} minutes (limits.silent_minutes)"
        elif total is not None and self._running_s > 60 * total:
            self.exceeded = f"ran longer than {total:g} minutes (limits.minutes)"
        return self.exceeded is not None


@dataclass(frozen=True, slots=True)
class Job:
    """One process. `prepare` makes its folder and returns its command; `finish` takes its return code.

    What the process prints is added to `log`. The return code is negative when a signal ended the process, as in
    `subprocess`. An engine ends the process that `watch` says is over. The process gets the
    variables that `tasks.environment` allows, and those that `environment` names.
    """

    log: Path
    threads: int
    prepare: Callable[[], Sequence[str]]
    finish: Callable[[int], None]
    watch: Watch | None = None
    environment: tuple[str, ...] = ()


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

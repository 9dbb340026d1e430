"""Meters: seconds per phase, memory per phase."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ppo_vs_grpo.algorithms.shared.config import PHASES


class PhaseClock:
    """Seconds spent in each phase of the current update, on a monotonic clock, accelerator synchronised."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to a phase."""
        synchronize(self._device)
        start_s = time.perf_counter()
        try:
            with torch.profiler.record_function(name):
                yield
        finally:
            synchronize(self._device)
            self._seconds[name] += time.perf_counter() - start_s

    def take(self) -> dict[str, float]:
        """The seconds of each phase since the last call."""
        taken, self._seconds = self._seconds, dict.fromkeys(PHASES, 0.0)
        return taken


@dataclass
class PeakMemory:
    """Peak bytes of each phase, by an accelerator's allocator or by Linux's RSS mark; other platforms have none.

    A phase's peak is the most that was resident within it, including all that stays loaded. `peaks` maps (phase,
    source) to bytes; the phase "process" is the whole process.
    """

    device: torch.device
    peaks: dict[tuple[str, str], int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Raise the phase's peak to what the block reaches."""
        self._raise_to("process", self._read())  # the mark is about to be lost
        measured = self._reset()
        try:
            yield
        finally:
            if measured:
                self._raise_to(name, self._read())

    def whole_process(self) -> dict[str, int]:
        """Peak bytes of the process so far, by source."""
        self._raise_to("process", self._read())
        return {source: peak for (phase, source), peak in self.peaks.items() if phase == "process"}

    def _raise_to(self, name: str, read: dict[str, int]) -> None:
        for source, peak_bytes in read.items():
            self.peaks[name, source] = max(peak_bytes, self.peaks.get((name, source), 0))

    def _reset(self) -> bool:
        if self.device.type != "cpu":
            torch.accelerator.reset_peak_memory_stats()
            return True
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return False
        return True

    def _read(self) -> dict[str, int]:
        read = {"peak_rss": peak_rss_bytes()}
        if self.device.type != "cpu":
            read["accelerator_allocated"] = torch.accelerator.max_memory_allocated()
            read["accelerator_reserved"] = torch.accelerator.max_memory_reserved()
        return read


def peak_rss_bytes() -> int:
    """The largest resident set of this process since its mark was last reset."""
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # not on every platform, and in other units on each

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work; a CPU has nothing to wait for."""
    if device.type != "cpu":
        torch.accelerator.synchronize()

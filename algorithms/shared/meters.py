"""Meters: seconds per phase, memory per phase."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

PHASES = ("rollout", "reward", "reference", "value", "update")
"""What counts as training time; evaluation, probes and recording do not."""


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
    """Peak bytes of each phase, where the platform can tell: an accelerator's allocator, or Linux's RSS mark.

    A phase's peak is what was resident at the worst moment within it, everything that stays loaded included.
    """

    device: torch.device
    peaks: dict[tuple[str, str], int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Raise the phase's peak to what the block reaches."""
        measured = self._reset()
        try:
            yield
        finally:
            if measured:
                for source, peak_bytes in self._read().items():
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
        if self.device.type != "cpu":
            return {
                "accelerator_allocated": torch.accelerator.max_memory_allocated(),
                "accelerator_reserved": torch.accelerator.max_memory_reserved(),
            }
        status = Path("/proc/self/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return {"peak_rss": int(line.split()[1]) * 1024}


def peak_rss_bytes() -> int:
    """The largest resident set this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what was asked of it; nothing to wait for on a CPU."""
    if device.type != "cpu":
        torch.accelerator.synchronize()

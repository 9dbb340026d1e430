"""Meters on cases with a known answer."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from ppo_vs_grpo.algorithms.shared.config import PHASES
from ppo_vs_grpo.algorithms.shared.meters import PhaseClock

CPU = torch.device("cpu")
# Elsewhere the mark cannot be reset, so the meter notes no peak per phase and there is nothing to compare.
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its own RSS mark")


def test_the_clock_adds_up_a_phase_and_starts_anew_when_taken() -> None:
    clock = PhaseClock(CPU)
    for _ in range(2):
        with clock.phase("rollout"):
            time.sleep(0.02)
    seconds = clock.take()
    assert 0.04 <= seconds["rollout"] < 0.5
    assert {name for name, value in seconds.items() if value == 0} == set(PHASES) - {"rollout"}
    assert not any(clock.take().values())


MEASURED = """
import torch
from ppo_vs_grpo.algorithms.shared.meters import PeakMemory
memory = PeakMemory(torch.device("cpu"))
with memory.phase("update"):
    torch.ones(64 * 2**20 // 4).sum()  # 64 MiB, freed at once
with memory.phase("rollout"):
    pass
print(*(memory.peaks[phase, "peak_rss"] for phase in ("update", "rollout")), memory.whole_process()["peak_rss"])
"""


@LINUX
def test_a_phase_has_its_own_peak_and_the_process_the_largest() -> None:
    """In a process of its own: what other tests freed would be taken again, and no peak would be seen."""
    said = subprocess.run([sys.executable, "-P", "-c", MEASURED], capture_output=True, text=True, check=True).stdout
    update, rollout, whole = map(int, said.split())
    assert 50 * 2**20 < update - rollout < 90 * 2**20
    assert whole >= update

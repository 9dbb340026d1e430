"""A runner that is killed, alone or with all that it started: the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ppo_vs_grpo.benchmarks.run.device import Device
from ppo_vs_grpo.benchmarks.run.runner import run_suite
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from stopped import RUNS, checkpoints, comes, finished, is_locked, kill_all, left, workers_of, write_suite


def begin(suite: Path, results: Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from ppo_vs_grpo.benchmarks.run.device import Device; "
        "from ppo_vs_grpo.benchmarks.run.runner import run_suite; "
        "from ppo_vs_grpo.benchmarks.suites.load import load_suite; "
        "suite = Path(sys.argv[1]); "
        "sys.exit(run_suite(load_suite(suite), str(suite), Path(sys.argv[2]), device=Device.cpu))"
    )
    command = [sys.executable, "-P", "-c", code, str(suite), str(results)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def newest(results: Path) -> list[int]:
    """The update of each run's last checkpoint."""
    return [max(checkpoints(run), default=0) for run in sorted((results / RUNS).glob("*"))]


def test_a_killed_runner_and_a_killed_tree_of_processes_cost_no_number(tmp_path: Path) -> None:
    suite, alone, results = write_suite(tmp_path, updates=30, probes=False), tmp_path / "alone", tmp_path / "killed"
    assert run_suite(load_suite(suite), str(suite), alone, device=Device.cpu) == 0

    whole = begin(suite, results)
    assert comes(lambda: min(newest(results), default=0) >= 3)
    at = newest(results)
    kill_all(whole.pid)
    assert whole.wait() == -signal.SIGKILL
    assert comes(lambda: not is_locked(results))
    assert finished(results) == {}

    runner = begin(suite, results)
    assert comes(lambda: len(workers_of(runner.pid)) == 2)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    assert is_locked(results), "its runs work on, and hold the folder"
    assert comes(lambda: not is_locked(results))
    assert len(finished(results)) == 2

    last = begin(suite, results)
    assert last.wait() == 0
    assert left(results) == left(alone)
    for run, update in zip(sorted((results / RUNS).iterdir()), at, strict=True):
        words = (run / "stdout.log").read_text().split("goes on from update ")[1]
        assert int(words.split()[0]) >= update >= 3

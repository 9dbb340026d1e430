"""Runs forked from a server: the processes that they would have been, and what happens when anyone dies."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from checkout import HELPERS
from ppo_vs_grpo.benchmarks.run.engines import forkserver, local
from ppo_vs_grpo.benchmarks.run.engines.forkserver import MODULE
from ppo_vs_grpo.benchmarks.run.engines.job import Interruption, Job
from ppo_vs_grpo.benchmarks.run.engines.local import fork_servers, run_jobs
from watching import alive, wait_for

# Elsewhere there is no server to look at: every run is launched by itself, which `test_runner.py` is about.
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks runs")

HERE = str(HELPERS)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(local, "POLL_S", 0.02)


class Ran:
    """Jobs that tell how they went."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.codes: dict[str, int] = {}
        self.interruption = Interruption()

    def job(self, name: str, *arguments: str, threads: int = 1) -> Job:
        def finish(code: int) -> None:
            self.codes[name] = code

        return Job(self.folder / f"{name}.log", threads, lambda: (*MODULE, "forked", *arguments), finish)

    def run(self, jobs: Sequence[Job], slots: int = 1, tick: Callable[[], None] = lambda: None) -> None:
        with fork_servers() as servers:
            run_jobs(jobs, slots, tick, self.interruption, servers)

    def lines(self, name: str) -> list[str]:
        log = self.folder / f"{name}.log"
        return log.read_text().splitlines() if log.exists() else []

    def found(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.lines(name)[0])
        return told


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    return Ran(tmp_path)


def children() -> list[int]:
    """The processes that this one started and has not taken leave of."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_a_forked_run_is_the_process_it_would_have_been(ran: Ran) -> None:
    before = children()
    ran.run([ran.job("plain", "0", "--and more"), ran.job("two", "0", threads=2)])
    assert ran.codes == {"plain": 0, "two": 0}
    found, two = ran.found("plain"), ran.found("two")
    assert found["arguments"] == ["0", "--and more"]
    assert found["pid"] == found["session"] == found["group"]
    assert found["parent"] not in (os.getpid(), two["parent"])
    assert (found["threads"], two["threads"], found["stdin"]) == ("1", "2", "")
    assert found["imported"] == ["torch", "transformers"]
    assert found["open"] == [0, 1, 2]
    assert found["handlers"] == [str(signal.SIG_DFL)] * 2
    assert children() == before


def test_passes_of_as_many_threads_share_a_template(ran: Ran) -> None:
    with fork_servers() as servers:
        for name in ("a", "b"):
            run_jobs([ran.job(name, "0")], 1, lambda: None, ran.interruption, servers)
    assert ran.found("a")["parent"] == ran.found("b")["parent"]
    assert not alive(ran.found("a")["parent"])


def test_ends_are_what_they_are_without_a_template(ran: Ran) -> None:
    ran.run([ran.job(how, how) for how in ("3", "error", "exit", "killed", "0")], slots=2)
    assert ran.codes == {"3": 3, "error": 1, "exit": 5, "killed": -signal.SIGKILL, "0": 0}
    assert ran.lines("error")[-1] == "ValueError: the last words"
    assert len({ran.found(how)["parent"] for how in ran.codes}) == 1
    assert len({ran.found(how)["pid"] for how in ran.codes}) == 5


@pytest.mark.parametrize("how", ["sleep", "stubborn"])
def test_an_interruption_ends_forked_runs(ran: Ran, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(local, "GRACE_S", 1.0)

    def tick() -> None:
        ran.interruption.requested = "asleep" in ran.lines("a") and "asleep" in ran.lines("b")

    before = children()
    with pytest.raises(KeyboardInterrupt):
        ran.run([ran.job(name, how, "60") for name in ("a", "b", "c")], slots=2, tick=tick)
    assert not ran.codes
    assert not any(alive(ran.found(name)[whose]) for name in ("a", "b") for whose in ("pid", "parent"))
    assert not ran.lines("c")
    assert children() == before


def test_an_interruption_while_the_template_imports_begins_nothing(ran: Ran) -> None:
    def tick() -> None:
        ran.interruption.requested = True

    before, start_s = children(), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ran.run([ran.job("a", "sleep", "60")], tick=tick)
    assert time.monotonic() - start_s < local.GRACE_S
    assert not ran.lines("a")
    assert children() == before


def test_without_its_template_a_run_ends_and_the_next_one_imports_for_itself(ran: Ran) -> None:
    def tick() -> None:
        if "asleep" in ran.lines("a") and not ran.codes:
            os.kill(ran.found("a")["parent"], signal.SIGKILL)

    ran.run([ran.job("a", "sleep", "60"), ran.job("b", "0")], tick=tick)
    assert ran.codes == {"a": -signal.SIGKILL, "b": 0}
    wait_for(lambda: not alive(ran.found("a")["pid"]))
    assert ran.found("b")["parent"] == os.getpid()
    assert ran.found("b")["imported"] == []


def test_a_template_that_cannot_import_says_why_in_the_log(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "import select; select.select([0], [], [], 60)"  # not before: it would only be found gone
    (ran.folder / "torch.py").write_text(f"{asked}\nraise ImportError('a broken torch')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ran.folder), os.environ["PYTHONPATH"]]))
    ran.run([ran.job("a", "0"), ran.job("b", "0")])
    assert ran.codes == {"a": 1, "b": 0}
    assert ran.lines("a")[-1] == "ImportError: a broken torch"
    assert ran.found("b")["parent"] == os.getpid()


def test_without_room_for_templates_each_run_imports_for_itself(ran: Ran) -> None:
    run_jobs([ran.job("a", "0"), ran.job("b", "3")], 1, lambda: None, ran.interruption, servers=None)
    assert ran.codes == {"a": 0, "b": 3}
    assert [ran.found(name)["parent"] for name in ("a", "b")] == [os.getpid()] * 2
    assert ran.found("a")["imported"] == []


def test_other_commands_and_other_systems_need_no_template(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (sys.executable, str(Path(HERE) / "forked.py"), "0")
    ran.run([Job(ran.folder / "a.log", 1, lambda: script, lambda code: None)])
    monkeypatch.setattr(forkserver.sys, "platform", "darwin")
    ran.run([ran.job("b", "0")])
    assert [ran.found(name)["parent"] for name in ("a", "b")] == [os.getpid()] * 2
    assert ran.found("b")["imported"] == []


RUNNER = """
import fcntl, os, sys
from pathlib import Path
from ppo_vs_grpo.benchmarks.run.engines.local import Interruption, Job, fork_servers, run_jobs
from ppo_vs_grpo.benchmarks.run.engines.forkserver import MODULE
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
jobs = [Job(Path(sys.argv[2]), 1, lambda: (*MODULE, "forked", "sleep", "4"), print)]
with fork_servers() as servers:
    run_jobs(jobs, 1, lambda: None, Interruption(), servers, lock)
"""


COUNT = """
import os
from ppo_vs_grpo.benchmarks.run.engines.forkserver import _preload
_preload()
print(len(os.listdir("/proc/self/task")))
"""


def test_nothing_that_is_preloaded_starts_a_thread() -> None:
    # With more than one, numpy's BLAS has threads of its own, and makes them anew in a fork.
    one = dict.fromkeys(local.THREAD_VARIABLES, "1")
    counted = subprocess.run(
        [sys.executable, "-P", "-c", COUNT], capture_output=True, text=True, check=True, env=os.environ | one
    )
    assert counted.stdout.strip() == "1"


def free(lock_fd: int) -> bool:
    """Whether nobody holds the lock; from then on this process does."""
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_forked_run_outlives_a_killed_runner_and_keeps_its_lock(ran: Ran) -> None:
    place = ran.folder / "lock"
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(place), str(ran.folder / "a.log")])
    wait_for(lambda: "asleep" in ran.lines("a"), seconds=60)
    runner.kill()
    runner.wait()
    found = ran.found("a")
    with place.open() as lock:
        assert not free(lock.fileno())
        assert alive(found["pid"])
        wait_for(lambda: free(lock.fileno()))
        assert not alive(found["pid"])
    assert ran.lines("a")[1:] == ["asleep"]

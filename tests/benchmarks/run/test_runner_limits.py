"""Runs that hang or take too long are ended; stopped machines and clocks that are set end nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from threading import Thread

import pytest

from fake_suite import FakeRun, make_suite
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.run.engines.job import Watch
from ppo_vs_grpo.benchmarks.suites.sections import Limits
from watching import alive, wait_for


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    monkeypatch.setattr(local, "GRACE_S", 0.5)
    return FakeRun(tmp_path, suite=make_suite(tasks=("red",), timing=False))


def limit(fake: FakeRun, **minutes: float | None) -> None:
    fake.suite = fake.suite.model_copy(update={"limits": Limits(**minutes)})


@pytest.mark.parametrize("how", ["hangs", "stubborn"])
def test_a_run_that_gives_no_sign_of_life_has_failed_and_the_others_go_on(fake: FakeRun, how: str) -> None:
    fake.ends = {"grpo.red.s0": how}
    limit(fake, silent_minutes=0.02)
    assert fake.run() == 1
    manifest = fake.manifest("grpo.red.s0")
    assert manifest["status"] == "failed"
    assert manifest["error"] == "no sign of life for 0.02 minutes (limits.silent_minutes)"
    assert (manifest["updates"], manifest["completions"]) == (3, 24)
    assert len(list(fake.results.glob("runs/*/manifest.json"))) == 4
    assert "red grpo s0: failed" in fake.output
    assert not any(alive(event["pid"]) for event in fake.events())
    assert "heartbeat" not in manifest["files"]
    assert list(fake.results.rglob("heartbeat")) == []
    fake.ends = {}
    assert fake.run() == 0
    assert fake.manifest("grpo.red.s0")["retried"] == "failed"


def test_a_run_that_takes_longer_than_it_may_is_ended_though_it_lives(fake: FakeRun) -> None:
    fake.ends = {"grpo.red.s0": "endless"}
    limit(fake, silent_minutes=0.02, minutes=0.05)
    assert fake.run() == 1
    assert fake.manifest("grpo.red.s0")["error"] == "ran longer than 0.05 minutes (limits.minutes)"


def test_without_limits_nothing_is_ended(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(fake.folder / "heartbeat", Limits(silent_minutes=None))
    assert not any(watch.is_over(1e6) for _ in range(100))


def test_silence_ends_with_any_change_of_the_file_whatever_its_time_is(tmp_path: Path) -> None:
    sign, watch = tmp_path / "heartbeat", Watch(tmp_path / "heartbeat", Limits(silent_minutes=1))
    assert not watch.is_over(59)
    for moment_s in (2e9, 1e9, 4e9, 1e9):  # the clock of who writes it jumps, back too
        sign.touch()
        os.utime(sign, (moment_s, moment_s))
        assert not watch.is_over(59)
        assert not watch.is_over(59)
    assert watch.is_over(59)
    assert watch.exceeded == "no sign of life for 1 minutes (limits.silent_minutes)"


def test_a_clock_that_is_set_ends_nothing(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + 1e7 * (len(fake.events()) % 2))
    limit(fake, silent_minutes=0.05)
    assert fake.run() == 0


def test_a_machine_that_slept_ends_nothing(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner and its workers stand still for longer than the limit, then both go on."""
    monkeypatch.setattr(local, "POLL_S", 0.1)
    fake.seconds = 1.5
    limit(fake, silent_minutes=0.03)
    asleep_s = 3.0

    def sleep() -> None:
        wait_for(lambda: len(fake.events()) >= 2)
        pids = [event["pid"] for event in fake.events()[:2]]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr(local.time, "monotonic", lambda: later() + asleep_s)
        time.sleep(0.3)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    later = time.monotonic
    nurse = Thread(target=sleep)
    nurse.start()
    code = fake.run()
    nurse.join()
    assert code == 0

"""What becomes of a suite when its folder goes, its disk fills or its runner stops: one message, nothing lost."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from checkout import HELPERS
from fake_suite import FakeRun, make_suite
from ppo_vs_grpo.benchmarks.run import machine
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.tasks.errors import UserError
from watching import alive, wait_for

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
"""As a write says it: without the file's name."""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    return FakeRun(tmp_path, suite=make_suite(tasks=("red",), timing=False))


def replaced(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / ".lock").touch()


@pytest.mark.parametrize("happens", [shutil.rmtree, lambda folder: folder.rename(folder.with_name("moved")), replaced])
def test_a_results_folder_that_goes_ends_the_suite_and_its_runs(fake: FakeRun, happens: Callable[[Path], Any]) -> None:
    fake.seconds, start_s = 90, time.monotonic()

    def go() -> None:
        wait_for(lambda: len(fake.events()) >= 2)
        happens(fake.results)

    goes = Thread(target=go)
    goes.start()
    with pytest.raises(UserError, match=r"results folder .*fake: deleted, moved or replaced while the suite ran; its"):
        fake.run()
    goes.join()
    assert time.monotonic() - start_s < 25, "the runs' ends were waited for"
    assert not any(alive(event["pid"]) for event in fake.events())
    assert {path.name for path in fake.results.glob("*")} <= {".lock"}, "files that nobody asked for"
    fake.seconds = 0.03
    assert fake.run() == 0


@pytest.mark.parametrize(
    ("name", "times", "error"),
    [
        ("suite.lock.yaml.part", 0, FULL),
        ("suite.lock.yaml.part", 1, FULL),
        ("spec.json.part", 2, OSError(errno.EROFS, os.strerror(errno.EROFS), "a/file")),
        ("stdout.log", 0, FULL),
        ("stdout.log", 1, FULL),
        (".manifest.json", 0, FULL),
        ("retried.part", 0, FULL),
    ],
)
def test_what_the_runner_cannot_write_is_one_message_and_costs_no_run(
    fake: FakeRun, monkeypatch: pytest.MonkeyPatch, name: str, times: int, error: OSError
) -> None:
    fake.ends = {"grpo.red.s0": "killed"}
    if name == "retried.part":
        assert fake.run() == 1
    before, plain = [], io.open

    def opened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if Path(str(file)).name == name and mode[0] in "aw":
            before.append(file)
            if len(before) > times:
                raise error
        return plain(file, mode, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", opened)
        with pytest.raises(UserError) as told:
            fake.run(slots=1)
    where = error.filename or f"{fake.results}/"
    said = (
        rf"{where}.*: cannot be written \({error.strerror}\); finished runs stay; mend that, then run the same command"
    )
    assert told.match(f"^{said}: it goes on with the others$")
    assert not any(alive(event["pid"]) for event in fake.events())
    finished = {path: path.read_bytes() for path in fake.results.glob("runs/*/manifest.json")}
    kept = {path: text for path, text in finished.items() if b'"ok"' in text}
    fake.ends = {}
    assert fake.run() == 0
    assert {path: path.read_bytes() for path in kept} == kept
    assert len(list(fake.results.glob("runs/*/manifest.json"))) == 4


def test_a_start_models_log_that_cannot_be_written_is_one_message(
    fake: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Path.mkdir

    def mkdir(path: Path, *rest: Any, **named: Any) -> None:
        if path.name == "starts":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        plain(path, *rest, **named)

    fake.builds = {"red": (sys.executable, "-c", "")}
    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(UserError, match=r"fake/starts: cannot be written \(Read-only file system\)"):
        fake.run()


def test_a_runner_that_stood_still_goes_on(fake: FakeRun) -> None:
    command = [sys.executable, str(HELPERS / "fake_suite.py"), str(fake.folder), "0.6"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(fake.events()) >= 2)
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: len(fake.events("ended")) >= 2)
    time.sleep(0.3)
    assert len(fake.events()) == 2, "something else starts runs"
    process.send_signal(signal.SIGCONT)
    assert process.wait(60) == 0
    assert len(list(fake.results.glob("*/*/manifest.json"))) == 16
    assert len(fake.events()) == 16


def test_a_clock_that_is_set_changes_no_seconds_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before_s = machine.seconds_since_process_start()
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() - 86_400)
    after_s = machine.seconds_since_process_start()
    assert before_s > 0
    assert 0 <= after_s - before_s < 60

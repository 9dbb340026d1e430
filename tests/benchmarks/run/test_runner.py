"""Scheduling, failure, interruption and resumption, with a worker that trains nothing."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkout import HELPERS
from fake_suite import FakeRun, make_specs, make_suite, most_at_once
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.run.machine import cores
from ppo_vs_grpo.tasks.errors import UserError
from watching import alive, wait_for


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    return FakeRun(tmp_path)


def events_of(fake: FakeRun, purpose: str, what: str = "began") -> list[dict[str, Any]]:
    repeat = {"train": r"\.s\d", "timing": r"\.r\d"}[purpose]
    return [event for event in fake.events(what) if re.search(repeat, event["key"])]


def overlap(fake: FakeRun, purpose: str) -> int:
    """The most processes of a purpose that ran at once."""
    return most_at_once(events_of(fake, purpose, "began"), events_of(fake, purpose, "ended"))


def keys(fake: FakeRun) -> list[str]:
    return [event["key"].rsplit(".", 1)[0] for event in fake.events()]


@pytest.mark.parametrize("slots", [1, 3])
def test_slots_bound_the_training_pass_and_timing_runs_are_alone(fake: FakeRun, slots: int) -> None:
    fake.seconds = 0.2  # long beside a process's start
    assert fake.run(slots=slots) == 0
    assert overlap(fake, "train") == slots
    assert overlap(fake, "timing") == 1
    train, timing = events_of(fake, "train"), events_of(fake, "timing")
    assert (len(train), len(timing)) == (8, 8)
    assert {event["threads"] for event in train} == {"1"}
    assert {event["threads"] for event in timing} == {str(cores())}
    assert {event["contended"] for event in train} == {slots > 1}
    assert {event["contended"] for event in timing} == {False}
    assert all(event["start"].endswith(f"models/{event['key'].split('.')[1]}") for event in train)


@pytest.mark.parametrize(("device", "slots"), [("cpu", cores()), ("cuda", 1)])
def test_an_accelerator_has_one_run_at_a_time(fake: FakeRun, device: str, slots: int) -> None:
    fake.seconds = 0.2
    assert fake.run(slots=None, device=device) == 0
    assert overlap(fake, "train") == slots
    assert {event["device"] for event in fake.events()} == {device}


def test_slots_that_are_asked_for_hold_on_an_accelerator_too(fake: FakeRun) -> None:
    fake.seconds = 0.2
    assert fake.run(slots=3, device="cuda") == 0
    assert overlap(fake, "train") == 3


def test_runs_start_in_the_order_of_the_specs(fake: FakeRun) -> None:
    fake.run(slots=1)
    assert keys(fake)[:4] == ["ppo.red.s0", "grpo.red.s0", "ppo.blue.s0", "grpo.blue.s0"]
    assert keys(fake)[8:12] == ["ppo.red.r0", "grpo.red.r0", "grpo.red.r1", "ppo.red.r1"]


def test_slots_default_to_the_cores(fake: FakeRun) -> None:
    fake.seconds = 0.2
    fake.run(slots=None)
    assert overlap(fake, "train") == min(8, cores())


def test_lock_file_names_the_suite_and_every_run(fake: FakeRun) -> None:
    fake.run()
    lock = yaml.safe_load((fake.results / "suite.lock.yaml").read_text())
    assert lock["keys"] == [spec.key for spec in make_specs(fake.suite)]
    assert lock["suite"]["train"]["temperature"] == 1.0
    assert len(lock["hash"]) == 64


def test_finished_runs_are_skipped(fake: FakeRun) -> None:
    fake.run()
    fake.run()
    assert len(fake.events()) == 16
    assert "16 of them finished before" in fake.output


def test_a_longer_suite_runs_only_what_is_new(fake: FakeRun) -> None:
    fake.run()
    fake.suite = make_suite(seeds=3)
    assert fake.run() == 0
    assert sorted(keys(fake)[16:]) == ["grpo.blue.s2", "grpo.red.s2", "ppo.blue.s2", "ppo.red.s2"]


def test_a_failed_run_is_a_row_the_rest_goes_on_and_it_is_run_again(fake: FakeRun) -> None:
    fake.ends = {"grpo.red.s0": "failed"}
    assert fake.run() == 1
    assert len(fake.events("ended")) == 16
    assert "✗ red grpo s0: it went [wrong]" in fake.output
    others = [path for path in fake.results.glob("*/*/manifest.json") if "grpo.red.s0" not in str(path)]
    before = {path: path.stat().st_mtime_ns for path in others}
    fake.ends = {}
    assert fake.run() == 0
    assert keys(fake)[16:] == ["grpo.red.s0"]
    assert fake.manifest("grpo.red.s0")["status"] == "ok"
    assert before == {path: path.stat().st_mtime_ns for path in others}


def test_a_run_that_is_run_again_starts_from_an_empty_folder(fake: FakeRun) -> None:
    fake.ends = {"grpo.red.s0": "failed"}
    fake.run()
    (folder,) = fake.results.glob("runs/grpo.red.s0*")
    fake.ends = {}
    fake.run()
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_diverged_run_is_finished_and_no_failure(fake: FakeRun) -> None:
    fake.ends = {"grpo.red.s0": "diverged"}
    assert fake.run() == 0
    assert fake.run() == 0
    assert len(fake.events()) == 16


def test_a_killed_run_gets_a_manifest_that_says_so(fake: FakeRun) -> None:
    fake.ends = {"ppo.blue.s1": "killed"}
    assert fake.run() == 1
    manifest = fake.manifest("ppo.blue.s1")
    assert manifest["status"] == "failed"
    assert manifest["error"] == "killed by signal 9 (SIGKILL, out of memory?)"
    assert (manifest["updates"], manifest["completions"], manifest["contended"]) == (3, 24, True)
    assert len(list(fake.results.glob("*/*/manifest.json"))) == 16


def test_a_run_that_ends_without_a_manifest_is_explained_by_its_log(fake: FakeRun) -> None:
    fake.ends = {"ppo.blue.s1": "silent"}
    assert fake.run() == 1
    error = fake.manifest("ppo.blue.s1")["error"]
    assert error == "exit code 3 without a manifest; last line of stdout.log: the last words"


def test_start_models_are_built_before_the_runs_and_only_when_needed(fake: FakeRun) -> None:
    built = fake.folder / "built"
    fake.builds = {"red": (sys.executable, "-c", f"open({str(built)!r}, 'a').write('x')")}
    assert fake.run() == 0
    assert built.read_text() == "x"
    assert built.stat().st_mtime < (fake.results / "runs").stat().st_mtime
    fake.run()
    assert built.read_text() == "x"


def test_without_its_start_model_a_task_fails_and_the_others_go_on(fake: FakeRun) -> None:
    fake.builds = {"red": (sys.executable, "-c", "raise SystemExit('no such recipe')")}
    assert fake.run() == 1
    assert {key.split(".")[1] for key in keys(fake)} == {"blue"}
    assert "no such recipe" in fake.manifest("ppo.red.s0")["error"]
    assert "its start model could not be built" in fake.manifest("ppo.red.r1")["error"]


def start_runner(fake: FakeRun, seconds: float) -> tuple[subprocess.Popen[bytes], int]:
    """The runner in a process of its own on a terminal; returns it and the terminal's other end."""
    ours, theirs = pty.openpty()
    command = [sys.executable, str(HELPERS / "fake_suite.py"), str(fake.folder), str(seconds)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    return process, ours


def read_all(terminal: int) -> str:
    """What was written to a terminal whose other side has closed."""
    written = b""
    try:
        while chunk := os.read(terminal, 65536):
            written += chunk
    except OSError:  # Linux reports a closed terminal so
        pass
    os.close(terminal)
    return written.decode(errors="replace")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_suite_stops_its_children_and_resumes(fake: FakeRun, number: signal.Signals) -> None:
    process, terminal = start_runner(fake, seconds=0.4)
    wait_for(lambda: len(fake.events("ended")) >= 2 and len(fake.events("began")) >= 4)
    process.send_signal(number)
    assert process.wait(timeout=20) == 130
    assert not any(alive(event["pid"]) for event in fake.events())
    screen = read_all(terminal)
    assert "the same command goes on from there" in screen
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l"), "the cursor stayed hidden"
    finished = {path.parent.name for path in fake.results.glob("*/*/manifest.json")}
    begun = len(fake.events())
    assert 0 < len(finished) < begun, "the children were waited for, not stopped"
    assert fake.run() == 0
    assert not finished & {event["key"] for event in fake.events()[begun:]}
    assert len(list(fake.results.glob("*/*/manifest.json"))) == 16


def test_two_runners_cannot_share_a_folder_and_orphans_keep_it(fake: FakeRun) -> None:
    process, terminal = start_runner(fake, seconds=1.5)
    wait_for(lambda: len(fake.events()) >= 2)
    with pytest.raises(UserError, match="another run is writing"):
        fake.run()
    process.kill()
    process.wait()
    with pytest.raises(UserError, match="another run is writing"):
        fake.run()
    wait_for(lambda: not any(alive(event["pid"]) for event in fake.events()))
    os.close(terminal)
    assert fake.run() == 0


def test_a_results_folder_that_cannot_be_written_is_a_users_mistake(fake: FakeRun) -> None:
    (fake.folder / "results").write_text("a file")
    with pytest.raises(UserError, match="results/fake: not writable"):
        fake.run()


def test_a_corrupt_manifest_stops_before_anything_is_touched(fake: FakeRun) -> None:
    fake.run()
    (path,) = fake.results.glob("runs/ppo.red.s1*/manifest.json")
    path.write_text("{")
    lock = fake.results / "suite.lock.yaml"
    lock.write_text("as it was")
    with pytest.raises(UserError, match=r"ppo\.red\.s1.*manifest\.json, line 1: not JSON"):
        fake.run()
    assert lock.read_text() == "as it was"
    assert len(fake.events()) == 16


def test_slots_must_be_positive(fake: FakeRun) -> None:
    with pytest.raises(UserError, match="--slots 0: should be at least 1"):
        fake.run(slots=0)
    assert not fake.results.exists()

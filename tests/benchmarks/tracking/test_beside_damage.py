"""What is damaged or cannot start costs a line and the mirror, never a run."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from damage import edit_manifest
from fake_suite import FakeRun, make_suite
from fake_wandb import by_hand, put_fake, told, write_small
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.tracking import beside
from ppo_vs_grpo.benchmarks.tracking.account import account_is_damaged, mirrored_so_far
from ppo_vs_grpo.benchmarks.tracking.beside import Mode, mirrored
from ppo_vs_grpo.benchmarks.tracking.course import Tail

DAMAGE = {"half": '{"offline": {"ppo', "list": "[]", "flat": '{"offline": "all"}', "bytes": b"\xff\xfe{}"}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    return FakeRun(tmp_path, suite=make_suite(tasks=("red",), seeds=1, timing=False))


def damage(folder: Path, content: str | bytes = DAMAGE["half"]) -> Path:
    path = folder / "wandb" / "mirrored.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_tail_reads_another_file_and_a_shorter_one_from_their_start(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    path.write_text('{"update": 1}\n[1]\n{"a": 2}\n')
    assert tail.read() == [{"update": 1}]
    path.rename(tmp_path / "old")  # keeps its inode from being used again
    path.write_text('{"update": 7}\n{"update": 8}\n{"update": 9}\n')
    assert [row["update"] for row in tail.read()] == [7, 8, 9]
    path.write_text('{"update": 5}\n')
    assert [row["update"] for row in tail.read()] == [5]
    assert tail.read() == []


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_a_damaged_account_knows_of_nothing(tmp_path: Path, kind: str) -> None:
    assert (account_is_damaged(tmp_path), mirrored_so_far(tmp_path)) == (False, {})
    path = damage(tmp_path, DAMAGE[kind])
    assert (account_is_damaged(tmp_path), mirrored_so_far(tmp_path)) == (True, {})
    path.unlink()
    path.mkdir()
    assert account_is_damaged(tmp_path)
    path.rmdir()
    path.write_text('{"offline": {"a": "0"}}')
    assert (account_is_damaged(tmp_path), mirrored_so_far(tmp_path)) == (False, {"offline": {"a": "0"}})


def test_a_suite_goes_on_beside_a_damaged_account_and_is_mirrored_whole(
    fake: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log, path = put_fake(tmp_path, monkeypatch), damage(fake.results)
    with mirrored(fake.results, Mode.offline):
        assert fake.run() == 0
    assert capfd.readouterr().err == f"wandb: {path}: damaged; everything is mirrored again\n"
    assert len(told(log, "finish")) == len(json.loads(path.read_text())["offline"]) == 2


def test_a_damaged_account_is_named_by_hand_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, folder = put_fake(tmp_path, monkeypatch), write_small(tmp_path)
    by_hand(folder)
    log.unlink()
    path = damage(folder)
    ran = by_hand(folder)
    assert (ran.returncode, ran.stderr) == (0, f"{path}: damaged; everything is mirrored again\n")
    assert len(told(log, "init")) == 3
    log.unlink()
    assert by_hand(folder).stderr == ""
    assert told(log, "init") == {}


def test_an_account_that_is_damaged_as_the_mirror_fails_ends_no_suite(
    fake: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_fake(tmp_path, monkeypatch, in_init="raise OSError('full')")
    with mirrored(fake.results, Mode.offline):
        assert fake.run() == 0
        damage(fake.results)
    assert capfd.readouterr().err.startswith("wandb: 2 of 2 runs not mirrored (OSError: full); later: ")


def test_a_folder_in_which_nothing_can_be_counted_ends_no_suite(
    fake: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_fake(tmp_path, monkeypatch, in_init="raise OSError('full')")
    with mirrored(fake.results, Mode.offline):
        assert fake.run() == 0
        (fake.results / "suite.lock.yaml").write_text("keys: [")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("wandb: some runs not mirrored (")


@pytest.mark.parametrize("what", ["Popen", "TemporaryFile"])
def test_a_mirror_that_cannot_start_is_one_line(
    fake: FakeRun, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    """The first thing to be opened fails, and the suite's own processes start as ever."""
    place: Any = {"Popen": beside.subprocess, "TemporaryFile": beside.tempfile}[what]
    works = getattr(place, what)

    def refuse(*given: Any, **more: Any) -> Any:
        monkeypatch.setattr(place, what, works)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(place, what, refuse)
    start_s = time.monotonic()
    with mirrored(fake.results, Mode.offline):
        assert fake.run() == 0
    assert time.monotonic() - start_s < 5
    (line,) = capfd.readouterr().err.splitlines()
    command = f"python -m ppo_vs_grpo.benchmarks.tracking {fake.results} --mode offline"
    why = "it cannot be started: Resource temporarily unavailable"
    assert line == f"wandb: 2 of 2 runs not mirrored ({why}); later: {command}"
    assert subprocess.Popen is not refuse


@pytest.mark.parametrize("kind", [OSError, ValueError])
def test_what_goes_wrong_in_a_suite_passes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    put_fake(tmp_path, monkeypatch)
    with pytest.raises(kind, match="the suite's own"), mirrored(write_small(tmp_path), Mode.offline):
        raise kind("the suite's own")


@pytest.mark.parametrize(("completions", "final"), [(768, True), (767, False)])
def test_a_run_that_diverged_at_its_end_has_a_final_score_as_in_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, completions: int, final: bool
) -> None:
    log, folder = put_fake(tmp_path, monkeypatch), write_small(tmp_path)
    (path,) = (folder / "runs").glob("ppo*/manifest.json")
    edit_manifest(path.parent, status="diverged", completions=completions)
    assert by_hand(folder).stderr == ""
    (((summary,),),) = [told(log, "summary")[path.parent.name]]
    assert ("final_pass_rate" in summary) is final
    assert (path.parent.name in load(folder).complete) is final
    assert summary["status"] == "diverged"


def test_a_run_that_cannot_be_read_is_one_line_and_the_others_are_mirrored_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, folder = put_fake(tmp_path, monkeypatch), write_small(tmp_path)
    (path,) = (folder / "runs").glob("ppo*/manifest.json")
    whole = path.read_text()
    path.write_text(whole[:20])
    ran = by_hand(folder)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1)
    assert ran.stderr.startswith("JSONDecodeError: ")
    path.write_text(whole)
    assert by_hand(folder).returncode == 0
    assert told(log, "finish")[path.parent.name] == [[0]]

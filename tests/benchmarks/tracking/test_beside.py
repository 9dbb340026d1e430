"""A mirror can neither stop nor slow a suite, ends with it, keeps no key, and sends nothing offline."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fake_suite import FakeRun, make_suite
from fake_wandb import by_hand, put_fake, told, write_small
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.tracking import beside
from ppo_vs_grpo.benchmarks.tracking.beside import Mode, mirrored

WORSE = {
    "raises": ("pass", r'raise RuntimeError("no\nkey")', "RuntimeError: no key"),
    "hangs": ("pass", "time.sleep(60)", "not done after 3 s"),
    "is killed": ("pass", "os.kill(os.getpid(), 9)", "exit code -9"),
    "cannot be imported": ('raise ImportError("libwandb is broken")', "pass", "ImportError: libwandb is broken"),
}
"""By what goes wrong: what happens when wandb is imported, what in `init`, and what is said of it."""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    monkeypatch.setattr(beside, "WAIT_S", 3.0)
    return FakeRun(tmp_path, suite=make_suite(tasks=("red",), seeds=1, timing=False))


def alive(pid: int) -> bool:
    """Whether a process still runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_pid(log: Path, seconds: float = 20) -> int:
    """The process in which the fake wandb is, once it has told."""
    deadline = time.monotonic() + seconds
    while not log.exists() or "\n" not in log.read_text():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return int(json.loads(log.read_text().splitlines()[0])[3]["pid"])


@pytest.mark.parametrize("wrong", list(WORSE))
def test_whatever_goes_wrong_is_one_line_and_no_more(
    fake: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], wrong: str
) -> None:
    at_import, in_init, reason = WORSE[wrong]
    put_fake(tmp_path, monkeypatch, at_import, in_init)
    start_s = time.monotonic()
    with mirrored(fake.results, Mode.offline):
        assert fake.run() == 0
    assert time.monotonic() - start_s < 8
    (line,) = capfd.readouterr().err.splitlines()
    command = f"python -m ppo_vs_grpo.benchmarks.tracking {fake.results} --mode offline"
    assert line == f"wandb: 2 of 2 runs not mirrored ({reason}); later: {command}"


def test_what_was_not_mirrored_is_by_the_command_that_the_line_names(
    fake: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = put_fake(
        tmp_path, monkeypatch, in_init="if id[:4] == 'grpo' and 'WELL' not in os.environ: raise OSError('full')"
    )
    with mirrored(fake.results, Mode.offline):
        fake.run()
    assert capfd.readouterr().err.startswith("wandb: 1 of 2 runs not mirrored (OSError: full)")
    log.unlink()
    monkeypatch.setenv("WELL", "1")
    assert by_hand(fake.results, "--mode", "offline").returncode == 0
    assert [key.partition(".")[0] for key in told(log, "finish")] == ["grpo"]


def test_a_report_that_is_not_mirrored_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_fake(tmp_path, monkeypatch, in_init="if 'report' in id: raise OSError('full')")
    with mirrored(write_small(tmp_path), Mode.offline):
        pass
    assert capfd.readouterr().err.startswith("wandb: the report not mirrored (OSError: full); later: ")


@pytest.mark.parametrize(("mode", "lines"), [(Mode.offline, 1), (Mode.online, 0)])
def test_runs_that_are_mirrored_offline_end_with_the_line_that_sends_them(
    mode: Mode, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_fake(tmp_path, monkeypatch, in_init="Path(given['dir'], 'wandb', f'offline-run-1-{id}').mkdir(parents=True)")
    folder = write_small(tmp_path)
    with mirrored(folder, mode):
        pass
    said = f"wandb: the runs lie on this machine; to send them: wandb sync {folder}/wandb/offline-run-*"
    assert capfd.readouterr().out.splitlines() == [said] * lines


def test_nothing_starts_unless_it_is_asked_for(fake: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = put_fake(tmp_path, monkeypatch)
    with mirrored(fake.results, Mode.off):
        assert fake.run() == 0
    assert not log.exists()
    assert not (fake.results / "wandb").exists()


def test_a_mirror_gets_its_account_and_the_way_to_its_server_and_no_other_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_fake(tmp_path, monkeypatch, in_init="tell(id, 'environment', sorted(os.environ))")
    given = {"WANDB_API_KEY", "WANDB_PROJECT", "https_proxy", "NETRC"}
    for name in (*given, "GITHUB_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with mirrored(write_small(tmp_path), Mode.offline):
        pass
    ((names,), *_) = next(iter(told(log, "environment").values()))
    assert given <= set(names)
    assert not {"GITHUB_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(names)


def test_a_suite_that_never_began_leaves_no_folder_and_no_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="a mistake"), mirrored(tmp_path / "results" / "core", Mode.offline):
        raise ValueError("a mistake")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_an_interruption_does_not_wait_for_a_mirror_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(beside, "HURRY_S", 0.5)
    log, folder = put_fake(tmp_path, monkeypatch, in_init="time.sleep(60)"), write_small(tmp_path)
    with suppress(KeyboardInterrupt), mirrored(folder, Mode.offline):
        pid = wait_for_pid(log)
        assert alive(pid)
        assert os.getsid(pid) != os.getsid(0)  # out of reach of the terminal's Ctrl-C
        start_s = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - start_s < 2
    assert not alive(pid)
    assert "2 of 2 runs not mirrored (not done after 0.5 s)" in capfd.readouterr().err


def test_a_mirror_ends_when_the_command_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, folder = put_fake(tmp_path, monkeypatch), write_small(tmp_path)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ppo_vs_grpo.benchmarks.tracking.beside import Mode, mirrored\n"
        "with mirrored(Path(sys.argv[1]), Mode.offline): time.sleep(60)"
    )
    command = subprocess.Popen([sys.executable, "-P", "-c", code, str(folder)])
    pid = wait_for_pid(log)
    command.send_signal(signal.SIGKILL)
    command.wait()
    deadline = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < deadline, "the mirror goes on"
        time.sleep(0.05)


def test_two_do_not_mirror_one_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, folder = put_fake(tmp_path, monkeypatch), write_small(tmp_path)
    with mirrored(folder, Mode.offline):
        wait_for_pid(log)
        second = by_hand(folder)
    assert (second.returncode, second.stderr) == (
        2,
        f"error: {folder}: another process is mirroring it; wait for it or stop it\n",
    )


def read_offline(path: Path) -> list[Any]:
    """The records of a .wandb file: after 7 bytes, blocks of 32 KiB with (crc, length, type) before each piece."""
    proto: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    content, at, whole, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last piece of one
            records.append(proto.Record.FromString(whole))
            whole = b""
    return records


def items(pairs: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in pairs}


def test_offline_sends_nothing_and_keeps_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, folder = "0123456789abcdef" * 2 + "feedbeef", write_small(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
        monkeypatch.setenv("WANDB_API_KEY", key)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert by_hand(folder).stderr == ""
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    assert len(list((folder / "wandb").glob("offline-run-*/run-*.wandb"))) == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()] == []
    assert not (tmp_path / "home").exists()


def test_offline_files_hold_what_was_measured(tmp_path: Path) -> None:
    folder = write_small(tmp_path)
    results = load(folder)
    assert by_hand(folder).stderr == ""
    for run in results.runs["key"]:
        (path,) = (folder / "wandb").glob(f"offline-run-*/run-{run}.wandb")
        records = read_offline(path)
        about = next(record.run for record in records if record.HasField("run"))
        assert (about.run_id, about.run_group, about.job_type) == (run, "synthetic", run.partition(".")[0])
        axes = [(record.metric.glob_name, record.metric.step_metric) for record in records if record.HasField("metric")]
        assert axes == [("*", "completions")]
        rows = [items(record.history.item) for record in records if record.HasField("history")]
        measured = results.metrics[results.metrics["key"] == run]
        assert [row["reward_mean"] for row in rows if "reward_mean" in row] == measured["reward_mean"].tolist()
        assert [row["_step"] for row in rows] == list(range(7))
        scores = results.scores[results.scores["key"] == run]["pass_rate"]
        assert [row["eval/pass_rate"] for row in rows if "eval/pass_rate" in row] == pytest.approx(scores.tolist())
        assert [record.artifact.type for record in records if record.HasField("artifact")] == ["run-record"]
        ends = [items(record.summary.update) for record in records if record.HasField("summary")]
        assert {end["status"] for end in ends if "status" in end} == {"ok"}
    again = load(folder)  # readers do not see what wandb left there
    assert again.ignored == ()
    assert again.runs.equals(results.runs)

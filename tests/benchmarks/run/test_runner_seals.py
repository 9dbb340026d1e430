"""The lock that a runner leaves: the seals of the runs that ended, and what was changed before it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from damage import by_hand, read_json, strip, without_seal
from fake_suite import FakeRun, make_suite
from ppo_vs_grpo.benchmarks.analysis.frames.load import load
from ppo_vs_grpo.benchmarks.records.lock import read_seals
from ppo_vs_grpo.benchmarks.run import passes, throughput
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.suites.sections import Throughput
from ppo_vs_grpo.tasks.errors import UserError


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    return FakeRun(tmp_path, suite=make_suite(tasks=("red",)))


def manifests(fake: FakeRun) -> dict[str, dict[str, Any]]:
    return {path.parent.name: read_json(path) for path in fake.results.glob("*/*/manifest.json")}


def lock_of(fake: FakeRun) -> Path:
    return fake.results / "suite.lock.yaml"


def test_at_its_end_the_lock_lists_every_runs_seal_and_again_the_same_bytes(fake: FakeRun) -> None:
    fake.ends = {"grpo.red.s1": "diverged"}
    assert fake.run() == 0
    assert read_seals(fake.results) == {key: one["seal"] for key, one in manifests(fake).items()}
    assert list(yaml.safe_load(lock_of(fake).read_text())) == ["suite", "hash", "keys", "seals", "seal"]
    left = {path: path.read_bytes() for path in fake.results.rglob("*") if path.is_file()}
    assert fake.run() == 0
    assert left == {path: path.read_bytes() for path in fake.results.rglob("*") if path.is_file()}


def test_a_failed_run_has_a_seal_too_until_it_is_run_again(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.ends = {"grpo.red.s0": "failed", "ppo.red.s1": "killed"}
    assert fake.run() == 1
    (failed, killed) = (next(key for key in manifests(fake) if key.startswith(beginning)) for beginning in fake.ends)
    before = read_seals(fake.results) or {}
    assert {failed, killed} < before.keys() == manifests(fake).keys()
    fake.ends = {}

    def die(passes: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(passes.Passes, "train", die)
        with pytest.raises(RuntimeError, match="killed"):
            fake.run()
    assert read_seals(fake.results) == {key: seal for key, seal in before.items() if key not in (failed, killed)}
    assert fake.run() == 0
    after = read_seals(fake.results) or {}
    assert after == {key: one["seal"] for key, one in manifests(fake).items()}
    assert [key for key in before if before[key] != after[key]] == [failed, killed]


def test_an_interrupted_suite_lists_what_ended(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(passes: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(passes.Passes, "time", interrupted)
        assert fake.run() == 130
    assert read_seals(fake.results) == {key: one["seal"] for key, one in manifests(fake).items()}
    assert len(manifests(fake)) == 4
    assert fake.run() == 0
    assert len(read_seals(fake.results) or {}) == 8


@pytest.mark.parametrize("how", ["by hand", "without a seal"])
def test_a_changed_run_stops_the_suite_before_anything_is_touched(fake: FakeRun, how: str) -> None:
    fake.run()
    left = lock_of(fake).read_bytes()
    (run,) = fake.results.glob("runs/ppo.red.s1*")
    by_hand(contended=False)(run)
    if how == "without a seal":
        without_seal(run)
    with pytest.raises(UserError, match=rf"{run.name}/manifest\.json: .* delete the run's folder and run the suite"):
        fake.run()
    assert lock_of(fake).read_bytes() == left


@pytest.mark.parametrize("new", ["seeds:\n  - 3\n", "seeds: 2\n"])
def test_running_the_suite_again_mends_a_changed_lock(fake: FakeRun, new: str) -> None:
    fake.run()
    whole = lock_of(fake).read_text()
    assert "seeds:\n  - 0\n" in whole
    lock_of(fake).write_text(whole.replace("seeds:\n  - 0\n", new))
    with pytest.raises(UserError, match="run the suite again"):
        read_seals(fake.results)
    assert fake.run() == 0
    assert lock_of(fake).read_text() == whole
    assert len(fake.events()) == 8


def test_a_suite_of_before_there_were_seals_goes_on_and_stays_known_as_such(fake: FakeRun) -> None:
    fake.run()
    strip(fake.results)
    old = set(manifests(fake))
    fake.suite = make_suite(tasks=("red",), seeds=3)
    assert fake.run() == 0
    assert read_seals(fake.results) == {key: one["seal"] for key, one in manifests(fake).items() if key not in old}
    assert len(read_seals(fake.results) or {}) == 2


def test_the_lock_has_the_hash_of_throughput(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "busy_cores", lambda: 0.0)
    asked = Throughput(arm="grpo", slots=[1, 2], runs=2, completions=16, repeats=1)
    fake.suite = make_suite(tasks=("red",), seeds=1).model_copy(update={"throughput": asked})
    assert fake.run() == 0
    left, path = lock_of(fake).read_bytes(), fake.results / "throughput.jsonl"
    assert fake.run() == 0
    assert lock_of(fake).read_bytes() == left
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 1', 1))
    for use in (fake.run, lambda: load(fake.results, strict=False)):
        with pytest.raises(UserError, match=r"throughput\.jsonl: not the file of which .* delete it and run the suite"):
            use()
    assert lock_of(fake).read_bytes() == left
    path.unlink()
    assert fake.run() == 0
    assert len(load(fake.results, strict=False).throughput) == 2

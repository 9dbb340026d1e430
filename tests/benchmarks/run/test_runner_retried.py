"""Which runs begin again, and that a reader sees a choice among attempts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from damage import read_json
from fake_suite import FakeRun, make_suite
from ppo_vs_grpo.benchmarks.records.lock import read_seals
from ppo_vs_grpo.benchmarks.run import passes
from ppo_vs_grpo.benchmarks.run.attempts import Retry
from ppo_vs_grpo.benchmarks.run.engines import local

DIVERGED, FAILED = "grpo.red.s0", "ppo.red.s1"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    made = FakeRun(tmp_path, suite=make_suite(tasks=("red",), timing=False))
    made.ends = {DIVERGED: "diverged", FAILED: "failed"}
    assert made.run() == 1
    made.ends = {}
    return made


def begun_again(fake: FakeRun) -> list[str]:
    return [event["key"].rpartition(".")[0] for event in fake.events()[4:]]


def test_by_default_failed_runs_begin_again_and_say_so(fake: FakeRun) -> None:
    assert fake.run() == 0
    assert begun_again(fake) == [FAILED]
    said = {key: fake.manifest(key)["retried"] for key in (FAILED, DIVERGED, "ppo.red.s0")}
    assert said == {FAILED: "failed", DIVERGED: None, "ppo.red.s0": None}


def test_diverged_runs_begin_again_where_asked_and_the_lock_has_their_new_seals(
    fake: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_seals(fake.results) or {}

    def die(_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(passes.Passes, "train", die)
        with pytest.raises(RuntimeError, match="killed"):
            fake.run(retry=Retry.diverged)
    left = read_seals(fake.results) or {}
    assert sorted(before.keys() - left.keys()) == sorted(key for key in before if key.startswith((DIVERGED, FAILED))), (
        "what is yet to be written is listed"
    )
    assert fake.run(retry=Retry.diverged) == 0
    assert sorted(begun_again(fake)) == [DIVERGED, FAILED]
    manifest = fake.manifest(DIVERGED)
    assert (manifest["status"], manifest["retried"]) == ("ok", "diverged")
    assert (read_seals(fake.results) or {})[manifest["key"]] == manifest["seal"] != before[manifest["key"]]


@pytest.mark.parametrize("how", ["failed", "killed"])
def test_that_a_run_had_diverged_is_not_forgotten_by_later_attempts(fake: FakeRun, how: str) -> None:
    fake.ends = {DIVERGED: how}
    assert fake.run(retry=Retry.diverged) == 1
    assert fake.manifest(DIVERGED)["retried"] == "diverged"
    fake.ends = {}
    assert fake.run() == 0
    assert fake.manifest(DIVERGED)["retried"] == "diverged"


def test_nor_when_the_runner_dies_before_the_new_attempt_has_an_end(fake: FakeRun) -> None:
    (run,) = fake.results.glob(f"runs/{DIVERGED}*")
    (run / "retried").write_text("diverged\n")
    (run / "manifest.json").unlink()
    assert fake.run() == 0
    assert fake.manifest(DIVERGED)["retried"] == "diverged"


def test_a_diverged_run_begins_anew_and_not_from_a_checkpoint(fake: FakeRun) -> None:
    (run,) = fake.results.glob(f"runs/{DIVERGED}*")
    (run / "checkpoints" / "0000001").mkdir(parents=True)
    (run / "checkpoints" / "0000001" / "checkpoint.json").write_text("{}")
    assert fake.run(retry=Retry.diverged) == 0
    assert not (run / "checkpoints").exists()
    assert "checkpoint" not in (run / "stdout.log").read_text()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_none_leaves_failed_runs_as_they_are(fake: FakeRun) -> None:
    seals = read_seals(fake.results)
    assert fake.run(retry=Retry.none) == 1
    assert begun_again(fake) == []
    assert read_seals(fake.results) == seals
    assert "✗ red ppo s1: it went [wrong]" in fake.output
    assert "1 of 4 runs failed; with --retry failed the command runs them again." in fake.output


def test_manifests_of_before_there_was_the_field_are_read(fake: FakeRun) -> None:
    (run,) = fake.results.glob("runs/ppo.red.s0*")
    manifest = read_json(run / "manifest.json")
    del manifest["retried"], manifest["seal"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    (fake.results / "suite.lock.yaml").unlink()
    assert fake.run() == 0

"""The files of checkpoints: whole or not there, the last two kept, and damage is told and steps back."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch

from example_spec import SPEC
from ppo_vs_grpo.algorithms.shared.checkpoint import State
from ppo_vs_grpo.benchmarks.records.recorder import Recorder
from ppo_vs_grpo.benchmarks.records.seal import sealed
from ppo_vs_grpo.benchmarks.run import checkpoints
from ppo_vs_grpo.benchmarks.run.state import RunState


def at(update: int) -> State:
    return State({"policy.w": torch.full((3,), float(update)), "step.policy.w": torch.tensor(2.0)}, {"number": update})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with an update a line, a checkpoint at every second, and half an update more than the last."""
    recorder = Recorder(tmp_path, SPEC.identity)
    (tmp_path / "spec.json").write_text(SPEC.model_dump_json(indent=1))
    for update in (1, 2, 3, 4, 5, 6):
        recorder.metrics({"update": update, "reward_mean": update / 7})
        if update % 2 == 0:
            rest = {"meters": {"wall_s": 1.5}, "records": recorder.standing()}
            checkpoints.write(tmp_path, SPEC, at(update), rest)
    recorder.metrics({"update": 7, "reward_mean": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as lines:
        lines.write('{"upd')
    return tmp_path


def folder_of(run: Path, update: int) -> Path:
    return run / "checkpoints" / f"{update:07}"


def updates_in(run: Path) -> list[int]:
    return [json.loads(line)["update"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_last_two_are_kept(run: Path) -> None:
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["0000004", "0000006"]


def test_a_run_goes_back_to_the_last_one(run: Path) -> None:
    (run / "manifest.json").write_text("{}")
    (run / "evals.jsonl").write_text("{}\n")  # begun after the checkpoint
    (run / "policy").mkdir()
    assert checkpoints.go_back(run, SPEC) == (6, [])
    assert updates_in(run) == [1, 2, 3, 4, 5, 6]
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints", "metrics.jsonl", "spec.json"]
    state, content = checkpoints.read(run, 6)
    assert {name: tensor.tolist() for name, tensor in state.tensors.items()} == {
        "policy.w": [6.0, 6.0, 6.0], "step.policy.w": 2.0,
    }  # fmt: skip
    assert (state.numbers, content["meters"]) == ({"number": 6}, {"wall_s": 1.5})
    assert checkpoints.go_back(run, SPEC) == (6, []), "going back twice is going back once"


def test_records_go_on_as_they_stood(run: Path, tmp_path: Path) -> None:
    checkpoints.go_back(run, SPEC)
    recorder = Recorder(run, SPEC.identity)
    assert recorder.go_on(checkpoints.read(run, 6)[1]["records"]) == {"update": 6, "reward_mean": 6 / 7}
    recorder.metrics({"reward_mean": 0.5, "update": 7})
    assert (run / "metrics.jsonl").read_text().splitlines()[-1] == '{"update": 7, "reward_mean": 0.5}'


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "a flipped bit in the weights": (flip, "tensors-0.safetensors", "tensors-0.safetensors was changed"),
    "weights that end early": (truncate, "tensors-0.safetensors", "tensors-0.safetensors was changed"),
    "no weights": (Path.unlink, "tensors-0.safetensors", "tensors-0.safetensors is missing"),
    "a list that ends early": (truncate, "checkpoint.json", "checkpoint.json, line 1: not JSON"),
    "no list": (Path.unlink, "checkpoint.json", "checkpoint.json is missing"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_one_is_told_and_the_one_before_is_used(run: Path, damage: str) -> None:
    spoil, name, reason = DAMAGES[damage]
    spoil(folder_of(run, 6) / name)
    state = RunState(SPEC, run)
    told = state.prepare()
    assert told[0].startswith("its checkpoint of update 6 cannot be used: ")
    assert reason in told[0]
    assert told[1:] == ["goes on from update 4 of 100"]
    assert (state.goes_on_from, updates_in(run)) == (4, [1, 2, 3, 4])
    assert (run / "stdout.log").read_text().splitlines() == told
    assert not folder_of(run, 6).exists()


def test_both_damaged_and_the_run_starts_again(run: Path) -> None:
    (run / "stdout.log").write_text("of before\n")
    for update in (4, 6):
        flip(folder_of(run, update) / "tensors-0.safetensors")
    state = RunState(SPEC, run)
    told = state.prepare()
    assert [line[:28] for line in told] == [
        "its checkpoint of update 6 c",
        "its checkpoint of update 4 c",
        "starts again",
    ]
    assert state.goes_on_from is None
    assert sorted(path.name for path in run.iterdir()) == ["spec.json", "stdout.log"]
    assert (run / "stdout.log").read_text().splitlines() == told


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("key", "ppo.countdown.s4.00000000", f"key is 'ppo.countdown.s4.00000000' there and {SPEC.key!r} here"),
        ("protocol", 0, "protocol is 0 there and 1 here"),
        ("version of torch", "1.0", "version of torch is '1.0' there and '2."),
    ],
)
def test_one_of_another_run_or_version_is_refused_by_name(run: Path, field: str, value: object, reason: str) -> None:
    path = folder_of(run, 6) / "checkpoint.json"
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), field: value})))
    update, (told,) = checkpoints.go_back(run, SPEC)
    assert update == 4
    assert reason in told


def test_a_changed_number_is_told_by_the_seal(run: Path) -> None:
    path = folder_of(run, 6) / "checkpoint.json"
    path.write_text(path.read_text().replace('"number": 6', '"number": 5'))
    update, (told,) = checkpoints.go_back(run, SPEC)
    assert update == 4
    assert "its seal is not that of its content" in told


def test_records_that_were_cut_or_changed_are_told(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(lines.replace('"update": 5', '"update": 8'))
    update, (told,) = checkpoints.go_back(run, SPEC)
    assert (update, told) == (4, "its checkpoint of update 6 cannot be used: metrics.jsonl is not what it was then")


def test_one_that_was_half_written_is_none(run: Path) -> None:
    folder_of(run, 6).rename(run / "checkpoints" / ".part")
    assert checkpoints.go_back(run, SPEC)[0] == 4


def test_tensors_are_written_in_parts(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 12)
    checkpoints.write(run, SPEC, at(8), {"records": {"files": {}}})
    assert sorted(path.name for path in folder_of(run, 8).glob("t*")) == [
        "tensors-0.safetensors",
        "tensors-1.safetensors",
    ]
    assert checkpoints.read(run, 8)[0].tensors.keys() == at(8).tensors.keys()


def test_a_run_without_one_is_made_anew(tmp_path: Path) -> None:
    state = RunState(SPEC, tmp_path / "run")
    assert state.prepare() == []
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["spec.json", "stdout.log"]
    assert state.goes_on_from is None


def test_one_that_does_not_fit_on_the_disk_is_an_error_of_the_disk_and_leaves_nothing(run: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoints.write(run, SPEC, at(8), {"records": {"files": {}}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["0000004", "0000006"]
    assert checkpoints.go_back(run, SPEC)[0] == 6

"""A run's signs of life: where it gives them, and that they are no record."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from example_spec import SPEC
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.run import heartbeat, worker
from ppo_vs_grpo.benchmarks.run.heartbeat import HEARTBEAT, Heartbeat
from ppo_vs_grpo.benchmarks.run.trainers import make_trainer
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig, Timing
from run_folders import prepared


def a_run(rank: int | None = None) -> RunSpec:
    train = TrainConfig(completions=32, prompts_per_update=4, group_size=4, max_new_tokens=5, lora_rank=rank)
    changes = {"arm": "grpo", "algorithm": "grpo", "train": train, "eval": EvalConfig(prompts=8, points=2)}
    return SPEC.model_copy(update=changes)


def beats(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every beat from now on, whatever the time since the last."""
    told: list[str] = []
    monkeypatch.setattr(Heartbeat, "beat", lambda self: told.append(self._path.name))
    return told


def test_it_is_touched_at_most_twice_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((5.0, 5.1, 5.4, 5.5, 5.9, 6.2))
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: next(moments))
    heart = Heartbeat(tmp_path)
    touched = []
    for _ in range(5):
        (tmp_path / HEARTBEAT).unlink(missing_ok=True)
        heart.beat()
        touched.append((tmp_path / HEARTBEAT).exists())
    assert touched == [False, False, True, False, True]


def test_a_sign_of_life_that_cannot_be_given_costs_nothing(tmp_path: Path) -> None:
    Heartbeat(tmp_path / "gone").beat()
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("rank", [None, 2])
def test_every_pass_through_the_policy_is_a_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int | None
) -> None:
    _, model = prepared(tmp_path, a_run(rank))
    trainer = make_trainer(a_run(rank), model)
    told = beats(monkeypatch)
    heart = Heartbeat(tmp_path)
    heart.follow(trainer.policy)
    del told[:]
    trainer.engine.generate(trainer.encode([trainer.task.draw(np.random.default_rng(0))]), 2, None)
    of_a_rollout = len(told)
    assert of_a_rollout > 0
    scored = next(trainer.updates(1)).scored
    assert len(told) > of_a_rollout + scored.rollouts.mask_BT.shape[1], "no pass of the update itself"


def test_a_run_beats_while_it_starts_learns_and_keeps_and_leaves_no_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = prepared(tmp_path, a_run())
    seen: list[bool] = []
    record = worker.Run._record

    def look(run: worker.Run, *given: object, **named: bool) -> None:
        seen.append((folder / HEARTBEAT).exists())
        (folder / HEARTBEAT).unlink()
        time.sleep(heartbeat.EVERY_S)
        record(run, *given, **named)
        seen.append((folder / HEARTBEAT).exists())

    monkeypatch.setattr(worker.Run, "_record", look)
    assert worker.main([str(folder), str(model)]) == 0
    assert seen == [True] * 4
    assert not (folder / HEARTBEAT).exists()
    assert HEARTBEAT not in (folder / "manifest.json").read_text()


def test_a_timing_run_has_no_hook_in_what_it_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = a_run().model_copy(update={"purpose": "timing", "timing": Timing(updates=1, warmup_updates=1)})
    folder, model = prepared(tmp_path, spec)
    followed = []
    monkeypatch.setattr(Heartbeat, "follow", lambda *_: followed.append(1))
    assert worker.main([str(folder), str(model)]) == 0
    assert followed == []

"""A run whose steps are not finite ends as diverged; one whose reward is not finite has failed."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

import synthetic
from graded import NAN
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import MAX_SKIPPED_STEPS, Trainer
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.report import tables
from ppo_vs_grpo.benchmarks.records.lock import write_lock
from ppo_vs_grpo.benchmarks.run import trainers, worker
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.countdown import Countdown
from run_folders import prepared as run_folder


def one_run(completions: int) -> tuple[Suite, RunSpec]:
    """A suite of one small run, and the run."""
    suite = synthetic.make_suite(["grpo"], ["countdown"], seeds=1, timing=False)
    train = TrainConfig(completions=completions, prompts_per_update=4, group_size=4, max_new_tokens=5)
    small = {"config": {}, "train": train, "eval": EvalConfig(prompts=8, points=2, transcripts=2)}
    return suite, synthetic.make_specs(suite)[0].model_copy(update=small)


def test_past_the_threshold_the_run_ends_as_diverged_and_is_a_row_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, spec = one_run(completions=400)
    write_lock(tmp_path, lock_document(suite, [spec]), {})
    run, model = run_folder(tmp_path, spec)
    (tmp_path / "runs").mkdir()
    run = run.rename(tmp_path / "runs" / spec.key)
    whole = trainers.make_trainer

    def broken(*args: object, **options: object) -> Trainer:
        made = whole(*args, **options)
        next(made.models.policy.parameters()).register_hook(lambda grad: grad * NAN)
        return made

    monkeypatch.setattr(worker, "make_trainer", broken)
    assert worker.main([str(run), str(model)]) == 0
    assert json.loads((run / "manifest.json").read_text())["status"] == "diverged"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["skipped_steps"] for line in lines] == [*range(2, MAX_SKIPPED_STEPS + 1, 2)]
    (row,) = tables.unfinished(load(tmp_path)).to_dict("records")
    assert (row["arm"], row["state"]) == ("grpo", "diverged")
    assert "non-finite" in row["message"]


def test_an_infinite_reward_is_the_tasks_fault_and_the_run_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, spec = one_run(completions=32)
    run, model = run_folder(tmp_path, spec)
    asked: list[str] = []

    def once_in_a_hundred(self: Countdown, problem: Problem, completion: str) -> Score:
        asked.append(completion)
        return Score(math.inf if len(asked) == 40 else 0.0, False)

    monkeypatch.setattr(Countdown, "score", once_in_a_hundred)
    assert worker.main([str(run), str(model)]) == 1
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert re.fullmatch(
        r"RewardError: task countdown, prompt '.+', completion '.*': the reward is inf; a reward is finite, or None",
        manifest["error"],
    )

"""The figure of lengths: of the tasks on which they change, right and wrong completions on one scale."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from handmade import made
from ppo_vs_grpo.benchmarks.analysis.frames.lengths import tasks_that_move
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.contents import drawings
from ppo_vs_grpo.benchmarks.analysis.report.figures.lengths import length_figure


def results(ends: dict[str, float]) -> Results:
    """Two arms; of each task's completions half pass with 10 tokens, and the others fail with 20 and then so many."""
    arms = ("ppo", "grpo")
    rows = [
        {"arm": arm, "task": task, "seed": 0, "key": f"{arm}.{task}.s0", "update": update, "prompt": 0}
        | {"completions": 100 * update, "samples": 4, "passes": 2, "completion_tokens_mean": (10 + failed) / 2}
        | {"passed_tokens_mean": 10.0, "passed_cut": 0, "failed_cut": 0}
        | dict.fromkeys(("reward_mean", "greedy_pass", "greedy_reward"), 0.5)
        for arm in arms
        for task, end in ends.items()
        for update, failed in enumerate((20.0, end))
    ]
    shape = made({arm: {task: [[0.5, 0.5]] for task in ends} for arm in arms})
    return replace(shape, evals=pd.DataFrame(rows))


def test_tasks_whose_lengths_stay_have_no_curve() -> None:
    moving = results({"still": 20.5, "long": 30.0, "short": 19.0})
    assert tasks_that_move(moving) == ["long", "short"]
    assert "lengths" in drawings(moving)
    assert "lengths" not in drawings(results({"still": 20.5}))
    assert tasks_that_move(made({"ppo": {"a": [[0.5, 0.5]]}})) == []


def test_both_kinds_are_on_one_scale_with_a_line_an_arm() -> None:
    passed, failed = length_figure(results({"still": 20.5, "long": 30.0})).axes
    assert passed.get_ylim() == failed.get_ylim()
    assert passed.get_ylim()[1] >= 30
    lines = [[line.get_xydata().tolist() for line in ax.lines] for ax in (passed, failed)]  # type: ignore[union-attr]
    assert lines == [[[[0, 10], [100, 10]]] * 2, [[[0, 20], [100, 30]]] * 2]
    assert [ax.get_xlabel() for ax in (passed, failed)] == ["completions (passed)", "completions (failed)"]


@pytest.mark.parametrize("gone", ["passes", "failures"])
def test_a_kind_without_completions_has_an_empty_curve(gone: str) -> None:
    evals = results({"long": 30.0}).evals
    if gone == "passes":
        evals = evals.assign(passes=0, passed_tokens_mean=None)
    else:
        evals = evals.assign(passes=4, passed_tokens_mean=evals["completion_tokens_mean"])
    axes = length_figure(replace(results({"long": 30.0}), evals=evals)).axes
    empty = axes[0 if gone == "passes" else 1]
    assert all(math.isnan(y) for line in empty.lines for y in line.get_ydata())

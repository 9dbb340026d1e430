"""What a verdict counts: tasks that both arms run on, repeats over all tasks, collapsed runs beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats as oracle

from handmade import OTHER_WAVE, WAVE, made
from ppo_vs_grpo.benchmarks.analysis.frames.arms import shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.differences import power_table
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import METRICS
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, judge, table_of

FINAL, AREA, SPREAD, COLLAPSES, NOISE, MEMORY, SECONDS, COMPLETIONS_TO, SECONDS_TO = (m.name for m in METRICS)
T4 = 2.7764451051977987
"""t(0.975) of 4 degrees of freedom."""
LEVEL = 0.5 + 0.02 * OTHER_WAVE


def curves(finals: Any, start: float = 0.2) -> list[tuple[float, float]]:
    return [(start, float(final)) for final in finals]


def said(results: Results, metric: str, task: str) -> Verdict:
    (found,) = [one for one in judge(results) if (one.metric, one.task) == (metric, task)]
    return found


def timed(ratios: dict[str, Sequence[float]]) -> Results:
    """ppo takes 5 s in every repeat, grpo 5 s times the task's ratios; nothing else differs."""
    level = {task: curves(LEVEL) for task in ratios}
    seconds = {"ppo": {task: [5.0] * len(of) for task, of in ratios.items()}}
    seconds["grpo"] = {task: [5.0 * ratio for ratio in of] for task, of in ratios.items()}
    return made({"ppo": level, "grpo": level}, seconds=seconds)


def test_repeats_of_all_tasks_count_together_by_hand() -> None:
    """Log ratios log 0.8 +- 0.01: squared errors of 0.0001 a task, so 0.02 / 4 of the mean, with 4 freedoms of one."""
    pair = (0.8 * math.exp(-0.01), 0.8 * math.exp(0.01))
    results = timed(dict.fromkeys("abcd", pair))
    found = said(results, SECONDS, "all tasks")
    assert (found.n, found.verdict, found.estimate) == (8, "grpo faster", pytest.approx(0.8))
    assert (found.first_value, found.second_value) == pytest.approx((5.0, 4.0))  # geometric means
    assert found.low == pytest.approx(0.8 * math.exp(-T4 * 0.005))
    assert found.high == pytest.approx(0.8 * math.exp(T4 * 0.005))
    assert found.p == pytest.approx(6 * 2 * oracle.t.sf(-math.log(0.8) / 0.005, 4))  # Holm over six that were tested
    assert "n = 8 paired repeats in all, t test of the mean over tasks: grpo faster" in found.sentence
    alone = said(results, SECONDS, "a")
    assert (alone.verdict, alone.reason) == ("no verdict", "2 paired repeats, a verdict needs 8")


def test_fewer_than_eight_repeats_in_all_have_no_verdict() -> None:
    found = said(timed(dict.fromkeys("abc", (0.8, 0.81))), SECONDS, "all tasks")
    assert (found.verdict, found.reason, found.n) == ("no verdict", "6 paired repeats, a verdict needs 8", 6)


def test_a_task_with_one_repeat_has_no_spread_to_test_with() -> None:
    found = said(timed({"a": [0.8, 0.81] * 4, "b": [0.8]}), SECONDS, "all tasks")
    assert (found.n, found.p, found.verdict) == (9, None, "no verdict")
    assert found.reason == "a task has one paired repeat: a spread needs 2"


def test_seeds_of_several_tasks_do_not_count_together() -> None:
    cells = {task: curves(LEVEL[:3]) for task in "abcd"}
    found = said(made({"ppo": cells, "grpo": cells}), FINAL, "all tasks")
    assert (found.n, found.reason) == (3, "3 paired seeds, a verdict needs 8")


def collapsing() -> Results:
    """On a one of ppo's nine runs collapsed and one of grpo's failed; on b one of grpo's collapsed; on c none."""
    fine = curves(0.5 + 0.01 * np.arange(9))
    fell = [(0.2, 0.09), *fine[1:]]
    cells = {"ppo": {"a": fell, "b": fine, "c": fine}, "grpo": {"a": fine, "b": fell, "c": fine}}
    return made(cells, failed=[("grpo", "a", 8)])


def test_collapsed_runs_are_counted_beside_every_verdict() -> None:
    results = collapsing()
    ends = {
        "a": "; collapsed runs: ppo 1 of 9, grpo 0 of 8",
        "b": "; collapsed runs: ppo 0 of 9, grpo 1 of 9",
        "all tasks": "; collapsed runs: ppo 1 of 27, grpo 1 of 26",
    }
    table = table_of(judge(results))
    for metric in set(table["metric"]) - {COLLAPSES}:
        of_metric = table[table["metric"] == metric].set_index("task")
        for task, end in ends.items():
            assert of_metric.loc[task, "reason"].endswith(end)
            assert of_metric.loc[task, "sentence"].endswith(f"{end}.")
        assert "collapsed" not in of_metric.loc["c", "reason"]
    counted = table[table["metric"] == COLLAPSES].set_index("task")
    assert "ppo 1 of 9 runs" in counted.loc["a", "sentence"]
    assert not counted["reason"].str.contains("collapsed runs").any()


def test_nothing_is_said_of_collapses_where_there_are_none() -> None:
    cells = {"a": curves(LEVEL)}
    assert not table_of(judge(made({"ppo": cells, "grpo": cells})))["reason"].str.contains("collapsed").any()


def test_a_run_without_a_start_is_not_known_to_have_collapsed() -> None:
    """ppo's seed 0 ends at 0 and has no evaluation of its start: neither a collapse nor none."""
    results = made({"ppo": {"a": curves([0.0] * 2 + [0.5] * 8)}, "grpo": {"a": curves([0.5] * 10)}})
    lost = results.evals["key"].eq("ppo.a.s0") & results.evals["completions"].eq(0)
    found = said(replace(results, evals=results.evals[~lost]), COLLAPSES, "a")
    assert (found.n, found.first_value, found.estimate) == (9, 1 / 9, -1 / 9)
    assert "ppo 1 of 9 runs" in found.sentence
    assert found.reason.endswith("no known outcome of ppo seed 0")


def test_a_spread_over_tasks_is_shown_as_a_geometric_mean() -> None:
    """Distances of 0.01 and 0.04 have 0.02 in their middle, 0.08 and 0.02 have 0.04; 14/9 and -2/3 have 4/9."""
    results = made(
        {
            "ppo": {"a": curves(0.5 + 0.01 * WAVE), "b": curves(0.5 + 0.04 * WAVE)},
            "grpo": {"a": curves(0.5 + 0.08 * OTHER_WAVE), "b": curves(0.5 + 0.02 * OTHER_WAVE)},
        }
    )
    found = said(results, SPREAD, "all tasks")
    assert (found.first_value, found.second_value) == (pytest.approx(0.02 * 0.75), pytest.approx(0.04 * 0.75))
    assert found.estimate == pytest.approx((2 + 4 / 9) / (2 - 4 / 9))


def sparse(**tasks: list[str]) -> Results:
    """ppo runs on a, b and c, and grpo leads by 0.1 on those of them that are its own; d is another's."""
    ran = {"ppo": {task: curves(LEVEL) for task in "abcd"}}
    ran["grpo"] = {task: curves(LEVEL + 0.1 + 0.01 * WAVE) if task in tasks["grpo"] else [] for task in "abcd"}
    ran["rloo"] = {task: curves(LEVEL) for task in "abcd"}
    results = made(ran, seconds={"ppo": {"d": [5.0] * 8}, "grpo": {}})
    arms = {arm: settings | {"tasks": tasks.get(arm)} for arm, settings in results.suite["arms"].items()}
    return replace(results, suite={**results.suite, "arms": arms})


def test_tasks_on_which_an_arm_does_not_run_are_no_part_of_a_verdict() -> None:
    results = sparse(ppo=["a", "b", "c"], grpo=["c", "a"])
    assert shared_tasks(results, ("ppo", "grpo")) == ["a", "c"]
    assert {one.task for one in judge(results)} == {"a", "c", "all tasks"}
    found = said(results, FINAL, "all tasks")
    assert (found.verdict, found.estimate, found.n) == ("grpo better", pytest.approx(0.1), 8)
    assert said(results, FINAL, "c").reason == "p < 0.0001 (Holm over 2 tasks) is below 0.05"
    assert list(power_table(results)["task"]) == ["a", "c", "all tasks"]
    unlimited = said(replace(results, suite={**results.suite, "arms": {arm: {} for arm in results.arms}}), FINAL, "b")
    assert unlimited.verdict == "no verdict"  # there runs are missing


def test_one_common_task_has_no_row_over_tasks() -> None:
    results = sparse(ppo=["a", "b", "c"], grpo=["c"])
    assert {one.task for one in judge(results)} == {"c"}
    assert list(power_table(results)["task"]) == ["c"]


def test_arms_without_a_common_task_have_nothing_to_compare() -> None:
    results = sparse(ppo=["a"], grpo=["b", "c"])
    found = judge(results)
    assert [one.metric for one in found] == [metric.name for metric in METRICS]
    assert {(one.first, one.second, one.verdict, one.n) for one in found} == {("ppo", "grpo", "no verdict", 0)}
    assert {one.reason for one in found} == {"ppo and grpo run on no common task"}
    assert {(one.first_value, one.estimate, one.p) for one in found} == {(None, None, None)}
    assert list(power_table(results)["reason"]) == ["ppo and grpo run on no common task"]

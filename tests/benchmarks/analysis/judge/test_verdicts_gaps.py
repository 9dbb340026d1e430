"""Suites that are half finished, too small or odd: every row says what is missing, and none is a number by accident."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmade import OTHER_WAVE, WAVE, made
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.differences import power_table
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import METRICS
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, judge, table_of
from ppo_vs_grpo.benchmarks.analysis.report import tables
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_probes, write_results

FINAL, AREA, SPREAD, COLLAPSES, NOISE, MEMORY, SECONDS, COMPLETIONS_TO, SECONDS_TO = (m.name for m in METRICS)


def rows(results: Results) -> dict[str, Verdict]:
    """The first task's judgement of each metric; every number of every row is one, or None."""
    found = judge(results)
    for one in found:
        numbers = (one.first_value, one.second_value, one.estimate, one.low, one.high, one.p)
        assert all(x is None or np.isfinite(x) for x in numbers), one
        assert one.reason
        words = f"{one.reason} {one.sentence}".replace(";", " ").replace(",", " ").split()
        assert not {"nan", "inf", "-inf", "None"} & set(words), one.sentence
        assert one.estimate is not None or one.verdict in ("no verdict", "undefined")
    power_table(results)
    first = found[0].task
    return {one.metric: one for one in found if one.task == first}


def curves(finals: Any, start: float = 0.2) -> list[tuple[float, float]]:
    return [(start, float(final)) for final in finals]


def suite(ppo: Any, grpo: Any, **more: Any) -> Results:
    return made({"ppo": {"a": ppo}, "grpo": {"a": grpo}}, **more)


@pytest.mark.parametrize("seeds", range(1, 8))
def test_below_eight_seeds_there_is_no_verdict(seeds: int) -> None:
    found = rows(suite(curves(0.9 + 0.01 * WAVE[:seeds]), curves(0.3 + 0.02 * OTHER_WAVE[:seeds])))
    assert {one.verdict for one in found.values()} <= {"no verdict", "undefined"}
    assert found[FINAL].reason == f"{seeds} paired seed{'s' * (seeds > 1)}, a verdict needs 8"
    assert found[FINAL].estimate == pytest.approx((0.3 + 0.02 * OTHER_WAVE - 0.9 - 0.01 * WAVE)[:seeds].mean())


def test_what_was_not_measured_is_named() -> None:
    found = rows(suite(curves(0.5 + 0.01 * WAVE), curves(0.5 + 0.01 * OTHER_WAVE)))
    assert found[NOISE].reason == "no gradient probe at mid-run of ppo (any seed); grpo (any seed)"
    assert (
        found[SECONDS].reason == "no timing run that had the machine to itself of ppo (any repeat); grpo (any repeat)"
    )
    assert found[MEMORY].reason == "no peak of ppo and of grpo was measured alone on the machine"
    assert found[SECONDS_TO].reason == found[SECONDS].reason


def test_seconds_of_a_shared_machine_do_not_count() -> None:
    timed = {"ppo": {"a": [5.0] * 8}, "grpo": {"a": [4.0] * 8}}
    found = rows(suite(curves([0.6] * 8), curves([0.6] * 8), seconds=timed, contended=True))
    assert (found[SECONDS].verdict, found[SECONDS].estimate) == ("no verdict", None)
    assert found[SECONDS_TO].verdict == "no verdict"


def test_an_arm_that_was_asked_for_fewer_seeds_lacks_none_of_the_others() -> None:
    results = suite([(0.2, 0.5)] * 10, [(0.2, 0.6)] * 8)
    arms = {**results.suite["arms"], "grpo": {**results.suite["arms"]["grpo"], "seeds": 8}}
    found = rows(replace(results, suite={**results.suite, "arms": arms}))[FINAL]
    assert (found.n, "no final score" in found.reason) == (8, False)
    assert "no final score of grpo seeds 8, 9" in rows(results)[FINAL].reason


def test_pairs_are_of_the_same_seed_and_values_are_of_the_pairs() -> None:
    """ppo lacks seed 0, where grpo is at 0.9, and grpo seed 9: what is left are eight pairs 0.1 apart."""
    level = 0.5 + 0.02 * WAVE
    ppo = [None, *curves(level), (0.2, 0.0)]
    found = rows(suite(ppo, [(0.2, 0.9), *curves(level + 0.1)]))[FINAL]
    assert (found.n, found.first_value, found.second_value) == (8, pytest.approx(0.5), pytest.approx(0.6))
    assert found.estimate == pytest.approx(0.1)
    assert found.reason.endswith("; no final score of ppo seed 0; grpo seed 9; collapsed runs: ppo 1 of 9, grpo 0 of 9")


def test_a_task_without_pairs_leaves_no_verdict_over_tasks() -> None:
    level = 0.5 + 0.02 * WAVE
    results = made(
        {"ppo": {"a": curves(level), "b": []}, "grpo": {"a": curves(level + 0.1), "b": curves(level)}},
    )
    rows(results)
    (whole,) = [one for one in judge(results) if (one.metric, one.task) == (FINAL, "all tasks")]
    assert (whole.verdict, whole.n, whole.estimate) == ("no verdict", 0, pytest.approx(0.1))
    assert whole.reason == "no comparison on b: a mean over tasks needs every task"


def test_seeds_that_are_all_equal() -> None:
    found = rows(suite(curves([0.5] * 8), curves([0.5] * 8)))
    assert (found[FINAL].verdict, found[FINAL].estimate) == ("equivalent within 0.05", 0.0)
    assert (found[SPREAD].verdict, found[SPREAD].first_value) == ("undefined", 0.0)
    assert found[SPREAD].reason == "all seeds of both arms score the same: no spread to compare"
    assert found[COMPLETIONS_TO].verdict == "equivalent within a factor of 1.25"


def test_nothing_learned_has_no_threshold() -> None:
    found = rows(suite(curves([0.1] * 8), curves([0.2] * 8)))
    assert found[COMPLETIONS_TO].verdict == "undefined"
    assert found[COMPLETIONS_TO].reason == (
        "no threshold: the best mean final pass rate, 0.200, is not above the mean start, 0.200"
    )


def test_runs_that_all_failed() -> None:
    cells = [(arm, "a", seed) for arm in ("ppo", "grpo") for seed in range(8)]
    found = rows(suite(curves([0.5] * 8), curves([0.5] * 8), failed=cells))
    assert {one.verdict for one in found.values()} == {"no verdict", "undefined"}
    assert found[FINAL].reason == "no final score of ppo (any seed); grpo (any seed)"
    assert found[COMPLETIONS_TO].reason == "no threshold: it takes a start and a final score"
    assert found[COLLAPSES].first_value is None


def test_runs_that_all_diverged_have_collapsed() -> None:
    cells = [("grpo", "a", seed) for seed in range(8)]
    found = rows(suite(curves([0.5] * 8), [(0.2,)] * 8, diverged=cells))
    assert (found[COLLAPSES].second_value, found[COLLAPSES].verdict) == (1.0, "ppo better")
    assert (found[COMPLETIONS_TO].verdict, found[COMPLETIONS_TO].estimate) == ("ppo needs fewer completions", 0.0)
    assert found[FINAL].verdict == "no verdict"


@pytest.mark.parametrize("signal", [np.nan, 0.0, -1.0])
def test_noise_without_a_signal(signal: float) -> None:
    noise = {"ppo": {"a": [(8.0, 2.0)] * 8}, "grpo": {"a": [(8.0, signal)] * 8}}
    found = rows(suite(curves([0.5] * 8), curves([0.5] * 8), noise=noise))[NOISE]
    assert found.estimate is None
    assert "grpo" in found.reason


def test_noise_that_one_seed_carries_is_undefined() -> None:
    noise = {"ppo": {"a": [(8.0, 9.0), *[(8.0, -1.0)] * 7]}, "grpo": {"a": [(8.0, 2.0)] * 8}}
    found = rows(suite(curves([0.5] * 8), curves([0.5] * 8), noise=noise))[NOISE]
    assert found.verdict == "undefined"
    assert found.reason == "a sum is not above 0 once some one seed is left out: one seed carries the estimate"


def test_a_peak_of_nothing_has_no_ratio() -> None:
    tracked = {arm: {"a": [{"policy": size}]} for arm, size in (("ppo", 0.0), ("grpo", 5e6))}
    assert rows(suite(curves([0.5]), curves([0.5]), tracked=tracked))[MEMORY].verdict == "undefined"


def test_one_arm_has_nothing_beside_it() -> None:
    results = made({"ppo": {"a": curves([0.5] * 8)}})
    found = judge(results)
    assert [one.metric for one in found] == [metric.name for metric in METRICS]
    assert {one.verdict for one in found} == {"no verdict"}
    assert {one.reason for one in found} == {"the suite has 1 arm, ppo; a verdict needs two"}
    power = power_table(results)
    assert list(power["reason"]) == ["the suite has 1 arm, ppo; a verdict needs two"]
    assert (power["seeds_needed"].tolist(), power["n"].tolist()) == ([None], [0])
    assert tables.dashed(power).loc[0].tolist()[2:5] == ["-", "-", "-"]
    assert len(table_of(judge(results))) == len(METRICS)


def test_which_two_arms() -> None:
    four = made({arm: {"a": curves([0.5])} for arm in ("rloo", "grpo-a", "grpo-b", "ppo-a", "ppo-b")})
    assert choose_pair(four) == ("ppo-a", "grpo-a")
    assert choose_pair(four, "grpo-b") == ("grpo-b", "rloo")
    assert choose_pair(four, second="rloo") == ("grpo-a", "rloo")
    assert choose_pair(four, "ppo-b", "rloo") == ("ppo-b", "rloo")
    assert choose_pair(made({arm: {"a": curves([0.5])} for arm in ("rloo", "ppo", "dapo")})) == ("rloo", "ppo")
    with pytest.raises(UserError, match=r"suite handmade: no arm 'grop-a'.*grpo-a"):
        choose_pair(four, "grop-a")
    with pytest.raises(UserError, match="arm 'rloo' twice"):
        choose_pair(four, "rloo", "rloo")


def test_a_written_suite_with_holes(tmp_path: Path) -> None:
    holes = make_suite(tasks=("recall", "sorting"), seeds=3, updates=8, prompts=8)
    write_results(
        tmp_path / "made",
        holes,
        missing=("ppo.recall.s0", "grpo.sorting.r1"),
        diverged=("ppo.recall.s2",),
        unfinished=("grpo.recall.s1",),
        contended_timing=True,
    )
    found = rows(load(tmp_path / "made"))
    assert found[FINAL].reason.endswith(
        "no final score of ppo seeds 0, 2; grpo seed 1; collapsed runs: ppo 1 of 2, grpo 0 of 2"
    )
    assert found[COLLAPSES].reason.endswith("no known outcome of ppo seed 0; grpo seed 1")


def test_process_memory_stands_in_where_nothing_was_tracked(tmp_path: Path) -> None:
    small = make_suite(tasks=("recall",), seeds=2, updates=8, prompts=8)
    found = rows(load(write_results(tmp_path / "plain", small)))[MEMORY]
    assert found.reason.endswith("peak of the process")
    assert found.first_value == pytest.approx(675, abs=20)
    write_probes(write_results(tmp_path / "probed", small))
    found = rows(load(tmp_path / "probed"))[MEMORY]
    assert (found.first_value, found.verdict) == (pytest.approx(2.4), "equivalent within 5%")
    assert found.reason.endswith("peak of tracked tensors of an update")

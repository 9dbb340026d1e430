"""Verdicts of whole suites: numbers worked out by hand, and what must hold whatever the numbers are."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from scipy import stats as oracle

from handmade import OTHER_WAVE, WAVE, made, verdicts_on
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.differences import power_table
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import METRICS, compare
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, judge, table_of, verdicts
from synthetic import make_suite, write_probes, write_results

FINAL, AREA, SPREAD, COLLAPSES, NOISE, MEMORY, SECONDS, COMPLETIONS_TO, SECONDS_TO = (m.name for m in METRICS)
T7, SE = 2.364624251592785, math.sqrt(5 / 7 / 8)


def curves(finals: Any, start: float = 0.2) -> list[tuple[float, float]]:
    return [(start, float(final)) for final in finals]


@cache
def two_tasks() -> Results:
    """On task a grpo leads by 0.1, on b it does not lead at all; everything else differs by plain factors."""
    level = 0.5 + 0.02 * OTHER_WAVE
    return made(
        {
            "ppo": {"a": curves(level), "b": curves(level)},
            "grpo": {"a": curves(level + 0.1 + 0.01 * WAVE), "b": curves(level + 0.05 * WAVE)},
        },
        noise={
            "ppo": {"a": [(8 + w, 2.0) for w in WAVE], "b": [(8 + w, 2.0) for w in WAVE]},
            "grpo": {"a": [(4 + w / 2, 2.0) for w in WAVE], "b": [(8 + w, -2.0) for w in WAVE]},
        },
        tracked={
            "ppo": {task: [{"policy": 6e6, "critic": 4e6}] for task in "ab"},
            "grpo": {"a": [{"policy": 6e6}, {"policy": 8e6}], "b": [{"policy": 9.6e6}]},
        },
        seconds={"ppo": {"a": [5.0, 5.0], "b": [5.0] * 8}, "grpo": {"a": [4.0, 4.0], "b": [4.0] * 8}},
    )


@cache
def judged() -> tuple[Verdict, ...]:
    return judge(two_tasks())


def said(rows: tuple[Verdict, ...], metric: str, task: str = "a") -> Verdict:
    (found,) = [one for one in rows if (one.metric, one.task) == (metric, task)]
    return found


def alone(metric: str, task: str) -> Verdict:
    """The verdict on a metric if it were the only one asked about."""
    (asked,) = [one for one in METRICS if one.name == metric]
    found = {asked: compare(two_tasks(), asked, ("ppo", "grpo"), ("a", "b"))}
    return said(tuple(verdicts(found, ("ppo", "grpo"))), metric, task)


def test_every_metric_has_a_row_a_task_and_one_over_tasks() -> None:
    rows = [(one.metric, one.task) for one in judged()]
    assert rows == [(metric.name, task) for metric in METRICS for task in ("a", "b", "all tasks")]
    assert len(judge(made({"ppo": {"a": curves([0.5])}, "grpo": {"a": curves([0.5])}}))) == len(METRICS)


def test_a_lead_by_hand() -> None:
    found = said(judged(), FINAL)
    assert (found.first, found.second, found.effect, found.n, found.level) == ("ppo", "grpo", "difference", 8, 0.95)
    assert (found.first_value, found.second_value, found.estimate) == pytest.approx((0.5, 0.6, 0.1))
    assert (found.low, found.high) == pytest.approx((0.1 - T7 * 0.01 * SE, 0.1 + T7 * 0.01 * SE))
    assert found.p == pytest.approx(2 * 5.5e-9, rel=0.01)  # Holm doubles it
    assert found.sentence == (
        "Final held-out pass rate on a (share): ppo 0.500, grpo 0.600; grpo minus ppo 0.100, 95% interval 0.093 to "
        "0.107; n = 8 paired seeds, paired t test: grpo better, since p < 0.0001 (Holm over 2 tasks) is below 0.05."
    )


def test_equivalence_is_adjusted_and_the_mean_over_tasks_is_a_question_of_its_own() -> None:
    found = said(judged(), FINAL, "b")
    assert (found.verdict, found.p) == ("equivalent within 0.05", pytest.approx(1.0))
    assert found.reason == (
        "TOST p = 0.012 (Holm over 2 tasks) is below 0.05, that of a difference is not, p = 1; a close call, p from "
        "0.01 to 0.1"
    )
    found = said(judged(), FINAL, "all tasks")
    assert (found.verdict, found.estimate, found.first_value) == ("grpo better", pytest.approx(0.05), 0.5)
    assert (found.winner, found.primary) == ("grpo", True)
    squares = np.array([0.01, 0.05]) ** 2 * SE**2
    freedom = squares.sum() ** 2 / (squares**2 / 7).sum()
    assert found.p == pytest.approx(2 * oracle.t.sf(0.1 / math.sqrt(squares.sum()), freedom))


def test_an_area_is_of_the_curve() -> None:
    found = said(judged(), AREA)
    assert (found.first_value, found.second_value) == pytest.approx((0.35, 0.40))


def test_runs_are_judged_by_the_differences_of_their_seeds() -> None:
    draw = np.random.default_rng(0)
    spread = {"a": (0.05, 0.02), "b": (0.05, 0.02), "c": (0.0, 0.06), "d": (0.0, 0.02)}
    samples = {task: draw.normal(*spread[task], 6 + i) for i, task in enumerate(spread)}
    pad = {task: [*curves(0.5 + values), *[None] * (9 - len(values))] for task, values in samples.items()}
    rows = judge(made({"ppo": {task: curves([0.5] * 9) for task in samples}, "grpo": pad}))
    for task, expected in verdicts_on(samples, arms=("ppo", "grpo")).items():
        found = said(rows, FINAL, task)
        assert found.verdict == expected.verdict
        assert found.p == (None if expected.p is None else pytest.approx(expected.p))


def test_a_spread_is_a_ratio_of_distances_from_the_median() -> None:
    results = made({"ppo": {"a": curves(0.5 + 0.01 * WAVE)}, "grpo": {"a": curves(0.5 + 0.08 * OTHER_WAVE)}})
    found = said(judge(results), SPREAD)
    assert (found.estimate, found.verdict) == (pytest.approx(8.0), "ppo steadier")
    assert found.second_value == pytest.approx(0.08 * 0.75)


def test_collapses_are_counted() -> None:
    """Half of the start is no collapse, less is one, and so is an early end; grpo's last seed failed."""
    ends = [0.09, 0.0, 0.0, 0.0, 0.0, 0.0]
    ppo = [*curves(ends), (0.2,), (0.2, 0.1), (0.2, 0.5)]
    results = made(
        {"ppo": {"a": ppo}, "grpo": {"a": curves([0.1] * 9)}},
        diverged=[("ppo", "a", 6), ("ppo", "a", 7)],
        failed=[("grpo", "a", 8)],
    )
    found = said(judge(results), COLLAPSES)
    assert (found.first_value, found.second_value, found.n) == (7 / 9, 0.0, 8)
    assert (found.estimate, found.p, found.verdict) == (-7 / 8, 2 * 0.5**7, "grpo better")
    assert "ppo 7 of 9 runs (40% to 97%), grpo 0 of 8 runs (0% to 37%)" in found.sentence
    assert found.reason.endswith("no known outcome of grpo seed 8")


def test_noise_is_the_arms_own_at_mid_run() -> None:
    found = alone(NOISE, "a")
    assert (found.first_value, found.second_value) == pytest.approx((4.0, 2.0))
    assert (found.estimate, found.verdict, found.n) == (pytest.approx(0.5), "grpo steadier", 8)
    found = said(judged(), NOISE, "b")
    assert (found.verdict, found.estimate, found.second_value) == ("undefined", None, None)
    assert found.reason == "the summed |g|^2 of grpo is not above 0: noise hides the signal"
    assert said(judged(), NOISE, "all tasks").reason == "no comparison on b: a mean over tasks needs every task"


def test_memory_needs_no_test() -> None:
    found = said(judged(), MEMORY)
    assert (found.first_value, found.second_value, found.p, found.low) == (
        pytest.approx(10),
        pytest.approx(7),
        None,
        None,
    )
    assert (found.verdict, found.n) == ("grpo lighter", 1)
    assert "grpo 7 (6 to 8); grpo over ppo 0.700; n = 1 run, no test needed: grpo lighter" in found.sentence
    assert said(judged(), MEMORY, "b").verdict == "equivalent within 5%"
    assert said(judged(), MEMORY, "all tasks").estimate == pytest.approx(math.sqrt(0.7 * 0.96))


def test_seconds_are_compared_by_repeat_and_judged_from_eight() -> None:
    found = said(judged(), SECONDS)
    assert (found.first_value, found.second_value, found.estimate, found.n) == pytest.approx((5.0, 4.0, 0.8, 2))
    assert (found.verdict, found.reason) == (
        "no verdict",
        "2 paired repeats, a verdict needs 8; no timing run that had the machine to itself of "
        + "ppo repeats 2, 3, 4, 5, 6, 7; grpo repeats 2, 3, 4, 5, 6, 7",
    )
    assert alone(SECONDS, "b").verdict == "grpo faster"


def test_a_threshold_lies_half_way_to_the_best_arm() -> None:
    """From 0.2 to 0.6 is 0.4, which ppo reaches at 100 and grpo, twice as steep, at 50, at 5 and 4 s per 1,000."""
    results = made(
        {"ppo": {"a": [(0.2, 0.4, 0.4)] * 8}, "grpo": {"a": [(0.2, 0.6, 0.6)] * 8}},
        completions=(0, 100, 200),
        seconds={"ppo": {"a": [5.0, 5.0]}, "grpo": {"a": [4.0, 4.0]}},
    )
    found = said(judge(results), COMPLETIONS_TO)
    assert (found.first_value, found.second_value, found.estimate) == pytest.approx((100, 50, 0.5))
    assert found.verdict == "grpo needs fewer completions"
    assert found.p == 3 * 2 * 0.5**8  # Holm over collapses and both thresholds
    assert "threshold 0.400" in found.reason
    found = said(judge(results), SECONDS_TO)
    assert (found.first_value, found.second_value, found.estimate) == pytest.approx((0.5, 0.2, 0.4))


def test_runs_that_never_get_there_are_infinitely_late() -> None:
    """The threshold is 0.4: six of ppo's eight never reach it, all of grpo's do."""
    ppo = curves([0.3] * 6 + [0.6] * 2)
    found = said(judge(made({"ppo": {"a": ppo}, "grpo": {"a": curves([0.6] * 8)}})), COMPLETIONS_TO)
    assert (found.effect, found.estimate, found.first_value, found.second_value) == (
        "share of pairs",
        7 / 8,
        None,
        pytest.approx(50.0),
    )
    assert (found.test, found.p) == ("sign test", 2 * 2 * 0.5**6)  # Holm: the area has the smaller p
    assert found.verdict == "inconclusive"
    assert (
        "ppo 2 of 8 runs got there, grpo 50 (8 of 8 runs got there); grpo earlier in 0.875 of pairs" in found.sentence
    )


def mirrored(one: Verdict, other: Verdict) -> None:
    assert (one.verdict, one.n, one.test, one.effect) == (other.verdict, other.n, other.test, other.effect)
    assert (one.first_value, one.second_value) == (other.second_value, other.first_value)
    assert one.p == (None if other.p is None else pytest.approx(other.p))
    turned = {"difference": lambda x: -x, "ratio": lambda x: 1 / x, "share of pairs": lambda x: 1 - x}[other.effect]
    for mine, theirs in ((one.estimate, other.estimate), (one.low, other.high), (one.high, other.low)):
        assert mine == (None if theirs is None else pytest.approx(turned(theirs), abs=1e-12))


@cache
def written(arms: tuple[str, ...] = ("ppo", "grpo")) -> Results:
    folder = write_results(Path(mkdtemp()), make_suite(arms, ("recall", "sorting"), updates=12, prompts=24))
    write_probes(folder)
    return load(folder)


@pytest.mark.parametrize("results", [two_tasks, written])
def test_swapping_the_arms_mirrors_every_verdict(results: Any) -> None:
    for one, other in zip(judge(results(), "ppo", "grpo"), judge(results(), "grpo", "ppo"), strict=True):
        mirrored(one, other)


def test_an_arm_against_its_copy_is_never_better() -> None:
    chance = [one for one in judge(written(("grpo", "grpo-again"))) if one.metric not in (MEMORY, SECONDS)]
    assert {one.first for one in chance} == {"grpo"}
    assert {one.second for one in chance} == {"grpo-again"}
    assert not [one.sentence for one in chance if one.winner]


def test_one_metric_is_primary_and_the_others_are_adjusted_together() -> None:
    """Eight of nine metrics are secondary: over all tasks those that were tested are one family."""
    rows = judged()
    assert {one.metric for one in rows if one.primary} == {FINAL}
    over = [one for one in rows if one.task == "all tasks" and not one.primary and one.p is not None]
    assert f"(Holm over {len(over)} secondary questions)" in said(rows, AREA, "all tasks").reason
    raw = METRICS[1].compare(two_tasks(), ("ppo", "grpo"), ["a", "b"]).evidence.p
    assert said(rows, AREA, "all tasks").p == pytest.approx(raw * len(over), rel=0.5)
    assert said(rows, FINAL, "all tasks").p == METRICS[0].compare(two_tasks(), ("ppo", "grpo"), ["a", "b"]).evidence.p


def test_two_arms_that_end_below_their_start_have_not_learned() -> None:
    ends = {"ppo": {"a": curves(0.15 + 0.001 * WAVE)}, "grpo": {"a": curves(0.16 + 0.001 * OTHER_WAVE)}}
    found = said(judge(made(ends)), FINAL)
    assert (found.verdict, found.winner) == ("grpo ahead, by less than matters", "grpo")
    assert found.reason.endswith("neither arm ends above its start: ppo by -0.050, grpo by -0.040")
    ends["grpo"] = {"a": curves(0.15 + 0.001 * OTHER_WAVE)}
    found = said(judge(made(ends)), FINAL)
    assert (found.verdict, found.winner) == ("neither learned", None)
    assert found.reason.startswith(
        "neither arm ends above its start: ppo by -0.050, grpo by -0.050; equivalent within 0.05, TOST p"
    )


def test_a_frame_of_them() -> None:
    table = table_of(judge(written()))
    assert len(table) == len(METRICS) * 3
    assert table["estimate"].dtype == float
    assert not table["sentence"].str.contains(r"\bnan\b|\binf\b").any()


def test_what_seeds_can_show() -> None:
    """sd of 0.05 WAVE is 0.0423; a t test of 8 seeds has power 0.8 at 1.1560 sd, and 8 seeds show 0.05."""
    table = power_table(two_tasks()).set_index("task")
    sd = np.array([0.01, 0.05]) * math.sqrt(5 / 7)
    assert list(table["sd"]) == pytest.approx([*sd, math.hypot(*sd) / 2])
    assert list(table["smallest_effect"] / table["sd"]) == pytest.approx([1.1560] * 3, abs=2e-4)
    assert list(table["seeds_needed"]) == [3, 8, 4]
    assert list(table["n"]) == [8, 8, 8]

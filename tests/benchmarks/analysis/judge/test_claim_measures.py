"""What claims measure, on planted numbers: each measure reads its own rows and no others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as oracle

from claimed import claim, claiming, probed, rewarded, scored
from handmade import OTHER_WAVE, WAVE
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.claim_measures import MEASURES
from ppo_vs_grpo.benchmarks.analysis.judge.claims import ClaimResult, judge_claims
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import (
    AREA,
    COLLAPSES,
    FINAL,
    NOISE,
    SECONDS,
    SPREAD,
    Metric,
    compare,
)

T7, SE = 2.364624251592785, math.sqrt(5 / 7 / 8)
SAME = [0.5] * 8
FOUR = {"ppo": "ppo", "ppo_group": "ppo-group", "grpo_value": "grpo-value", "grpo": "grpo"}
RATIOS = {"seed_spread": 1.25, "gradient_noise": 1.25, "seconds": 1.05}


def judged(results: Results, measure: str, *arms: str, **more: object) -> ClaimResult:
    (found,) = judge_claims(claiming(results, {"C": claim(measure, arms, **more)}))  # type: ignore[arg-type]
    return found


def close(found: ClaimResult, estimate: float, half: float) -> None:
    assert found.estimate == pytest.approx(estimate, abs=1e-12)
    assert (found.low, found.high) == (pytest.approx(estimate - half), pytest.approx(estimate + half))


def critic(value: object, others: object) -> Results:
    """A critic's run with its baselines half-way; rows that are not to be read have other numbers."""
    results = scored({"ppo": {"a": SAME}})
    for at in (0, 100):
        results = probed(results, {"ppo": {"a": [9.0] * 8}}, "baseline", "value_prompt", "comparable", at)
        results = probed(results, {"ppo": {"a": [1.0] * 8}}, "baseline", "leave_one_out", "comparable", at)
    results = probed(results, {"ppo": {"a": [7.0] * 8}}, "baseline", "value_prompt", "residual_variance")
    results = probed(results, {"ppo": {"a": [7.0] * 8}}, "baseline", "value", "comparable")
    results = probed(results, {"ppo": {"a": value}}, "baseline", "value_prompt", "comparable")  # type: ignore[dict-item]
    return probed(results, {"ppo": {"a": others}}, "baseline", "leave_one_out", "comparable")  # type: ignore[dict-item]


def test_the_critics_excess_error_is_what_its_value_leaves_less_what_the_others_mean_leaves() -> None:
    found = judged(critic(0.9 + 0.1 * WAVE, [0.7] * 8), "critic_excess_error", "ppo", margin=0.02)
    close(found, 0.2, T7 * 0.1 * SE)
    assert (found.verdict, found.n, found.test) == ("supported", 8, "t test")


def test_explained_variance_is_that_of_the_whole_completion_half_way_against_than() -> None:
    values = 0.3 + 0.1 * WAVE
    results = probed(scored({"ppo": {"a": SAME}}), {"ppo": {"a": values}}, "value", "", "explained_variance")
    results = probed(results, {"ppo": {"a": [4.0] * 8}}, "value", "", "explained_variance", position=0.1)
    results = probed(results, {"ppo": {"a": [4.0] * 8}}, "value", "", "kendall_tau")
    for at in (0, 100):
        results = probed(results, {"ppo": {"a": [4.0] * 8}}, "value", "", "explained_variance", at)
    found = judged(results, "explained_variance", "ppo", side="below", than=0.5, margin=0.1)
    close(found, 0.3, T7 * 0.1 * SE)
    assert found.p == pytest.approx(float(oracle.ttest_1samp(values, 0.5).pvalue))
    # TOST: the nearer bound is 0.4, from 0.3 on the wrong side of it.
    assert found.same_p == pytest.approx(float(oracle.t.cdf(0.1 / (0.1 * SE), 7)))
    assert found.verdict == "supported"


def attributed(ppo: float, ppo_group: float, grpo_value: float, grpo: float) -> Results:
    levels = {"ppo": ppo, "ppo-group": ppo_group, "grpo-value": grpo_value, "grpo": grpo}
    wave = {"ppo": 0.01 * WAVE}
    finals = {arm: {"a": level + wave.get(arm, 0 * WAVE), "b": SAME} for arm, level in levels.items()}
    results = scored(finals)
    return replace(results, suite={**results.suite, "attribution": FOUR})


@pytest.mark.parametrize("sign", [1, -1])
def test_the_baselines_part_of_the_lead_less_the_rests_whoever_leads(sign: int) -> None:
    results = attributed(*(0.5 + sign * x for x in (-0.1, 0.0, -0.06, 0.06)))
    found = judged(results, "baseline_less_rest", "ppo", "grpo", margin=0.01)
    # Baseline (0.1 + 0.12) / 2 = 0.11, everything else (0.04 + 0.06) / 2 = 0.05; ppo's wave is in both.
    assert found.estimate == pytest.approx(0.06)
    assert (found.verdict, found.n) == ("supported", 8)
    leader = "grpo" if sign > 0 else "ppo"
    assert f"of {leader}'s lead of 0.160, baseline 0.110, everything else 0.050" in found.sentence


def test_a_lead_that_is_none_is_not_split() -> None:
    found = judged(attributed(0.5, 0.9, 0.1, 0.503), "baseline_less_rest", "ppo", "grpo", margin=0.01)
    p = float(oracle.ttest_1samp(0.003 - 0.01 * WAVE, 0).pvalue)
    assert (found.verdict, found.estimate) == ("not tested", None)
    assert found.reason == f"no difference between the arms to split (p = {p:.2g})"


def test_the_lead_is_split_over_the_claims_tasks_only() -> None:
    results = attributed(0.4, 0.5, 0.44, 0.56)
    both = judged(results, "baseline_less_rest", "ppo", "grpo", tasks=["a", "b"], margin=0.01)
    assert both.estimate == pytest.approx(0.03)  # task b has no lead at all
    assert judged(results, "baseline_less_rest", "ppo", "grpo", margin=0.01).estimate == pytest.approx(0.06)


def test_of_several_attributions_the_one_of_the_claims_arms_is_read() -> None:
    results = attributed(0.4, 0.5, 0.44, 0.56)
    other = {"ppo": "grpo-value", "ppo_group": "ppo-group", "grpo_value": "ppo", "grpo": "grpo"}
    both = replace(results, suite={**results.suite, "attribution": [other, FOUR]})
    assert judged(both, "baseline_less_rest", "ppo", "grpo", margin=0.01).estimate == pytest.approx(0.06)
    # With ppo and grpo-value in each other's place: baseline (0.06 + 0.16) / 2, everything else (-0.04 + 0.06) / 2.
    swapped = judged(both, "baseline_less_rest", "grpo-value", "grpo", margin=0.01)
    assert swapped.estimate == pytest.approx(0.10)


def test_seeds_that_an_arm_was_not_asked_for_are_not_missing() -> None:
    results = scored({"ppo": {"a": [0.5, 0.6] * 5}, "grpo": {"a": [0.6, 0.7] * 4 + [None, None]}})
    assert "no final score of grpo on a (seeds 8, 9)" in judged(results, "final_score", "ppo", "grpo").reason
    arms = {**results.suite["arms"], "grpo": {**results.suite["arms"]["grpo"], "seeds": 8}}
    fewer = scored({"ppo": {"a": [0.5, 0.6] * 5}, "grpo": {"a": [0.6, 0.7] * 4}})
    found = judged(replace(fewer, suite={**fewer.suite, "arms": arms}), "final_score", "ppo", "grpo")
    assert (found.n, "no final score" in found.reason) == (8, False)


def test_an_attribution_of_other_arms_or_none_is_said() -> None:
    results = attributed(0.4, 0.5, 0.44, 0.56)
    other = judged(results, "baseline_less_rest", "ppo", "ppo-group", margin=0.01)
    assert (other.verdict, other.reason) == ("not tested", "the suite's attribution is of ppo and grpo")
    none = judged(replace(results, suite={**results.suite, "attribution": None}), "baseline_less_rest", "ppo", "grpo")
    assert (none.verdict, none.reason) == ("not tested", "the suite has no attribution")


def ranked() -> Results:
    """At the start tau is 0.1; at the end ppo's is 0.2 with a wave, grpo's 0.5 with another."""
    results = scored({"ppo": {"a": SAME}, "grpo": {"a": SAME}})
    ends = {"ppo": {"a": 0.2 + 0.1 * WAVE}, "grpo": {"a": 0.5 + 0.1 * OTHER_WAVE}}
    for at, values in ((0, {arm: {"a": [0.1] * 8} for arm in ends}), (50, ends), (100, ends)):
        middle = {arm: {"a": [-5.0] * 8} for arm in ends}
        results = probed(results, middle if at == 50 else values, "ranking", "start", "tau", at)
        results = probed(results, {arm: {"a": [at / 10.0] * 8} for arm in ends}, "ranking", "sampled", "tau", at)
        results = probed(results, {arm: {"a": [at / 20.0] * 8} for arm in ends}, "ranking", "start", "auc", at)
    return results


def test_a_ranking_gain_is_the_end_less_the_start_of_the_starts_completions() -> None:
    found = judged(ranked(), "ranking_gain", "grpo", margin=0.02)
    close(found, 0.4, T7 * 0.1 * SE)


def test_two_ranking_gains_are_paired_by_seed() -> None:
    found = judged(ranked(), "ranking_gain", "ppo", "grpo", margin=0.02)
    close(found, 0.3, T7 * 0.1 * math.sqrt(2) * SE)  # the waves do not correlate
    assert found.test == "paired t test"
    assert "ppo 0.100, grpo 0.400" in found.sentence


def test_exploitation_is_the_last_tenth_of_a_runs_updates() -> None:
    results = scored({"g": {"a": SAME}, "h": {"a": SAME}})
    results = rewarded(results, {"g": {"a": [(0.2, 0.4)] * 8}, "h": {"a": [(0.1 + w / 100, 0.1) for w in WAVE]}})
    assert judged(results, "exploitation", "g").estimate == pytest.approx(0.3)
    found = judged(results, "exploitation", "g", "h", side="below")
    close(found, -0.2, T7 * 0.005 * SE)
    assert found.verdict == "supported"


def test_a_run_that_diverged_early_has_no_end_to_exploit() -> None:
    results = scored({"g": {"a": SAME}})
    results = rewarded(results, {"g": {"a": [(0.2, 0.4)] * 7 + [(50.0, 50.0)]}})
    early = results.runs.assign(status=["ok"] * 7 + ["failed"])
    found = judged(replace(results, runs=early), "exploitation", "g")
    assert (found.estimate, found.n) == (pytest.approx(0.3), 7)


def test_without_a_gold_reward_nothing_is_exploited() -> None:
    found = judged(scored({"g": {"a": SAME}}), "exploitation", "g")
    assert (found.verdict, found.reason) == (
        "not tested",
        "no gold reward beside the learned one of g on a (any seed)",
    )


def three_tasks() -> Results:
    """Task c is no claim's: its numbers would change every mean."""
    noise = {"ppo": [(8 + w, 2.0) for w in WAVE], "grpo": [(4 + w / 4, 2.0) for w in OTHER_WAVE]}
    level = {task: 0.5 + 0.02 * WAVE + shift for task, shift in (("a", 0.0), ("b", 0.1), ("c", 0.2))}
    lead = {"a": 0.1 + 0.01 * OTHER_WAVE, "b": 0.04 * OTHER_WAVE, "c": -0.4 + 0.09 * OTHER_WAVE}
    return scored(
        {"ppo": level, "grpo": {task: level[task] + lead[task] for task in level}},
        noise={arm: {"a": row, "b": row, "c": row[::-1]} for arm, row in noise.items()},
        tracked={
            "ppo": {task: [{"policy": 10e6}] for task in "abc"},
            "grpo": {"a": [{"policy": 5e6}], "b": [{"policy": 5e6}], "c": [{"policy": 90e6}]},
        },
        seconds={
            "ppo": {task: [5.0, 5.0, 5.0, 5.0] for task in "abc"},
            "grpo": {"a": [4.0] * 4, "b": [4.0] * 4, "c": [50.0] * 4},
        },
    )


@pytest.mark.parametrize(
    ("measure", "metric", "margin"),
    [
        *[("final_score", FINAL, 0.05), ("area", AREA, 0.05), ("seed_spread", SPREAD, 1.25)],
        *[("gradient_noise", NOISE, 1.25), ("seconds", SECONDS, 1.05), ("collapses", COLLAPSES, 0.05)],
    ],
)
def test_metrics_of_two_arms_are_those_of_the_verdicts_on_the_claims_tasks(
    measure: str, metric: Metric, margin: float
) -> None:
    results, than = three_tasks(), float(measure in RATIOS)
    found = judged(results, measure, "ppo", "grpo", tasks=["a", "b"], than=than, margin=margin)
    two = replace(results, suite={**results.suite, "tasks": {"a": {}, "b": {}}})
    evidence = compare(two, metric, ("ppo", "grpo"), tuple(two.tasks))[ALL_TASKS].evidence
    expected = [evidence.estimate, evidence.low, evidence.high, evidence.p, evidence.same_p]
    numbers = [math.nan if x is None else x for x in (found.estimate, found.low, found.high, found.p, found.same_p)]
    assert numbers == pytest.approx(expected, nan_ok=True)
    assert (found.n, found.test) == (evidence.n, evidence.test)
    assert evidence.n >= 8


def test_ratios_of_two_arms_by_hand() -> None:
    results = three_tasks()
    tasks = ["a", "b"]
    # Distances of grpo from its median: 0.03, 0.01, 0.015 and 0.005 on a, as far as ppo's; on b twice as far.
    for measure, ratio in (("seed_spread", (2 + 1 / 3) / (2 - 1 / 3)), ("gradient_noise", 0.5), ("seconds", 0.8)):
        found = judged(results, measure, "ppo", "grpo", tasks=tasks, than=1.0, margin=RATIOS[measure])
        assert found.estimate == pytest.approx(ratio)
        assert found.unit == "ratio"


def test_every_tasks_reason_survives_over_tasks() -> None:
    results = three_tasks()
    quiet = results.probes["quantity"].eq("signal") & results.probes["task"].eq("b") & results.probes["arm"].eq("grpo")
    results = replace(results, probes=results.probes.assign(value=results.probes["value"].where(~quiet, -1.0)))
    found = judged(results, "gradient_noise", "ppo", "grpo", tasks=["a", "b"], than=1.0, margin=1.25)
    assert (found.verdict, found.estimate, found.n) == ("not tested", None, 0)
    assert found.reason == (
        "no comparison on b: a mean over tasks needs every task; "
        "the summed |g|^2 of grpo is not above 0: noise hides the signal (b)"
    )


def test_what_is_said_of_every_task_is_said_once() -> None:
    found = judged(three_tasks(), "peak_memory", "ppo", "grpo", tasks=["a", "b"], side="below", than=1.0, margin=1.05)
    assert found.estimate == pytest.approx(0.5)
    assert found.reason == "more than a factor of 1.05 below 1, without a test; peak of tracked tensors of an update"


def test_values_of_two_arms_are_those_of_the_pairs() -> None:
    row = [*(0.5 + 0.01 * WAVE), 0.9]
    results = scored({"x": {"a": row, "b": row}, "y": {"a": [*(0.6 + 0 * WAVE), None], "b": [0.4] * 9}})
    found = judged(results, "final_score", "x", "y", tasks=["a", "b"])
    assert found.estimate == pytest.approx(((0.6 - 0.5) + (0.4 - 4.9 / 9)) / 2)
    assert f"x {(0.5 + 4.9 / 9) / 2:.3f}, y 0.500" in found.sentence


def test_every_measure_is_of_some_number_of_arms_and_says_what_it_is() -> None:
    for name, measure in MEASURES.items():
        assert measure.takes(1) or measure.takes(2), name
        assert not measure.takes(3)
        for arms in (["x-arm"], ["x-arm", "y-arm"]):
            words = measure.words(arms)
            assert "{" not in words
            assert all(arm in words for arm in arms) if measure.takes(len(arms)) else not words
    assert np.unique([measure.words(["x", "y"]) or name for name, measure in MEASURES.items()]).size == len(MEASURES)

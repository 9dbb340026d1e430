"""Verdicts on claims: the rule, Holm over the claims, what is missing, and the forms in which they leave."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats as oracle

from claimed import claim, claiming, probed, scored
from handmade import WAVE
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.claims import COLUMNS, ClaimResult, claims_json, dials, judge_claims
from ppo_vs_grpo.benchmarks.analysis.report.first_page import claims_table

SAME = [0.5] * 8
GAINS = {"same": 0.0, "little": 0.02, "more": 0.1, "less": -0.1, "unsure": 0.03, "hint": 0.055}
SPREADS = {"same": 0.01, "little": 0.01, "more": 0.02, "less": 0.02, "unsure": 0.08, "hint": 0.0757}


def leads() -> Results:
    """Arms that lead `base` by GAINS, each with a wave of its own spread."""
    arms = {name: {"a": 0.5 + gain + SPREADS[name] * WAVE} for name, gain in GAINS.items()}
    return scored({"base": {"a": SAME}, **arms})


def lead(arm: str, **more: Any) -> dict[str, Any]:
    return claim("final_score", ["base", arm], **more)


def judged(results: Results, **claims: Any) -> dict[str, ClaimResult]:
    return {one.name: one for one in judge_claims(claiming(results, claims))}


def one_sided(arm: str, null: float) -> float:
    """p that the arm's lead is above a null, from its planted mean and spread."""
    se = SPREADS[arm] * math.sqrt(5 / 7 / 8)
    return float(oracle.t.sf((GAINS[arm] - null) / se, 7))


def p_of(arm: str) -> float:
    return 2 * one_sided(arm, 0.0)


@pytest.mark.parametrize(
    ("arm", "side", "verdict", "reason"),
    [
        ("more", "above", "supported", "above 0: p < 0.0001 is below 0.05"),
        ("more", "below", "refuted", "above 0, the other side: p < 0.0001 is below 0.05"),
        ("less", "below", "supported", "below 0: p < 0.0001 is below 0.05"),
        ("less", "above", "refuted", "below 0, the other side: p < 0.0001 is below 0.05"),
        ("same", "above", "refuted", "within 0.05 of 0: TOST p < 0.0001 is below 0.05"),
        (
            "unsure",
            "above",
            "inconclusive",
            f"neither on one side of 0, p = {p_of('unsure'):.2g}, nor within 0.05 of 0",
        ),
    ],
)
def test_each_verdict_has_its_reason(arm: str, side: str, verdict: str, reason: str) -> None:
    found = judged(leads(), C=lead(arm, side=side))["C"]
    assert found.verdict == verdict
    assert found.reason.startswith(reason)
    assert found.reason in found.sentence
    assert found.sentence.startswith("C: It is so; final held-out pass rate, ")


def test_a_ratios_margin_is_a_factor() -> None:
    seconds = {"x": {"a": [5.0] * 8}, "y": {"a": [5.0] * 8}}
    results = scored({"x": {"a": SAME}, "y": {"a": SAME}}, seconds=seconds)
    found = judged(results, C=claim("seconds", ["x", "y"], side="below", than=1.0, margin=1.05))["C"]
    assert (found.verdict, found.estimate) == ("refuted", 1.0)
    assert found.reason == "within a factor of 1.05 of 1: TOST p = 0.0039 is below 0.05"


def test_a_sure_difference_within_the_margin_refutes() -> None:
    found = judged(leads(), C=lead("little"))["C"]
    assert found.p is not None
    assert found.p < 0.05
    assert found.verdict == "refuted"
    assert judged(leads(), C=lead("little", margin=0.001))["C"].verdict == "supported"


def test_than_moves_the_line() -> None:
    assert judged(leads(), C=lead("more", than=0.2, margin=0.02))["C"].verdict == "refuted"
    assert judged(leads(), C=lead("more", than=0.2, side="below", margin=0.02))["C"].verdict == "supported"
    found = judged(leads(), C=lead("more", than=0.1))["C"]
    assert (found.verdict, found.estimate) == ("refuted", pytest.approx(0.1))
    assert found.reason.startswith("within 0.05 of 0.1: ")


def test_holm_counts_the_tested_claims_for_each_p_on_its_own() -> None:
    other = claim("explained_variance", ["base"])
    found = judged(leads(), A=lead("hint"), B=other, C=lead("unsure"), D=lead("same"))
    p = {"A": p_of("hint"), "C": p_of("unsure"), "D": 1.0}
    assert p["A"] < p["C"] < 0.5
    expected = {"A": 3 * p["A"], "C": 2 * p["C"], "D": 1.0}
    assert {name: found[name].p for name in expected} == pytest.approx(expected)
    assert found["B"].p is None
    # TOST of a lead above 0 turns on the upper bound: 1 less the one-sided p above 0.05.
    same = {"D": one_sided("same", -0.05), "C": 1 - one_sided("unsure", 0.05), "A": 1 - one_sided("hint", 0.05)}
    expected = {"D": 3 * same["D"], "C": 2 * same["C"], "A": max(2 * same["C"], same["A"])}
    assert {name: found[name].same_p for name in expected} == pytest.approx(expected)
    assert "(Holm over 3 claims)" in found["A"].reason


def test_a_p_that_holm_lifts_no_longer_supports() -> None:
    assert 0.04 < p_of("hint") < 0.05
    assert judged(leads(), A=lead("hint"))["A"].verdict == "supported"
    assert judged(leads(), A=lead("hint"), B=lead("unsure"))["A"].verdict == "inconclusive"
    # What was not tested does not count.
    assert judged(leads(), A=lead("hint"), B=claim("ranking_gain", ["base"]))["A"].verdict == "supported"


@pytest.mark.parametrize(("runs", "verdict"), [(7, "not tested"), (8, "supported")])
def test_a_claim_needs_eight_pairs(runs: int, verdict: str) -> None:
    arm = [0.6 + 0.01 * w if at < runs else None for at, w in enumerate(WAVE)]
    found = judged(scored({"base": {"a": SAME}, "arm": {"a": arm}}), C=lead("arm"))["C"]
    assert (found.verdict, found.n) == (verdict, runs)
    if runs < 8:
        assert found.reason == "n = 7, a claim needs 8; no final score of arm on a (seed 7)"
        assert (found.p, found.same_p) == (None, None)
        assert found.estimate == pytest.approx(float(np.mean([x for x in arm if x is not None])) - 0.5)


def test_a_half_finished_suite_judges_the_pairs_that_are_there() -> None:
    level = [*(0.5 + 0.01 * WAVE), None, 0.4]
    results = scored({"base": {"a": [0.4] * 10, "b": [0.4] * 10}, "arm": {"a": level, "b": [None, *level[:9]]}})
    found = judged(results, C=lead("arm", tasks=["a", "b"]))["C"]
    assert (found.verdict, found.n) == ("supported", 8)
    assert found.reason.endswith("; no final score of arm on a (seed 8); arm on b (seeds 0, 9)")


def test_a_task_without_runs_keeps_the_claim_from_being_tested() -> None:
    results = scored({"base": {"a": SAME, "b": SAME}, "arm": {"a": 0.6 + 0.01 * WAVE, "b": [None] * 8}})
    found = judged(results, C=lead("arm", tasks=["a", "b"]))["C"]
    assert (found.verdict, found.estimate, found.n) == ("not tested", None, 0)
    assert found.reason == "no final score of arm on b (any seed)"


def test_what_a_suite_does_not_have_is_named() -> None:
    results = leads()
    some = {**results.suite["arms"], "more": {"algorithm": "more", "tasks": ["elsewhere"]}}
    found = judged(
        replace(results, suite={**results.suite, "arms": some}),
        A=lead("gone"),
        B=lead("same", tasks=["b"]),
        C=lead("more"),
        D=claim("critic_excess_error", ["base"], margin=0.02),
        E=claim("gradient_noise", ["base", "same"], than=1.0, margin=1.25),
    )
    assert {one.verdict for one in found.values()} == {"not tested"}
    reasons = [one.reason for one in found.values()]
    assert reasons[:3] == ["the suite has no arm gone", "the suite has no task b", "more does not run on a"]
    assert reasons[3] == "no V(prompt) beside the mean of the others half-way of base on a (any seed)"
    assert reasons[4] == "no gradient probe at mid-run of base (any seed); same (any seed)"


def test_seeds_that_are_all_equal_are_within_the_margin() -> None:
    found = judged(scored({"base": {"a": SAME}, "arm": {"a": SAME}}), C=lead("arm"))["C"]
    assert (found.verdict, found.p, found.same_p) == ("refuted", 1.0, pytest.approx(0.5**8))
    flat = judged(
        scored({"base": {"a": SAME}, "arm": {"a": SAME}}),
        C=claim("seed_spread", ["base", "arm"], than=1.0, margin=1.25),
    )["C"]
    assert (flat.verdict, flat.estimate) == ("not tested", None)
    assert flat.reason == "all seeds of both arms score the same: no spread to compare"


@pytest.mark.parametrize("hole", [math.nan, math.inf])
def test_a_number_that_is_none_is_a_missing_run(hole: float) -> None:
    results = scored({"base": {"a": [0.5] * 9}})
    values = [*(0.2 + 0.1 * WAVE), hole]
    for at in (0, 50, 100):
        results = probed(results, {"base": {"a": values}}, "value", "", "explained_variance", at)
    found = judged(results, C=claim("explained_variance", ["base"]))["C"]
    assert (found.n, found.estimate) == (8, pytest.approx(0.2))
    assert found.reason.endswith("no explained variance of V half-way of base on a (seed 8)")


@pytest.mark.parametrize(
    ("grpo", "side", "verdict"),
    [
        (5e6, "below", "supported"),
        (9.6e6, "below", "refuted"),
        (12e6, "below", "refuted"),
        (12e6, "above", "supported"),
    ],
)
def test_memory_is_judged_without_a_test(grpo: float, side: str, verdict: str) -> None:
    results = scored(
        {"ppo": {"a": SAME}, "grpo": {"a": SAME}},
        tracked={"ppo": {"a": [{"policy": 10e6}]}, "grpo": {"a": [{"policy": grpo}]}},
    )
    more = {"than": 1.0, "margin": 1.05, "side": side}
    found = judged(results, M=claim("peak_memory", ["ppo", "grpo"], **more), T=claim("area", ["ppo", "grpo"]))
    memory = found["M"]
    assert (memory.verdict, memory.p, memory.level) == (verdict, None, None)
    assert memory.estimate == pytest.approx(grpo / 10e6)
    words = "more than" if verdict == "supported" else "not more than"
    assert memory.reason.startswith(f"{words} a factor of 1.05 {side} 1, without a test; peak of tracked tensors")
    assert "Holm" not in found["T"].reason  # one tested claim is no family


@pytest.mark.parametrize(("than", "verdict"), [(0.5, "supported"), (0.8, "refuted")])
def test_memory_is_judged_against_than(than: float, verdict: str) -> None:
    results = scored(
        {"ppo": {"a": SAME}, "grpo": {"a": SAME}},
        tracked={"ppo": {"a": [{"policy": 10e6}]}, "grpo": {"a": [{"policy": 8e6}]}},
    )
    assert judged(results, M=claim("peak_memory", ["ppo", "grpo"], than=than, margin=1.05))["M"].verdict == verdict


def full() -> Results:
    """A claim of each kind, one of them with a dial; a probe that no run has."""
    points = {"0": {"arms": ["base", "little"], "tasks": ["a"]}, "big": {"arms": ["base", "more"], "tasks": ["a"]}}
    dial = {"setting": "how much", "points": points | {"gone": {"arms": ["base", "gone"], "tasks": ["a"]}}}
    return claiming(
        leads(), {"S1": lead("more", dial=dial), "S2": lead("same"), "S3": claim("explained_variance", ["base"])}
    )


def test_claims_leave_as_json_with_every_field_in_their_order() -> None:
    written = claims_json(judge_claims(full()))
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert [one["name"] for one in written] == ["S1", "S2", "S3"]
    assert list(written[0]) == list(COLUMNS)
    assert sorted(COLUMNS) == sorted(field.name for field in fields(ClaimResult))
    first, last = written[0], written[2]
    assert (first["says"], first["arms"], first["tasks"]) == ("A source says so.", ["base", "more"], ["a"])
    assert (first["side"], first["than"], first["margin"], first["level"]) == ("above", 0.0, 0.05, 0.95)
    for name in ("estimate", "low", "high", "level", "p", "same_p"):
        assert first[name] is not None
        assert last[name] is None


def test_the_table_has_a_readable_row_a_claim() -> None:
    table = claims_table(judge_claims(full()))
    assert list(table) == ["claim", "says", "here", "evidence", "verdict", "reason"]
    half = 2.364624251592785 * 0.02 * math.sqrt(5 / 7 / 8)
    interval = f"({0.1 - half:.3f} to {0.1 + half:.3f})"
    assert table["evidence"].tolist() == [
        f"final held-out pass rate, more minus base: 0.100 {interval}, n = 8",
        "final held-out pass rate, same minus base: 0.000 (-0.007 to 0.007), n = 8",
        "-",
    ]
    assert table["verdict"].tolist() == ["supported", "refuted", "not tested"]


def test_dials_are_the_measure_at_every_point() -> None:
    table = dials(full())
    assert table[["claim", "setting", "point", "n"]].to_numpy().tolist() == [
        ["S1", "how much", "0", 8],
        ["S1", "how much", "big", 8],
        ["S1", "how much", "gone", 0],
    ]
    assert table["estimate"].tolist() == pytest.approx([0.02, 0.1, math.nan], nan_ok=True)
    half = 2.364624251592785 * math.sqrt(5 / 7 / 8) * np.array([0.01, 0.02, math.nan])
    assert (table["high"] - table["estimate"]).tolist() == pytest.approx(half, nan_ok=True)
    assert (table["estimate"] - table["low"]).tolist() == pytest.approx(half, nan_ok=True)


def test_a_suite_without_claims_has_none() -> None:
    for results in (leads(), claiming(leads(), {})):
        assert judge_claims(results) == ()
        assert claims_json(judge_claims(results)) == []
        assert (len(claims_table(judge_claims(results))), len(dials(results))) == (0, 0)


def test_a_claim_names_the_smallest_effect_that_its_runs_would_show() -> None:
    found = judged(leads(), C=lead("unsure"))["C"]
    # Eight pairs: the noncentral t with 7 degrees of freedom has power 0.8 at a shift of 3.2 standard errors.
    se = SPREADS["unsure"] * math.sqrt(5 / 7 / 8)
    assert found.sees is not None
    shift, critical = found.sees / se, float(oracle.t.ppf(0.975, 7))
    assert float(oracle.nct.sf(critical, 7, shift)) == pytest.approx(0.8, abs=1e-3)
    factor = {"x": {"a": [4.0, 5.0] * 4}, "y": {"a": [5.0, 5.5] * 4}}
    timed = scored({"x": {"a": SAME}, "y": {"a": SAME}}, seconds=factor)
    ratio = judged(timed, C=claim("seconds", ["x", "y"], than=1.0, margin=1.05))["C"]
    logs = np.log(np.array(factor["y"]["a"]) / np.array(factor["x"]["a"]))
    assert ratio.sees is not None
    assert math.log(ratio.sees) / (logs.std(ddof=1) / math.sqrt(8)) == pytest.approx(shift, rel=1e-3)
    assert judged(leads(), C=claim("ranking_gain", ["base"]))["C"].sees is None

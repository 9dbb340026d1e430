"""A suite's claims, declared before its runs, against what the runs say: supported, refuted, or they cannot tell.

The rule, in this order:

1. nothing to read, or fewer than 8 pairs: not tested. Such a claim does not count in the family;
2. TOST's p, adjusted by Holm over the tested claims, is below 0.05: within the margin of `than`, refuted;
3. the adjusted p that it is not `than` is below 0.05: supported on the claim's side, refuted on the other;
4. else inconclusive.

Peak memory hardly varies and is not tested: beyond the margin on the claim's side supported, else refuted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.claim_measures import MEASURES, Measure, Reading
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import LEVEL, holm
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import ALPHA, MIN_SEEDS, p_words, show
from ppo_vs_grpo.tasks.errors import UserError, nearest

SUPPORTED, REFUTED, INCONCLUSIVE, NOT_TESTED = "supported", "refuted", "inconclusive", "not tested"
UNTESTED = "peak_memory"
"""The measure that is judged without a test."""

Claim = Mapping[str, Any]
"""A claim as suite.lock.yaml has it, with the fields of `spec.Claim`."""


@dataclass(frozen=True)
class ClaimResult:
    """A claim and what was found: `estimate` is the measure, in `unit`, with its interval at `level`, not adjusted.

    `p` is that of the test that the measure is `than`, `same_p` that of TOST, both adjusted over the claims; `n` counts
    pairs, of the smallest task. A number that does not exist is None, and `reason` says why.
    """

    name: str
    says: str
    here: str
    measure: str
    unit: str
    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    side: str
    than: float
    margin: float
    estimate: float | None
    low: float | None
    high: float | None
    level: float | None
    p: float | None
    same_p: float | None
    n: int
    test: str
    verdict: str
    reason: str
    sentence: str


def check(claims: Mapping[str, Claim]) -> None:
    """Raise UserError for a claim whose measure does not exist or cannot be tested as the claim says."""
    for name, claim in claims.items():
        if claim["measure"] not in MEASURES:
            raise UserError(
                f"claims.{name}.measure: {claim['measure']}: no measure; {nearest(claim['measure'], MEASURES)}"
            )
        measure = MEASURES[claim["measure"]]
        points = (claim.get("dial") or {}).get("points", {})
        for place, cells in {"": claim, **{f"dial.points.{point}.": cells for point, cells in points.items()}}.items():
            if not measure.takes(len(cells["arms"])):
                needed = " or ".join(word for count, word in ((1, "one arm"), (2, "two arms")) if measure.takes(count))
                raise UserError(
                    f"claims.{name}.{place}arms: {', '.join(cells['arms'])}: {claim['measure']} is of {needed}"
                )
        _check_numbers(name, claim, measure)


def judge_claims(results: Results) -> tuple[ClaimResult, ...]:
    """The verdict on every claim of the suite, in its order. Raises UserError as `check` does."""
    claims = results.suite.get("claims") or {}
    check(claims)
    readings = {name: reading(results, claim, claim) for name, claim in claims.items()}
    found = [one.evidence for one in readings.values()]
    tested = [_tested(evidence) for evidence in found]
    p_C = holm(np.where(tested, [evidence.p for evidence in found], np.nan))
    same_p_C = holm(np.where(tested, [evidence.same_p for evidence in found], np.nan))
    over = f" (Holm over {sum(tested)} claims)" if sum(tested) > 1 else ""
    return tuple(
        _result(name, claim, readings[name], float(p), float(same_p), over)
        for (name, claim), p, same_p in zip(claims.items(), p_C, same_p_C, strict=True)
    )


def claims_json(judged: Sequence[ClaimResult]) -> list[dict[str, Any]]:
    """Every field of every claim's result, as JSON has it: None for what does not exist."""
    return [asdict(one) | {"arms": list(one.arms), "tasks": list(one.tasks)} for one in judged]


def dials(results: Results) -> pd.DataFrame:
    """A row a point of every claim's dial: the measure there with its 95% interval. Drawn, not tested.

    A point without a value is NaN; n is 0 where there is no pair.
    """
    claims = results.suite.get("claims") or {}
    check(claims)
    rows = []
    for name, claim in claims.items():
        for point, cells in (claim.get("dial") or {}).get("points", {}).items():
            evidence = reading(results, claim, cells).evidence
            row = [evidence.estimate, evidence.low, evidence.high] if _known(evidence) else [math.nan] * 3
            rows.append([name, claim["dial"]["setting"], point, *row, evidence.n])
    table = pd.DataFrame(rows, columns=["claim", "setting", "point", "estimate", "low", "high", "n"])
    return table.astype({"estimate": float, "low": float, "high": float, "n": int})


def reading(results: Results, claim: Claim, cells: Claim) -> Reading:
    """The claim's measure in these cells, its own or a dial's; undefined where the suite has no such cells."""
    for arm in cells["arms"]:
        if arm not in results.arms:
            return _nothing(f"the suite has no arm {arm}")
        for task in cells["tasks"]:
            if task not in results.runs_on(arm):
                return _nothing(
                    f"{arm} does not run on {task}" if task in results.tasks else f"the suite has no task {task}"
                )
    measure = MEASURES[claim["measure"]]
    return measure.read(results, cells["arms"], cells["tasks"], claim["than"], claim["margin"])


def within(claim: Claim) -> str:
    """The margin in words, such as `within a factor of 1.25 of 1`."""
    factor = "a factor of " if MEASURES[claim["measure"]].ratio else ""
    return f"within {factor}{claim['margin']:g} of {claim['than']:g}"


def _check_numbers(name: str, claim: Claim, measure: Measure) -> None:
    than, margin = claim["than"], claim["margin"]
    if measure.ratio and not than > 0:
        raise UserError(f"claims.{name}.than: {than}: {claim['measure']} is a ratio, above 0; 1 is equal")
    if measure.ratio and not margin > 1:
        raise UserError(
            f"claims.{name}.margin: {margin}: {claim['measure']} is a ratio; a factor above 1, such as 1.05"
        )
    for key, given, tested in zip(("than", "margin"), (than, margin), measure.tested or (than, margin), strict=True):
        if given != tested:
            raise UserError(f"claims.{name}.{key}: {given}: {claim['measure']} is tested with {tested:g} only")


def _nothing(reason: str) -> Reading:
    return Reading(Evidence(DIFFERENCE, 0, undefined=reason))


def _known(evidence: Evidence) -> bool:
    """Whether there is an estimate over all the tasks."""
    return evidence.n > 0 and math.isfinite(evidence.estimate)


def _tested(evidence: Evidence) -> bool:
    return _known(evidence) and evidence.n >= MIN_SEEDS and not math.isnan(evidence.p)


def _result(name: str, claim: Claim, found: Reading, p: float, same_p: float, over: str) -> ClaimResult:
    evidence, measure = found.evidence, MEASURES[claim["measure"]]
    verdict, reason = _rule(claim, found, p, same_p, over)
    numbers = [evidence.estimate, evidence.low, evidence.high] if _known(evidence) else [math.nan] * 3
    estimate, low, high, p_there, same_there = (x if math.isfinite(x) else None for x in (*numbers, p, same_p))
    return ClaimResult(
        name=name,
        says=claim["says"],
        here=claim["here"],
        measure=claim["measure"],
        unit=measure.unit,
        arms=tuple(claim["arms"]),
        tasks=tuple(claim["tasks"]),
        side=claim["side"],
        than=float(claim["than"]),
        margin=float(claim["margin"]),
        estimate=estimate,
        low=low,
        high=high,
        level=None if low is None or high is None else LEVEL,
        p=p_there,
        same_p=same_there,
        n=evidence.n,
        test=evidence.test,
        verdict=verdict,
        reason=reason,
        sentence=_sentence(name, claim, found, _amount(estimate, low, high), verdict, reason),
    )


def _rule(claim: Claim, found: Reading, p: float, same_p: float, over: str) -> tuple[str, str]:
    """The verdict and its reason, from p-values that are adjusted already."""
    evidence, note = found.evidence, f"; {found.note}" if found.note else ""
    than, side = f"{claim['than']:g}", claim["side"]
    if evidence.undefined:
        return NOT_TESTED, evidence.undefined + note
    if not _known(evidence):
        return NOT_TESTED, found.note or "nothing to read"
    if claim["measure"] == UNTESTED:
        ratio = evidence.estimate / claim["than"]
        beyond = (ratio if side == "above" else 1 / ratio) > claim["margin"]
        where = f"{'' if beyond else 'not '}more than a factor of {claim['margin']:g} {side} {than}"
        return (SUPPORTED if beyond else REFUTED), f"{where}, without a test{note}"
    if not _tested(evidence):
        return NOT_TESTED, f"n = {evidence.n}, a claim needs {MIN_SEEDS}{note}"
    if same_p < ALPHA:
        return REFUTED, f"{within(claim)}: TOST {p_words(same_p)}{over} is below {ALPHA:g}{note}"
    if p < ALPHA:
        lies = "above" if evidence.estimate > claim["than"] else "below"
        verdict, hint = (SUPPORTED, "") if lies == side else (REFUTED, ", the other side")
        return verdict, f"{lies} {than}{hint}: {p_words(p)}{over} is below {ALPHA:g}{note}"
    same = "and equivalence is not tested" if math.isnan(same_p) else f"nor {within(claim)}, TOST {p_words(same_p)}"
    return INCONCLUSIVE, f"neither on one side of {than}, {p_words(p)}{over}, {same}{note}"


def _amount(estimate: float | None, low: float | None, high: float | None) -> str:
    """An estimate with its interval, such as `0.026 (0.018 to 0.033)`; empty where there is none."""
    if estimate is None:
        return ""
    return show(estimate) + ("" if low is None or high is None else f" ({show(low)} to {show(high)})")


def _sentence(name: str, claim: Claim, found: Reading, amount: str, verdict: str, reason: str) -> str:
    """One sentence with what was claimed, the values, the estimate, its interval, n, the test, the verdict and why."""
    parts = [f"{name}: {claim['here'].rstrip('.')}"]
    if amount:
        evidence, measured = found.evidence, MEASURES[claim["measure"]].words(claim["arms"])
        interval = "" if math.isnan(evidence.low) else f", {LEVEL:.0%} interval"
        parts.append(f"{measured} on {', '.join(claim['tasks'])}{interval}: {amount}")
        parts += [found.shown] * bool(found.shown) + [f"n = {evidence.n}, {evidence.test}"]
    return f"{'; '.join(parts)}: {verdict}, since {reason}."

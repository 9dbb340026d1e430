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
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.claim_measures import MEASURES, Measure
from ppo_vs_grpo.benchmarks.analysis.judge.finding import Finding, Ruled, amount, known, nothing, numbers, sentence
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import MEMORY
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import RATIO, Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import LEVEL
from ppo_vs_grpo.benchmarks.analysis.stats.power import smallest_beside
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import ALPHA, MIN_SEEDS, Adjusted, family, p_words, tested
from ppo_vs_grpo.tasks.errors import UserError, nearest

SUPPORTED, REFUTED, INCONCLUSIVE, NOT_TESTED = "supported", "refuted", "inconclusive", "not tested"
UNTESTED = MEMORY.claim
"""The measure that is judged without a test."""

Claim = Mapping[str, Any]
"""A claim as suite.lock.yaml has it, with the fields of `suites.sections.Claim`."""

COLUMNS = (
    *("name", "says", "here", "measure", "unit", "arms", "tasks", "side", "than", "margin", "estimate", "low", "high"),
    *("level", "p", "same_p", "n", "sees", "test", "verdict", "reason", "sentence"),
)
"""A result's fields in the order of files."""


@dataclass(frozen=True, kw_only=True)
class ClaimResult(Ruled):
    """A claim and what was found: `estimate` is its measure.

    `p` is that of the test that the measure is `than`, `same_p` that of TOST, both adjusted over the claims. `sees` is
    the smallest true distance from `than`, a factor of a ratio, that would show four times in five at p < 0.05, not
    adjusted.
    """

    name: str
    says: str
    here: str
    measure: str
    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    side: str
    than: float
    margin: float
    same_p: float | None
    sees: float | None


def check(claims: Mapping[str, Claim]) -> None:
    """Raise UserError for a claim whose measure does not exist or cannot be tested as the claim says."""
    for name, claim in claims.items():
        if claim["measure"] not in MEASURES:
            raise UserError(
                f"claims.{name}.measure: {claim['measure']}: no measure; {nearest(claim['measure'], MEASURES)}"
            )
        measure = MEASURES[claim["measure"]]
        points = (claim.get("dial") or {}).get("points", {})
        for place, scope in {"": claim, **{f"dial.points.{point}.": at for point, at in points.items()}}.items():
            if not measure.takes(len(scope["arms"])):
                needed = " or ".join(word for count, word in ((1, "one arm"), (2, "two arms")) if measure.takes(count))
                raise UserError(
                    f"claims.{name}.{place}arms: {', '.join(scope['arms'])}: {claim['measure']} is of {needed}"
                )
        _check_numbers(name, claim, measure)


def judge_claims(results: Results) -> tuple[ClaimResult, ...]:
    """The verdict on every claim of the suite, in its order. Raises UserError as `check` does."""
    claims = results.suite.get("claims") or {}
    check(claims)
    found = [reading(results, claim, claim) for claim in claims.values()]
    adjusted = family([one.evidence for one in found], "claims")
    return tuple(
        _result(name, claim, one, p) for (name, claim), one, p in zip(claims.items(), found, adjusted, strict=True)
    )


def claims_json(judged: Sequence[ClaimResult]) -> list[dict[str, Any]]:
    """Every field of every claim's result, as JSON has it: None for what does not exist."""
    rows = [{name: getattr(one, name) for name in COLUMNS} for one in judged]
    return [row | {"arms": list(row["arms"]), "tasks": list(row["tasks"])} for row in rows]


def dials(results: Results) -> pd.DataFrame:
    """A row a point of every claim's dial: the measure there with its 95% interval. Drawn, not tested.

    A point without a value is NaN; n is 0 where there is no pair.
    """
    claims = results.suite.get("claims") or {}
    check(claims)
    rows = []
    for name, claim in claims.items():
        for point, scope in (claim.get("dial") or {}).get("points", {}).items():
            evidence = reading(results, claim, scope).evidence
            row = [evidence.estimate, evidence.low, evidence.high, evidence.n]
            rows.append([name, claim["dial"]["setting"], point, *row])
    table = pd.DataFrame(rows, columns=["claim", "setting", "point", "estimate", "low", "high", "n"])
    return table.astype({"estimate": float, "low": float, "high": float, "n": int})


def reading(results: Results, claim: Claim, scope: Claim) -> Finding:
    """The claim's measure of these arms on these tasks, the claim's own or a dial's; undefined where they do not run.

    The estimate is there only where it is one over all the tasks.
    """
    for arm in scope["arms"]:
        if arm not in results.arms:
            return nothing(f"the suite has no arm {arm}")
        for task in scope["tasks"]:
            if task not in results.runs_on(arm):
                known_task = task in results.tasks
                return nothing(f"{arm} does not run on {task}" if known_task else f"the suite has no task {task}")
    read = MEASURES[claim["measure"]].read
    found = read(results, scope["arms"], scope["tasks"], claim["than"], claim["margin"])
    if found.evidence.n > 0 and math.isfinite(found.evidence.estimate):
        return found
    return replace(found, evidence=replace(found.evidence, estimate=math.nan, low=math.nan, high=math.nan))


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
    for key, given, only in zip(("than", "margin"), (than, margin), measure.tested or (than, margin), strict=True):
        if given != only:
            raise UserError(f"claims.{name}.{key}: {given}: {claim['measure']} is tested with {only:g} only")


def _result(name: str, claim: Claim, found: Finding, adjusted: Adjusted) -> ClaimResult:
    verdict, reason = _rule(claim, found, adjusted)
    return ClaimResult(
        name=name,
        says=claim["says"],
        here=claim["here"],
        measure=claim["measure"],
        unit=MEASURES[claim["measure"]].unit,
        arms=tuple(claim["arms"]),
        tasks=tuple(claim["tasks"]),
        side=claim["side"],
        than=float(claim["than"]),
        margin=float(claim["margin"]),
        **numbers(found.evidence, adjusted),
        same_p=known(adjusted.same_p),
        sees=known(_sees(found.evidence)),
        verdict=verdict,
        reason=reason,
        sentence=sentence(_parts(name, claim, found), verdict, reason),
    )


def _sees(evidence: Evidence) -> float:
    """The smallest distance from `than` that such runs show; a ratio's is measured by its logarithm."""
    ends = (evidence.low, evidence.high)
    if evidence.effect != RATIO:
        return smallest_beside((ends[1] - ends[0]) / 2, evidence.freedom)
    if not min(ends) > 0:
        return math.nan
    return math.exp(smallest_beside(math.log(ends[1] / ends[0]) / 2, evidence.freedom))


def _rule(claim: Claim, found: Finding, adjusted: Adjusted) -> tuple[str, str]:
    """The verdict and its reason."""
    evidence, note = found.evidence, f"; {found.note}" if found.note else ""
    than, side = f"{claim['than']:g}", claim["side"]
    p, same_p, over = adjusted.p, adjusted.same_p, adjusted.over
    if evidence.undefined:
        return NOT_TESTED, evidence.undefined + note
    if math.isnan(evidence.estimate):
        return NOT_TESTED, found.note or "nothing to read"
    if claim["measure"] == UNTESTED:
        ratio = evidence.estimate / claim["than"]
        beyond = (ratio if side == "above" else 1 / ratio) > claim["margin"]
        where = f"{'' if beyond else 'not '}more than a factor of {claim['margin']:g} {side} {than}"
        return (SUPPORTED if beyond else REFUTED), f"{where}, without a test{note}"
    if not tested(evidence):
        return NOT_TESTED, f"n = {evidence.n}, a claim needs {MIN_SEEDS}{note}"
    if same_p < ALPHA:
        return REFUTED, f"{within(claim)}: TOST {p_words(same_p)}{over} is below {ALPHA:g}{note}"
    if p < ALPHA:
        lies = "above" if evidence.estimate > claim["than"] else "below"
        verdict, hint = (SUPPORTED, "") if lies == side else (REFUTED, ", the other side")
        return verdict, f"{lies} {than}{hint}: {p_words(p)}{over} is below {ALPHA:g}{note}"
    same = "and equivalence is not tested" if math.isnan(same_p) else f"nor {within(claim)}, TOST {p_words(same_p)}"
    return INCONCLUSIVE, f"neither on one side of {than}, {p_words(p)}{over}, {same}{note}"


def _parts(name: str, claim: Claim, found: Finding) -> list[str]:
    """What a sentence says: what was claimed, the estimate, its interval, the values, n and the test."""
    evidence, claimed = found.evidence, f"{name}: {claim['here'].rstrip('.')}"
    if math.isnan(evidence.estimate):
        return [claimed]
    measured = f"{MEASURES[claim['measure']].words(claim['arms'])} on {', '.join(claim['tasks'])}"
    interval = "" if math.isnan(evidence.low) else f", {LEVEL:.0%} interval"
    estimate = amount(*map(known, (evidence.estimate, evidence.low, evidence.high)))
    return [claimed, f"{measured}{interval}: {estimate}", found.shown, f"n = {evidence.n}, {evidence.test}"]

"""From p-values to words: an arm is better, the arms are equivalent within a margin, or the data cannot tell.

The rule, for a family of tasks that are compared together:

1. fewer than 8 pairs: no verdict, and the task does not count in the family;
2. the Holm-adjusted p of a difference is below 0.05: the arm on whose side the estimate lies is better, or, where 3
   holds too, ahead by less than matters;
3. the Holm-adjusted p of TOST (two one-sided tests, Schuirmann 1987) is below 0.05: equivalent within the margin;
4. else inconclusive.

The two tests are two families: wrongly naming a better arm anywhere has probability 0.05 at most, and so has wrongly
naming any equivalence. Of a mean, alone in its family, 2 says that its 95% t interval excludes 0, and 3 that its 90% t
interval lies inside the margin. The sign-flip test stands beside them in a report and decides nothing. A p-value from
0.01 to 0.1 is a close call: a few other seeds may put it on the other side of 0.05, and the reason says so.

How far that holds with four tasks of eight seeds, simulated: two equal arms differ symmetrically, and 5% of suites get
a false `better` when differences are normal, 2% when either arm now and then collapses. It does not hold where one arm
alone collapses, in one seed of five, and its other seeds make up for that: 17% of tasks have no collapse in eight seeds
and show the other seeds' lead. No test of eight numbers can see that; collapses are counted beside a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ppo_vs_grpo.benchmarks.analysis.stats.evidence import Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import Array

MIN_SEEDS = 8
MARGIN = 0.05
ALPHA = 0.05
CLOSE = (0.01, 0.1)
"""A p-value from the first to below the second hangs on a few seeds."""
NO_VERDICT, INCONCLUSIVE = "no verdict", "inconclusive"
EQUIVALENT, SMALL_LEAD = "equivalent", "by less than matters"
"""How a verdict of equivalence begins, and how one on a lead within the margin ends."""


@dataclass(frozen=True)
class Ruling:
    """A verdict, its reason, and the arm that it names; none where it names no arm."""

    verdict: str
    reason: str
    winner: str | None = None


@dataclass(frozen=True)
class Adjusted:
    """P-values of one member of a family, of a difference and of equivalence, adjusted by Holm.

    NaN where nothing was tested. `over` says over what they were adjusted, in words; it is empty for a family of one.
    """

    p: float
    same_p: float
    over: str = ""


def tested(evidence: Evidence) -> bool:
    """Whether the evidence has a test that counts in its family."""
    return not evidence.undefined and evidence.n >= MIN_SEEDS and not math.isnan(evidence.p)


def family(members: Sequence[Evidence], what: str = "tasks") -> list[Adjusted]:
    """The members' adjusted p-values, in their order; `what` names the members in words."""
    counts = [tested(evidence) for evidence in members]
    over = f" (Holm over {sum(counts)} {what})" if sum(counts) > 1 else ""
    p_F = holm(np.where(counts, [evidence.p for evidence in members], np.nan))
    same_p_F = holm(np.where(counts, [evidence.same_p for evidence in members], np.nan))
    return [Adjusted(float(p), float(same_p), over) for p, same_p in zip(p_F, same_p_F, strict=True)]


def holm(p_F: ArrayLike) -> Array:
    """Holm's (1979) adjusted p-values of a family, in its order: claims with p < alpha have familywise error alpha.

    A NaN was not tested: it stays NaN and does not count.
    """
    p = np.asarray(p_F, float)
    adjusted = np.full(p.shape, np.nan)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def ruling(found: Adjusted, pair: tuple[str, str], word: str, second_leads: bool, within: str) -> Ruling:
    """Steps 2 to 4 of the module's rule.

    `word` is what the better of the pair's arms is, `within` is the margin in words. Where nobody tested equivalence,
    its p is NaN.
    """
    p, same_p, inside = p_words(found.p), p_words(found.same_p), found.same_p < ALPHA
    if found.p < ALPHA:
        leader = pair[second_leads]
        verdict = f"{leader} ahead, {SMALL_LEAD}" if inside else f"{leader} {word}"
        small = f"; within {within}, TOST {same_p}" if inside else ""
        return Ruling(verdict, f"{p}{found.over} is below {ALPHA:g}{small}{_close(found.p)}", leader)
    if inside:
        why = f"TOST {same_p}{found.over} is below {ALPHA:g}, that of a difference is not, {p}"
        return Ruling(f"{EQUIVALENT} within {within}", why + _close(found.p, found.same_p))
    if math.isnan(found.same_p):
        why = f"no difference shows, {p}{found.over}, and equivalence is not tested"
    else:
        why = f"neither a difference, {p}{found.over}, nor equivalence within {within}, TOST {same_p}"
    return Ruling(INCONCLUSIVE, why + _close(found.p, found.same_p))


def is_close(p: float) -> bool:
    """Whether a p-value lies about the level."""
    return CLOSE[0] <= p < CLOSE[1]


def _close(*p: float) -> str:
    """What a reason says of a close call."""
    return f"; a close call, p from {CLOSE[0]:g} to {CLOSE[1]:g}" if any(map(is_close, p)) else ""


def p_words(p: float) -> str:
    """A p-value as a sentence shows it; so far out in a tail that its digits mean nothing, a bound."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def show(value: float) -> str:
    """A number for a sentence: three decimals of a small one, four digits of another."""
    if math.isnan(value):
        return "unknown"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1 or value == 0 else f"{value:.4g}"

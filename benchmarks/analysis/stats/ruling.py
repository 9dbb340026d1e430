"""What may be claimed of two arms: one is better, they are equivalent within a margin, or the data cannot tell.

The rule, for a family of tasks with paired differences (second arm less first, higher is better):

1. fewer than 8 seeds: no verdict, and the task does not count in the family;
2. the Holm-adjusted p of the t test is below alpha: the arm on whose side the mean lies is better. In a family of one
   that says: the (1 - alpha) t interval excludes 0;
3. else the Holm-adjusted p of TOST is below alpha: equivalent within the margin. In a family of one: the
   (1 - 2 alpha) t interval lies inside the margin;
4. else inconclusive.

So a difference that is sure but small is `better`, and the reason adds that it lies within the margin. The two steps
are two families: wrongly naming a better arm anywhere has probability alpha at most, and so has wrongly naming any
equivalence. Both rest on the t distribution; the sign-flip test stands beside them in a report and decides nothing.

How far that holds with four tasks of eight seeds, simulated: two equal arms differ symmetrically, and 5% of suites get
a false `better` when differences are normal, 2% when either arm now and then collapses. It does not hold where one arm
alone collapses, in one seed of five, and its other seeds make up for that: 17% of tasks have no collapse in eight seeds
and show the other seeds' lead. No test of eight numbers can see that; collapses are counted beside a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from ppo_vs_grpo.benchmarks.analysis.stats.intervals import MeanInterval, holm, one_sided_p, t_interval, two_sided_p
from ppo_vs_grpo.tasks.errors import UserError

MIN_SEEDS = 8
MARGIN = 0.05
ALPHA = 0.05
ARMS = ("PPO", "GRPO")


class Outcome(StrEnum):
    """What a verdict says, whatever the arms are called."""

    FIRST = "first better"
    SECOND = "second better"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    NONE = "no verdict"


@dataclass(frozen=True)
class Verdict:
    """A task's verdict: its words, why, and the numbers it rests on.

    `p` and `equivalence_p` are Holm-adjusted in the family, NaN without a verdict; `interval` is the task's own
    (1 - alpha) t interval, not adjusted.
    """

    outcome: Outcome
    text: str
    reason: str
    interval: MeanInterval
    p: float
    equivalence_p: float


def equivalence_p(differences_S: ArrayLike, margin: float = MARGIN) -> float:
    """p of two one-sided t tests (TOST, Schuirmann 1987) that the mean lies between -margin and margin.

    Below alpha exactly where the (1 - 2 alpha) t interval lies inside. NaN below two values; without spread as in
    `one_sided_p`. Raises UserError unless the margin is positive.
    """
    if not margin > 0:
        raise UserError(f"margin: {margin}: must be above 0, a difference of scores such as {MARGIN}")
    sample = np.asarray(differences_S, float)
    return max(one_sided_p(sample, -margin), one_sided_p(-sample, -margin))


def verdict(
    differences_S: ArrayLike, *, arms: tuple[str, str] = ARMS, margin: float = MARGIN, alpha: float = ALPHA
) -> Verdict:
    """The verdict on one task that was the only question asked; see `verdicts`."""
    return verdicts({"": differences_S}, arms=arms, margin=margin, alpha=alpha)[""]


def verdicts(
    differences: Mapping[str, ArrayLike],
    *,
    arms: tuple[str, str] = ARMS,
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> dict[str, Verdict]:
    """The verdict on every task of a family, by the module's rule.

    `differences` has each task's paired differences, arms[1] less arms[0], shape (seeds,); tasks may differ in seeds.
    Negate what is better low, such as seconds. Raises UserError for a margin or an alpha that is none.
    """
    if not 0 < alpha < 1:
        raise UserError(f"alpha: {alpha}: must lie between 0 and 1, such as {ALPHA}")
    samples = {task: np.asarray(values, float) for task, values in differences.items()}
    judged = [len(sample) >= MIN_SEEDS for sample in samples.values()]
    better = [two_sided_p(sample) if ok else np.nan for sample, ok in zip(samples.values(), judged, strict=True)]
    same = [
        equivalence_p(sample, margin) if ok else np.nan for sample, ok in zip(samples.values(), judged, strict=True)
    ]
    return {
        task: _judge(t_interval(sample, 1 - alpha), float(p), float(tost), arms, margin, alpha)
        for (task, sample), p, tost in zip(samples.items(), holm(better), holm(same), strict=True)
    }


def ruling(
    p: float,
    same_p: float,
    words: tuple[str, str],
    second_leads: bool,
    within: str,
    *,
    alpha: float = ALPHA,
    over: str = "",
) -> tuple[Outcome, str, str]:
    """Steps 2 to 4 of the module's rule: a verdict, its words and its reason, from adjusted p-values.

    `p` is that of a difference; `same_p` that of equivalence, NaN where nobody tested it. `words` are said of the first
    and of the second arm, `within` is the margin in words, `over` what p was adjusted over, in words too.
    """
    inside = same_p < alpha
    if p < alpha:
        outcome, text = (Outcome.FIRST, Outcome.SECOND)[second_leads], words[second_leads]
        small = f"; all the same within {within}, TOST {p_words(same_p)}" if inside else ""
        return outcome, text, f"{p_words(p)}{over} is below {alpha:g}{small}"
    if inside:
        why = f"TOST {p_words(same_p)}{over} is below {alpha:g}, that of a difference is not, {p_words(p)}"
        return Outcome.EQUIVALENT, f"equivalent within {within}", why
    why = f"neither a difference, {p_words(p)}{over}, nor equivalence within {within}, TOST {p_words(same_p)}"
    if math.isnan(same_p):
        why = f"no difference shows, {p_words(p)}{over}, and equivalence is not tested"
    return Outcome.INCONCLUSIVE, str(Outcome.INCONCLUSIVE), why


def p_words(p: float) -> str:
    """A p-value as a sentence shows it; so far out in a tail that its digits mean nothing, a bound."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def _judge(
    interval: MeanInterval, p: float, same_p: float, arms: tuple[str, str], margin: float, alpha: float
) -> Verdict:
    """One task's verdict, from adjusted p-values."""
    n = interval.n
    if n < MIN_SEEDS:
        reason = f"{n} paired seeds, a verdict needs {MIN_SEEDS}: with 5 a sign-flip test cannot go below p = 0.0625"
        return Verdict(Outcome.NONE, str(Outcome.NONE), reason, interval, p, same_p)
    words = (f"{arms[0]} better", f"{arms[1]} better")
    outcome, text, reason = ruling(p, same_p, words, interval.mean > 0, f"{margin:g}", alpha=alpha)
    spread = "" if interval.se > 0 else "; seeds do not differ, so p is that of sign flips"
    return Verdict(outcome, text, reason + spread, interval, p, same_p)


def show(value: float) -> str:
    """A number for a sentence: three decimals of a small one, four digits of another."""
    if math.isnan(value):
        return "unknown"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1 or value == 0 else f"{value:.4g}"

"""What a number of seeds can show: the smallest difference that would be seen, and the seeds that one would need.

Of the paired, two-sided t test. In a family of tasks the worst case of Holm's correction is alpha over their number.
"""

from __future__ import annotations

import math

from scipy.special import nctdtr, stdtrit

from ppo_vs_grpo.tasks.errors import UserError

ALPHA = 0.05
POWER = 0.8
EFFECT = 0.05
HALVINGS = 50
"""Of the interval in which the smallest effect lies. scipy's root finder takes 0.3 s to import."""


def power(effect: float, sd: float, n: float, alpha: float = ALPHA) -> float:
    """Chance that n seeds show a true mean difference `effect` when differences have standard deviation `sd`.

    The noncentral t distribution beyond both critical values (Cohen 1988, chapter 2); NaN below two seeds. Without
    spread every difference shows: 1, and no difference has its chance alpha.
    """
    _refuse_no_probability("alpha", alpha)
    if n < 2 or math.isnan(sd):
        return math.nan
    if sd == 0:
        return 1.0 if effect else alpha
    freedom, shift = n - 1, abs(effect) / sd * math.sqrt(n)
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    return 1 - _below(critical, freedom, shift) + _below(-critical, freedom, shift)


def smallest_effect(sd: float, n: float, alpha: float = ALPHA, target: float = POWER) -> float:
    """The true difference, in units of `sd`'s, that n seeds show with probability `target`; NaN below two seeds."""
    _refuse_no_probability("power", target)
    if target <= alpha:
        raise UserError(f"power: {target}: must be above alpha, {alpha}, which no difference at all has")
    if n < 2 or math.isnan(sd) or sd == 0:
        return math.nan if n < 2 or math.isnan(sd) else 0.0
    enough = 1.0
    while power(enough, 1.0, n, alpha) < target:
        enough *= 2
    too_small = 0.0
    for _ in range(HALVINGS):
        middle = (too_small + enough) / 2
        too_small, enough = (middle, enough) if power(middle, 1.0, n, alpha) < target else (too_small, middle)
    return sd * enough


def smallest_beside(half: float, freedom: float) -> float:
    """The true distance from a null that shows with probability POWER, given half a 95% t interval's width.

    NaN without an interval.
    """
    if not (half >= 0 and freedom >= 1):
        return math.nan
    error = half / float(stdtrit(freedom, 1 - ALPHA / 2))
    return smallest_effect(error * math.sqrt(freedom + 1), freedom + 1)


def seeds_needed(sd: float, effect: float = EFFECT, alpha: float = ALPHA, target: float = POWER) -> int | None:
    """The fewest paired seeds that show `effect` with probability `target`; None where sd is unknown (NaN).

    A verdict needs 8 whatever this says.
    """
    _refuse_no_probability("power", target)
    if not effect > 0:
        raise UserError(f"effect: {effect}: must be above 0, a difference of scores such as {EFFECT}")
    if math.isnan(sd):
        return None
    too_few, enough = 1, 2
    while power(effect, sd, enough, alpha) < target:
        too_few, enough = enough, enough * 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if power(effect, sd, middle, alpha) < target:
            too_few = middle
        else:
            enough = middle
    return enough


def _below(t: float, freedom: float, shift: float) -> float:
    """The noncentral t distribution function, 0 where scipy's series gives up: that far out it is below 1e-13."""
    found = float(nctdtr(freedom, shift, t))
    return 0.0 if math.isnan(found) else found


def _refuse_no_probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise UserError(f"{name}: {value}: must lie between 0 and 1")

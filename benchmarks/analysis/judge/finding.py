"""What was found on one question, and what may be said of it: of two arms by a metric, or of a claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import LEVEL
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import Adjusted, show


@dataclass(frozen=True)
class Finding:
    """The evidence on a question, the arms' values as a sentence shows them, and what is missing.

    `values` are the numbers of two arms, NaN where there is none. Values of means are those of the pairs, so that they
    agree with the estimate; without any pair, of all an arm's runs. `collapsed` counts both arms' collapsed runs in
    words; it is empty where there are none. `flat` says of scores that neither arm ends above its start; it is empty
    where one does.
    """

    evidence: Evidence
    shown: str = ""
    note: str = ""
    values: tuple[float, float] = (math.nan, math.nan)
    collapsed: str = ""
    flat: str = ""


@dataclass(frozen=True, kw_only=True)
class Ruled:
    """The numbers behind a verdict, its words, and a sentence that can be quoted.

    `low` and `high` are the estimate's interval at `level`, not adjusted; `p` is adjusted by Holm, None where nothing
    was tested; `n` counts pairs, those of the smallest task. A number that does not exist is None, and `reason` says
    why.
    """

    unit: str
    estimate: float | None
    low: float | None
    high: float | None
    level: float | None
    p: float | None
    n: int
    test: str
    verdict: str
    reason: str
    sentence: str


Read = Callable[[Results, Sequence[str], Sequence[str], float, float], Finding]
"""Of results, arms, tasks, `than` and margin.

The estimate and its interval are not shifted; p is that of the test that the estimate is `than`, same_p of the two that
it lies within the margin of it.
"""


def nothing(reason: str, note: str = "", n: int = 0) -> Finding:
    """The finding on a question that cannot be asked, with the reason."""
    return Finding(Evidence(DIFFERENCE, n, undefined=reason), note=note)


def numbers(evidence: Evidence, adjusted: Adjusted) -> dict[str, Any]:
    """The numeric fields of `Ruled`, and the name of the test behind them."""
    low, high = known(evidence.low), known(evidence.high)
    return {
        "estimate": known(evidence.estimate),
        "low": low,
        "high": high,
        "level": None if low is None and high is None else LEVEL,
        "p": known(adjusted.p),
        "n": evidence.n,
        "test": evidence.test,
    }


def known(value: float) -> float | None:
    """A number, or None where it does not exist."""
    return value if math.isfinite(value) else None


def amount(estimate: float | None, low: float | None, high: float | None) -> str:
    """An estimate with its interval, such as `0.026 (0.018 to 0.033)`; empty where there is none."""
    if estimate is None:
        return ""
    ends = span(low, high)
    return show(estimate) + (f" ({ends})" if ends else "")


def span(low: float | None, high: float | None) -> str:
    """An interval, such as `0.018 to 0.033`; one that is open at an end says so, and one at both is empty."""
    if low is None and high is None:
        return ""
    if high is None:
        return f"{show(low or 0.0)} or more"
    return f"{show(high)} or less" if low is None else f"{show(low)} to {show(high)}"


def sentence(parts: Sequence[str], verdict: str, reason: str) -> str:
    """What was found, the verdict and its reason in one sentence; empty parts are left out."""
    return f"{'; '.join(filter(None, parts))}: {verdict}, since {reason}."

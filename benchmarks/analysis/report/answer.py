"""The answer in one plain sentence or two: which arm ends higher, by how much, how sure that is, and on which tasks."""

from __future__ import annotations

from collections.abc import Sequence

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import MEMORY
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import NEITHER, UNDEFINED, Verdict
from ppo_vs_grpo.benchmarks.analysis.report.figures.style import signed
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import (
    EQUIVALENT,
    INCONCLUSIVE,
    MARGIN,
    NO_VERDICT,
    SMALL_LEAD,
    is_close,
    p_words,
    show,
)

POINTS = 100.0
"""A share of 0.01 is a point."""


def answer(judged: Sequence[Verdict]) -> str:
    """What the primary metric says: over all tasks, then of each."""
    rows = [one for one in judged if one.primary]
    over = next((one for one in rows if one.task == ALL_TASKS), rows[0])
    if over.second is None or over.first is None:
        return f"No comparison: {over.reason}."
    tasks = [one for one in rows if one.task != ALL_TASKS] if len(rows) > 1 else []
    weighed = next((one for one in judged if one.metric == MEMORY.name and one.task == over.task), None)
    held = _memory(weighed) if weighed and over.verdict == NO_VERDICT else ""
    return " ".join(filter(None, [_lead(over), held, _by_task(tasks)]))


def lead(first: str, second: str, estimate: float) -> str:
    """Which of two arms ends higher and by how much: `grpo ends 3.2 points higher than ppo`."""
    leader, other = (first, second) if estimate < 0 else (second, first)
    return f"{leader} ends {points(abs(estimate))} points higher than {other}"


def how_sure(low: float | None, high: float | None, n: int, *, turned: bool, each: str = "") -> str:
    """The interval of a difference in points and what it rests on; of the first arm's lead if `turned`.

    Empty where there is no interval.
    """
    ends = interval(low, high, turned=turned)
    return f"95% interval {ends}, {n} paired seeds{each}" if ends else ""


def interval(low: float | None, high: float | None, *, turned: bool = False) -> str:
    """An interval in points, such as `1.8 to 4.6`, of the first arm's lead if `turned`; empty where there is none."""
    if low is None or high is None:
        return ""
    low, high = (-high, -low) if turned else (low, high)
    return f"{points(low)} to {points(high)}"


def _lead(one: Verdict) -> str:
    """The sentence on one verdict."""
    if one.estimate is None:
        return f"No verdict: {one.reason}."
    behind = one.estimate < 0
    leader = one.first if behind else one.second
    gap = f"{points(abs(one.estimate))} points"
    sure = how_sure(one.low, one.high, one.n, turned=behind, each=" a task" if one.task == ALL_TASKS else "")
    close = f" It is a close call: {p_words(one.p)}." if one.p is not None and is_close(one.p) else ""
    higher = lead(str(one.first), str(one.second), one.estimate)
    if one.verdict == NEITHER:
        return f"Neither arm learned: {one.first} and {one.second} end no higher than they start ({sure})."
    if one.winner:
        small = one.verdict.endswith(SMALL_LEAD)
        aside = f", too little to matter here, where {MARGIN * POINTS:g} points do" if small else ""
        return f"{higher} ({sure}){aside}.{close}"
    if one.verdict.startswith(EQUIVALENT):
        return (
            f"{one.first} and {one.second} end equally high: {leader} is {gap} ahead ({sure}), within the "
            f"{MARGIN * POINTS:g} points that count as equal."
        )
    if one.verdict == INCONCLUSIVE:
        return f"These runs cannot tell which arm ends higher: {leader} is {gap} ahead ({sure}).{close}"
    so_far = higher if float(points(abs(one.estimate))) else f"{one.first} and {one.second} end equally high"
    so_far += f" ({sure})" if sure else ""
    if one.first_value == one.second_value == 0:
        so_far = f"neither {one.first} nor {one.second} passes a held-out prompt"
    return f"No verdict yet: {one.reason}. So far {so_far}."


def _memory(one: Verdict) -> str:
    """What both arms hold, which a single run shows; empty where it was not measured."""
    if one.first_value is None or one.second_value is None:
        return ""
    held = f"{one.first} {show(one.first_value)} MB, {one.second} {show(one.second_value)} MB"
    return f"Peak memory: {held}, {one.verdict}."


def _by_task(tasks: Sequence[Verdict]) -> str:
    """Which tasks say what, such as `grpo higher on sorting; no difference that matters on recall`."""
    said: dict[str, list[str]] = {}
    for one in tasks:
        said.setdefault(_kind(one), []).append(one.task)
    if len(said) == 1:
        return f"Each task alone: {next(iter(said))}."
    leads_first = sorted(said.items(), key=lambda item: "higher" not in item[0])
    parts = [f"{kind} on {_listed(where)}" for kind, where in leads_first]
    return f"By task: {'; '.join(parts)}." if parts else ""


def _kind(one: Verdict) -> str:
    if one.winner:
        return f"{one.winner} higher"
    if one.verdict.startswith(EQUIVALENT):
        return "no difference that matters"
    kinds = {INCONCLUSIVE: "undecided", NEITHER: "neither learned", NO_VERDICT: "no verdict", UNDEFINED: "no verdict"}
    return kinds[one.verdict]


def points(share: float, *, plus: bool = False) -> str:
    """A share in points, such as `3.2`; with a plus sign where asked for."""
    return signed(POINTS * share, 1, plus=plus)


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last

"""Verdicts on two arms of a suite: every metric, task by task and over tasks, each in a sentence that can be quoted.

The rule is that of `stats.ruling`: below 8 pairs none; an arm is better where the p-value is below 0.05; else the arms
are equivalent where that of two one-sided tests is; else the data cannot tell.

One metric is primary. Its row over all tasks is the suite's one question, and its rows of tasks are adjusted by Holm
over the tasks. The other metrics are secondary: their rows over all tasks are adjusted together, and so are all their
rows of tasks. Peak memory is compared without a test: beyond 5% an arm is lighter, within they are equivalent.

Tasks are those on which both arms run. Where a run of either arm collapsed, the reason counts them: no test of a few
seeds sees a rare collapse.

Of eight pairs a task, seconds need eight over all tasks together. A seed is a draw of everything that training depends
on, and with fewer than eight a sign-flip test cannot reach 0.05 after adjustment, nor would a collapse show. A repeat
of the timing pass is the same work once more, which differs by the machine's noise alone: what few repeats leave
unknown is the size of that noise, and the t test pays for it with its degrees of freedom, one a task where tasks are
timed twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair, shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results, kept
from ppo_vs_grpo.benchmarks.analysis.judge.finding import Finding, Ruled, known, numbers, sentence, span
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import COLLAPSES, MEMORY, METRICS, SECONDS, Metric, compare
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, NULL, SHARE, Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import LEVEL
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import (
    EQUIVALENT,
    MIN_SEEDS,
    NO_VERDICT,
    Adjusted,
    Ruling,
    family,
    ruling,
    show,
)

UNDEFINED, NEITHER = "undefined", "neither learned"
COLUMNS = (
    *("metric", "primary", "task", "unit", "effect", "first", "second", "first_value", "second_value"),
    *("estimate", "low", "high", "level", "p", "n", "test", "verdict", "winner", "reason", "sentence"),
)
"""A verdict's fields in the order of files."""
NUMBERS = ("first_value", "second_value", "estimate", "low", "high", "level", "p")


@dataclass(frozen=True, kw_only=True)
class Verdict(Ruled):
    """What may be said of two arms by one metric on one task, or over all tasks.

    `estimate` is of `effect`: difference and ratio are of the second arm to the first, the share is that of pairs in
    which the second was earlier. `n` is over all tasks that of the smallest one, of seconds that of all together.
    `winner` is the arm that the verdict names, None where it names none.
    """

    metric: str
    primary: bool
    task: str
    effect: str
    first: str | None
    second: str | None
    first_value: float | None
    second_value: float | None
    winner: str | None


def judge(results: Results, first: str | None = None, second: str | None = None) -> tuple[Verdict, ...]:
    """Every metric's verdict on each task on which both arms run, then over all these where they are several.

    The arms are those of `choose_pair`; a suite of one arm, or two arms without a common task, have a row a metric that
    says so. Raises UserError for a label that is no arm.
    """
    pair = choose_pair(results, first, second)
    if pair is None or not (tasks := shared_tasks(results, pair)):
        return tuple(_no_pair(metric, pair or tuple(results.arms)) for metric in METRICS)
    found = {metric: compare(results, metric, pair, tuple(tasks)) for metric in METRICS}
    return tuple(verdicts(found, pair))


@kept
def judge_primary(results: Results) -> tuple[Verdict, ...]:
    """The primary metric's verdicts of `judge`; empty where no two arms share a task."""
    pair = choose_pair(results)
    tasks = tuple(shared_tasks(results, pair)) if pair else ()
    found = {metric: compare(results, metric, pair, tasks) for metric in METRICS if metric.primary and pair and tasks}
    return tuple(verdicts(found, pair)) if pair else ()


def rows_of(judged: Sequence[Verdict]) -> list[dict[str, object]]:
    """Every field of every verdict, as JSON has it: None for what does not exist."""
    return [{name: getattr(one, name) for name in COLUMNS} for one in judged]


def table_of(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Verdicts as a frame: a row each, a column a field; a number that does not exist is missing."""
    return pd.DataFrame(rows_of(judged), columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))


def verdicts(found: Mapping[Metric, Mapping[str, Finding]], pair: tuple[str, str]) -> list[Verdict]:
    """Each metric's verdict on each of its findings, adjusted over the family that the finding belongs to."""
    families: dict[tuple[bool, bool], list[tuple[Metric, str]]] = {}
    for metric, of_tasks in found.items():
        for task in of_tasks:
            families.setdefault((metric.primary, task == ALL_TASKS), []).append((metric, task))
    adjusted: dict[tuple[Metric, str], Adjusted] = {}
    for (primary, _), members in families.items():
        what = "tasks" if primary else "secondary questions"
        p = family([found[metric][task].evidence for metric, task in members], what)
        adjusted |= dict(zip(members, p, strict=True))
    return [
        _verdict(metric, task, finding, pair, adjusted[metric, task])
        for metric, of_tasks in found.items()
        for task, finding in of_tasks.items()
    ]


def _verdict(metric: Metric, task: str, found: Finding, pair: tuple[str, str], adjusted: Adjusted) -> Verdict:
    ruled = _rule(metric, found, pair, adjusted)
    reason = ruled.reason
    if found.collapsed and metric is not COLLAPSES:  # which has these counts as its values
        reason += f"; collapsed runs: {found.collapsed}"
    return Verdict(
        metric=metric.name,
        primary=metric.primary,
        task=task,
        unit=metric.unit,
        effect=found.evidence.effect,
        first=pair[0],
        second=pair[1],
        first_value=known(found.values[0]),
        second_value=known(found.values[1]),
        **numbers(found.evidence, adjusted),
        verdict=ruled.verdict,
        winner=ruled.winner,
        reason=reason,
        sentence=sentence(_parts(metric, task, found, pair), ruled.verdict, reason),
    )


def _rule(metric: Metric, found: Finding, pair: tuple[str, str], adjusted: Adjusted) -> Ruling:
    """The verdict, its reason, and the arm that it names."""
    evidence, note = found.evidence, f"; {found.note}" if found.note else ""
    if evidence.undefined:
        return Ruling(UNDEFINED, evidence.undefined + note)
    if metric is MEMORY and evidence.n:
        return _rule_untested(metric, evidence, pair, note)
    if metric is MEMORY or (evidence.n == 0 and found.note):
        return Ruling(NO_VERDICT, found.note)
    if evidence.n < MIN_SEEDS:
        return Ruling(NO_VERDICT, f"{metric.count(evidence.n)}, a verdict needs {MIN_SEEDS}{note}")
    if math.isnan(evidence.p):
        return Ruling(NO_VERDICT, f"a task has one {metric.pair}: a spread needs 2{note}")
    ruled = ruling(adjusted, pair, metric.word, _second_wins(metric, evidence), metric.within)
    if found.flat and ruled.winner is None:
        return Ruling(NEITHER, f"{found.flat}; {ruled.verdict}, {ruled.reason}{note}")
    return replace(ruled, reason="; ".join(filter(None, [ruled.reason, found.flat])) + note)


def _rule_untested(metric: Metric, evidence: Evidence, pair: tuple[str, str], note: str) -> Ruling:
    """The verdict of a ratio that hardly varies."""
    if abs(math.log(evidence.estimate)) <= math.log(metric.margin):
        return Ruling(
            f"{EQUIVALENT} within {metric.within}", f"the ratio is within {metric.within}, without a test{note}"
        )
    winner = pair[_second_wins(metric, evidence)]
    return Ruling(f"{winner} {metric.word}", f"the ratio is beyond {metric.within}, without a test{note}", winner)


def _second_wins(metric: Metric, evidence: Evidence) -> bool:
    larger = evidence.estimate > NULL[evidence.effect]
    return larger == (metric.higher_is_better or evidence.effect == SHARE)


def _parts(metric: Metric, task: str, found: Finding, pair: tuple[str, str]) -> list[str]:
    """What a sentence says of a finding: both values, the estimate, its interval, n and the test."""
    evidence, (first, second) = found.evidence, pair
    where = "over all tasks" if task == ALL_TASKS else f"on {task}"
    parts = [f"{_title(metric)} {where} ({metric.unit}): {found.shown}"]
    if not math.isnan(evidence.estimate):
        text = show(evidence.estimate)
        if evidence.effect == SHARE:
            text = f"{second} earlier in {text} of pairs, ties counted half"
        else:
            text = f"{second} {'minus' if evidence.effect == DIFFERENCE else 'over'} {first} {text}"
        if ends := span(known(evidence.low), known(evidence.high)):
            text += f", {LEVEL:.0%} interval {ends}"
        several = "" if task != ALL_TASKS else " in all" if metric is SECONDS else " a task"
        parts += [text, f"n = {metric.count(evidence.n)}{several}, {evidence.test}"]
    return parts


def _title(metric: Metric) -> str:
    return f"{metric.name[0].upper()}{metric.name[1:]}"


def _no_pair(metric: Metric, arms: tuple[str, ...]) -> Verdict:
    """The row of a suite that has no two arms, or of two arms that have no task in common."""
    first, second = (*arms, None, None)[:2]
    reason = no_comparison(arms)
    return Verdict(
        metric=metric.name,
        primary=metric.primary,
        task=ALL_TASKS,
        unit=metric.unit,
        effect="none",
        first=first,
        second=second,
        first_value=None,
        second_value=None,
        **numbers(Evidence("none", 0), Adjusted(math.nan, math.nan)),
        verdict=NO_VERDICT,
        winner=None,
        reason=reason,
        sentence=sentence([_title(metric)], NO_VERDICT, reason),
    )


def no_comparison(arms: tuple[str, ...]) -> str:
    """Why a suite, or two arms, have nothing to compare."""
    if len(arms) > 1:
        return f"{arms[0]} and {arms[1]} run on no common task"
    return f"the suite has {len(arms)} arm{'s' * (len(arms) != 1)}, {', '.join(arms) or 'none'}; a verdict needs two"

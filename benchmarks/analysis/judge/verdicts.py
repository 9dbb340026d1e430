"""Verdicts on two arms of a suite: every metric, task by task and over tasks, each in a sentence that can be quoted.

The rule is that of `stats.ruling`: below 8 pairs none; an arm is better where the p-value is below 0.05; else the arms
are equivalent where that of two one-sided tests is; else the data cannot tell. Both are adjusted by Holm over the tasks
of a metric. The row over all tasks is one question of its own. Metrics are not adjusted for their number. Peak memory
is compared without a test: beyond 5% an arm is lighter, within they are equivalent.

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
from dataclasses import dataclass

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair, shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.finding import Finding, Ruled, known, numbers, sentence
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import COLLAPSES, MEMORY, METRICS, SECONDS, Metric, compare
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import final_scores
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, NULL, SHARE, Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import LEVEL, paired_differences
from ppo_vs_grpo.benchmarks.analysis.stats.power import seeds_needed, smallest_effect
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MIN_SEEDS, NO_VERDICT, Adjusted, family, ruling, show

UNDEFINED = "undefined"
COLUMNS = (
    *("metric", "task", "unit", "effect", "first", "second", "first_value", "second_value", "estimate", "low", "high"),
    *("level", "p", "n", "test", "verdict", "reason", "sentence"),
)
"""A verdict's fields in the order of files."""
NUMBERS = ("first_value", "second_value", "estimate", "low", "high", "level", "p")


@dataclass(frozen=True, kw_only=True)
class Verdict(Ruled):
    """What may be said of two arms by one metric on one task, or over all tasks.

    `estimate` is of `effect`: difference and ratio are of the second arm to the first, the share is that of pairs in
    which the second was earlier. `n` is over all tasks that of the smallest one, of seconds that of all together.
    """

    metric: str
    task: str
    effect: str
    first: str | None
    second: str | None
    first_value: float | None
    second_value: float | None


def judge(results: Results, first: str | None = None, second: str | None = None) -> tuple[Verdict, ...]:
    """Every metric's verdict on each task on which both arms run, then over all these where they are several.

    The arms are those of `choose_pair`; a suite of one arm, or two arms without a common task, have a row a metric that
    says so. Raises UserError for a label that is no arm.
    """
    pair = choose_pair(results, first, second)
    if pair is None or not (tasks := shared_tasks(results, pair)):
        return tuple(_no_pair(metric, pair or tuple(results.arms)) for metric in METRICS)
    return tuple(
        verdict
        for metric in METRICS
        for verdict in verdicts(metric, compare(results, metric, pair, tuple(tasks)), pair)
    )


def verdict_table(results: Results, first: str | None = None, second: str | None = None) -> pd.DataFrame:
    """`judge` as a frame: a row a verdict, a column a field; a number that does not exist is missing."""
    return table_of(judge(results, first, second))


def rows_of(judged: Sequence[Verdict]) -> list[dict[str, object]]:
    """Every field of every verdict, as JSON has it: None for what does not exist."""
    return [{name: getattr(one, name) for name in COLUMNS} for one in judged]


def table_of(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Verdicts as a frame."""
    return pd.DataFrame(rows_of(judged), columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))


def verdicts(metric: Metric, found: Mapping[str, Finding], pair: tuple[str, str]) -> list[Verdict]:
    """A metric's verdict on each finding: tasks are judged together, and the mean over them on its own."""
    tasks = [task for task in found if task != ALL_TASKS]
    return [
        _verdict(metric, task, found[task], pair, adjusted)
        for together in (tasks, [task for task in found if task == ALL_TASKS])
        for task, adjusted in zip(together, family([found[task].evidence for task in together]), strict=True)
    ]


def power_table(results: Results, first: str | None = None, second: str | None = None) -> pd.DataFrame:
    """What the seeds can show of the final held-out pass rate: a row a task, then one over all tasks.

    n pairs, `sd` of their differences, the smallest true difference that a paired t test at 5% shows with probability
    0.8, and the seeds that one of 0.05 needs; `reason` says what is missing. Over all tasks `sd` is that of a mean
    over tasks of a seed each, root of the sum of variances over the number of tasks, and `n` the smallest task's: with
    as few degrees of freedom as one task it errs on the side of more seeds. Nothing is adjusted for several tasks.
    """
    columns = ["task", "n", "sd", "smallest_effect", "seeds_needed", "reason"]
    pair = choose_pair(results, first, second)
    if pair is None or not (tasks := shared_tasks(results, pair)):
        reason = _no_comparison(pair or tuple(results.arms))
        return _power_frame([[ALL_TASKS, 0, math.nan, math.nan, None, reason]], columns)
    scores = final_scores(results, pair)
    samples = {task: paired_differences(*scores[task].both) for task in tasks}
    sds = {task: float(sample.std(ddof=1)) if len(sample) > 1 else math.nan for task, sample in samples.items()}
    counts = {task: len(sample) for task, sample in samples.items()}
    if len(samples) > 1:
        sds[ALL_TASKS] = math.sqrt(sum(sd**2 for sd in sds.values())) / len(sds)
        counts[ALL_TASKS] = min(counts.values())
    rows = []
    for task, sd in sds.items():
        n = counts[task]
        reason = f"{n} paired seed{'s' * (n != 1)}: a spread needs 2" if math.isnan(sd) else ""
        rows.append([task, n, sd, smallest_effect(sd, n), seeds_needed(sd), reason])
    return _power_frame(rows, columns)


def _power_frame(rows: list[list[object]], columns: list[str]) -> pd.DataFrame:
    """Seeds needed stay whole numbers, or None: a float would show 8.0, and pandas' own NA is no number to others."""
    return pd.DataFrame(rows, columns=columns, dtype=object).astype({"n": int, "sd": float, "smallest_effect": float})


def _verdict(metric: Metric, task: str, found: Finding, pair: tuple[str, str], adjusted: Adjusted) -> Verdict:
    verdict, reason = _rule(metric, found, pair, adjusted)
    if found.collapsed and metric is not COLLAPSES:  # which has these counts as its values
        reason += f"; collapsed runs: {found.collapsed}"
    return Verdict(
        metric=metric.name,
        task=task,
        unit=metric.unit,
        effect=found.evidence.effect,
        first=pair[0],
        second=pair[1],
        first_value=known(found.values[0]),
        second_value=known(found.values[1]),
        **numbers(found.evidence, adjusted),
        verdict=verdict,
        reason=reason,
        sentence=sentence(_parts(metric, task, found, pair), verdict, reason),
    )


def _rule(metric: Metric, found: Finding, pair: tuple[str, str], adjusted: Adjusted) -> tuple[str, str]:
    """The verdict and its reason."""
    evidence, note = found.evidence, f"; {found.note}" if found.note else ""
    words, second_wins = (f"{pair[0]} {metric.word}", f"{pair[1]} {metric.word}"), _second_wins(metric, evidence)
    if evidence.undefined:
        return UNDEFINED, evidence.undefined + note
    if metric is MEMORY and evidence.n:
        within = abs(math.log(evidence.estimate)) <= math.log(metric.margin)
        lead = f"the ratio is {'within' if within else 'beyond'} {metric.within}, without a test{note}"
        return (f"equivalent within {metric.within}" if within else words[second_wins]), lead
    if metric is MEMORY or (evidence.n == 0 and found.note):
        return NO_VERDICT, found.note
    if evidence.n < MIN_SEEDS:
        return NO_VERDICT, f"{metric.count(evidence.n)}, a verdict needs {MIN_SEEDS}{note}"
    if math.isnan(evidence.p):
        return NO_VERDICT, f"a task has one {metric.pair}: a spread needs 2{note}"
    verdict, reason = ruling(adjusted, words, second_wins, metric.within)
    return verdict, reason + note


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
            text = f"{second} {'less' if evidence.effect == DIFFERENCE else 'over'} {first} {text}"
        if not math.isnan(evidence.low):
            text += f", {LEVEL:.0%} interval {show(evidence.low)} to {show(evidence.high)}"
        several = "" if task != ALL_TASKS else " in all" if metric is SECONDS else " a task"
        parts += [text, f"n = {metric.count(evidence.n)}{several}, {evidence.test}"]
    return parts


def _title(metric: Metric) -> str:
    return f"{metric.name[0].upper()}{metric.name[1:]}"


def _no_pair(metric: Metric, arms: tuple[str, ...]) -> Verdict:
    """The row of a suite that has no two arms, or of two arms that have no task in common."""
    first, second = (*arms, None, None)[:2]
    reason = _no_comparison(arms)
    return Verdict(
        metric=metric.name,
        task=ALL_TASKS,
        unit=metric.unit,
        effect="none",
        first=first,
        second=second,
        first_value=None,
        second_value=None,
        **numbers(Evidence("none", 0), Adjusted(math.nan, math.nan)),
        verdict=NO_VERDICT,
        reason=reason,
        sentence=sentence([_title(metric)], NO_VERDICT, reason),
    )


def _no_comparison(arms: tuple[str, ...]) -> str:
    if len(arms) > 1:
        return f"{arms[0]} and {arms[1]} run on no common task"
    return f"the suite has {len(arms)} arm{'s' * (len(arms) != 1)}, {', '.join(arms) or 'none'}; a verdict needs two"

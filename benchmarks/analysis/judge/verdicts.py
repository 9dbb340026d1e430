"""Verdicts on two arms of a suite: every metric, task by task and over tasks, each in a sentence that can be quoted.

The rule is that of `verdicts`: below 8 pairs none; an arm is better where the p-value is below 0.05; else the arms are
equivalent where that of two one-sided tests is; else the data cannot tell. Both are adjusted by Holm over the tasks of
a metric. The row over all tasks is one question of its own. Metrics are not adjusted for their number. Peak memory is
compared without a test: beyond 5% an arm is lighter, within they are equivalent.

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
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import COLLAPSES, MEMORY, METRICS, SECONDS, Case, Metric, compare
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import choose_pair, final_scores, shared_tasks
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, NULL, SHARE, Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import LEVEL, holm, paired_differences
from ppo_vs_grpo.benchmarks.analysis.stats.power import seeds_needed, smallest_effect
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MIN_SEEDS, Outcome, ruling, show

NO_VERDICT, UNDEFINED = str(Outcome.NONE), "undefined"


@dataclass(frozen=True)
class Judgement:
    """What may be said of two arms by one metric on one task, or over all tasks.

    `estimate` is of `effect`: difference and ratio are of the second arm to the first, the share is that of pairs in
    which the second was earlier. `low` and `high` are its interval at `level`, not adjusted; `p` is adjusted, None
    where nothing was tested; `n` counts pairs: over all tasks those of the smallest one, of seconds those of all. A
    number that does not exist is None, and `reason` says why.
    """

    metric: str
    task: str
    unit: str
    effect: str
    first: str | None
    second: str | None
    first_value: float | None
    second_value: float | None
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


def judge(results: Results, first: str | None = None, second: str | None = None) -> tuple[Judgement, ...]:
    """Every metric's verdict on each task on which both arms run, then over all these where they are several.

    The arms are those of `choose_pair`; a suite of one arm, or two arms without a common task, have a row a metric that
    says so. Raises UserError for a label that is no arm.
    """
    pair = choose_pair(results, first, second)
    if pair is None or not shared_tasks(results, pair):
        return tuple(_nothing(metric, pair or tuple(results.arms)) for metric in METRICS)
    return tuple(
        judgement for metric, cases in compare(results, pair).items() for judgement in _family(metric, cases, pair)
    )


def judgement_table(results: Results, first: str | None = None, second: str | None = None) -> pd.DataFrame:
    """`judge` as a frame: a row a judgement, a column a field; a number that does not exist is missing."""
    return table_of(judge(results, first, second))


def table_of(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """Judgements as a frame."""
    columns = [field.name for field in fields(Judgement)]
    frame = pd.DataFrame([asdict(judgement) for judgement in judgements], columns=columns)
    numbers = ["first_value", "second_value", "estimate", "low", "high", "level", "p"]
    return frame.astype(dict.fromkeys(numbers, float))


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


def _family(metric: Metric, cases: Mapping[str, Case], pair: tuple[str, str]) -> list[Judgement]:
    """Judge a metric's tasks together, and the mean over them on its own."""
    tasks = [task for task in cases if task != ALL_TASKS]
    judged = []
    for family in (tasks, [task for task in cases if task == ALL_TASKS]):
        tested = [_tested(cases[task].evidence) for task in family]
        cell = [(cases[task].evidence.p, cases[task].evidence.same_p) for task in family]
        adjusted = [holm(np.where(tested, column, np.nan)) for column in np.array(cell, float).reshape(-1, 2).T]
        over = f" (Holm over {sum(tested)} tasks)" if sum(tested) > 1 else ""
        for task, p, same_p in zip(family, *adjusted, strict=True):
            judged.append(_judgement(metric, task, cases[task], pair, float(p), float(same_p), over))
    return judged


def _tested(evidence: Evidence) -> bool:
    return not evidence.undefined and evidence.n >= MIN_SEEDS and not math.isnan(evidence.p)


def _judgement(
    metric: Metric, task: str, case: Case, pair: tuple[str, str], p: float, same_p: float, over: str
) -> Judgement:
    evidence = case.evidence
    verdict, reason = _rule(metric, case, pair, p, same_p, over)
    if case.collapsed and metric is not COLLAPSES:  # which has these counts as its values
        reason += f"; collapsed runs: {case.collapsed}"
    numbers = [*case.values, evidence.estimate, evidence.low, evidence.high, p]
    first_value, second_value, estimate, low, high, adjusted = (x if math.isfinite(x) else None for x in numbers)
    return Judgement(
        metric=metric.name,
        task=task,
        unit=metric.unit,
        effect=evidence.effect,
        first=pair[0],
        second=pair[1],
        first_value=first_value,
        second_value=second_value,
        estimate=estimate,
        low=low,
        high=high,
        level=None if low is None or high is None else LEVEL,
        p=adjusted,
        n=evidence.n,
        test=evidence.test,
        verdict=verdict,
        reason=reason,
        sentence=_sentence(metric, task, case, pair, verdict, reason),
    )


def _rule(metric: Metric, case: Case, pair: tuple[str, str], p: float, same_p: float, over: str) -> tuple[str, str]:
    """The verdict and its reason, from p-values that are adjusted already."""
    evidence, note = case.evidence, f"; {case.note}" if case.note else ""
    words, second_wins = (f"{pair[0]} {metric.word}", f"{pair[1]} {metric.word}"), _second_wins(metric, evidence)
    if evidence.undefined:
        return UNDEFINED, evidence.undefined + note
    if metric is MEMORY and evidence.n:
        within = abs(math.log(evidence.estimate)) <= math.log(metric.margin)
        lead = f"the ratio is {'within' if within else 'beyond'} {metric.within}, without a test{note}"
        return (f"equivalent within {metric.within}" if within else words[second_wins]), lead
    if metric is MEMORY or (evidence.n == 0 and case.note):
        return NO_VERDICT, case.note
    if evidence.n < MIN_SEEDS:
        return NO_VERDICT, f"{metric.count(evidence.n)}, a verdict needs {MIN_SEEDS}{note}"
    if math.isnan(evidence.p):
        return NO_VERDICT, f"a task has one {metric.pair}: a spread needs 2{note}"
    _, text, reason = ruling(p, same_p, words, second_wins, metric.within, over=over)
    return text, reason + note


def _second_wins(metric: Metric, evidence: Evidence) -> bool:
    larger = evidence.estimate > NULL[evidence.effect]
    return larger == (metric.higher_is_better or evidence.effect == SHARE)


def _sentence(metric: Metric, task: str, case: Case, pair: tuple[str, str], verdict: str, reason: str) -> str:
    """One sentence with both values, the estimate, its interval, n, the test, the verdict and its reason."""
    evidence, (first, second) = case.evidence, pair
    where = "over all tasks" if task == ALL_TASKS else f"on {task}"
    parts = [f"{metric.name[0].upper()}{metric.name[1:]} {where} ({metric.unit}): {first} {case.shown[0]}, "]
    parts[0] += f"{second} {case.shown[1]}"
    if not math.isnan(evidence.estimate):
        amount = show(evidence.estimate)
        if evidence.effect == SHARE:
            amount = f"{second} earlier in {amount} of pairs, ties counted half"
        else:
            amount = f"{second} {'less' if evidence.effect == DIFFERENCE else 'over'} {first} {amount}"
        if not math.isnan(evidence.low):
            amount += f", {LEVEL:.0%} interval {show(evidence.low)} to {show(evidence.high)}"
        parts.append(amount)
        several = "" if task != ALL_TASKS else " in all" if metric is SECONDS else " a task"
        parts.append(f"n = {metric.count(evidence.n)}{several}, {evidence.test}")
    return f"{'; '.join(parts)}: {verdict}, since {reason}."


def _nothing(metric: Metric, arms: tuple[str, ...]) -> Judgement:
    """The row of a suite that has no two arms, or of two arms that have no task in common."""
    first, second = (*arms, None, None)[:2]
    reason, no_numbers = _no_comparison(arms), (None,) * 7
    sentence = f"{metric.name[0].upper()}{metric.name[1:]}: {NO_VERDICT}, since {reason}."
    about = (metric.name, ALL_TASKS, metric.unit, "none", first, second)
    return Judgement(*about, *no_numbers, 0, "none", NO_VERDICT, reason, sentence)


def _no_comparison(arms: tuple[str, ...]) -> str:
    if len(arms) > 1:
        return f"{arms[0]} and {arms[1]} run on no common task"
    return f"the suite has {len(arms)} arm{'s' * (len(arms) != 1)}, {', '.join(arms) or 'none'}; a verdict needs two"

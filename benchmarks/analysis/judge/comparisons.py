"""Two arms compared over some tasks, one function per kind of comparison: values, evidence, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.finding import Finding
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import (
    Paired,
    all_runs,
    collapses,
    crossings,
    final_scores,
    gradient_moments,
    peak_megabytes,
    threshold,
    timed_seconds,
)
from ppo_vs_grpo.benchmarks.analysis.stats.curves import Crossing, reaching
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import (
    RATIO,
    Evidence,
    arrival_evidence,
    mcnemar_evidence,
    mean_evidence,
    noise_sample,
    paced_evidence,
    spread_evidence,
)
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import Array, clopper_pearson, paired_differences
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MARGIN, show

ARMS = ("first_S", "second_S")
TIMED = "timing run that had the machine to itself"
FACTOR = 1.25
"""Spreads, noise scales and times to a threshold within this factor of each other count as equivalent."""
COST_FACTOR = 1.05
"""The same of memory and seconds, which hardly differ between repeats."""

Pair = tuple[str, str]
Compare = Callable[[Results, Pair, Sequence[str]], Finding]
"""Of results, the two arms, and tasks on which both run."""


def of_scores(column: str, what: str) -> Compare:
    """Means of a column of `Results.score_matrix`, compared by their difference."""

    def compare(results: Results, pair: Pair, tasks: Sequence[str]) -> Finding:
        scores = final_scores(results, pair, column)
        found = means([scores[task] for task in tasks], pair, what, MARGIN)
        return replace(found, flat=_flat(results, pair, tasks))

    return compare


def _flat(results: Results, pair: Pair, tasks: Sequence[str]) -> str:
    """That neither arm's mean final pass rate is above its start; empty where one is, or where it is not known."""
    gained = final_scores(results, pair, "gain_pass_rate")
    pairs = [gained[task] for task in tasks]
    gains = [_mean(np.array([_mean(one.both[i]) for one in pairs])) for i in (0, 1)]
    if not all(gain <= 0 for gain in gains):
        return ""
    each = ", ".join(f"{arm} by {show(gain)}" for arm, gain in zip(pair, gains, strict=True))
    return f"neither arm ends above its start: {each}"


def of_seconds(results: Results, pair: Pair, tasks: Sequence[str]) -> Finding:
    """Seconds of the timing pass, compared by their ratio."""
    seconds = timed_seconds(results, pair)
    return means([seconds[task] for task in tasks], pair, TIMED, COST_FACTOR, ratio=True)


def means(pairs: list[Paired], pair: Pair, what: str, margin: float, *, ratio: bool = False) -> Finding:
    """Means, compared by the pairs' differences; with `ratio`, as of seconds, geometric means by their log ratios.

    Over tasks, pairs of repeats count together: a repeat is no seed, only the same work timed again, and the minimum of
    pairs is the seeds' (`verdicts` has the reasons). The test stays the one over tasks, with a degree of freedom less
    than repeats for each.
    """
    scale: Callable[[Array], Array] = np.log if ratio else np.asarray
    samples = [paired_differences(*(scale(values) for values in one.both)) for one in pairs]
    average = _geometric if ratio else _mean
    note = _missing(pairs, pair, what, "repeat" if ratio else "seed")
    evidence = mean_evidence(samples, margin, ratio=ratio)
    if ratio:
        evidence = replace(evidence, n=sum(map(len, samples)))
    return _of_values(evidence, pairs, pair, (average, average), note)


def of_spreads(results: Results, pair: Pair, tasks: Sequence[str]) -> Finding:
    """Mean distances of final scores from their median over seeds, compared by their ratio."""
    scores = final_scores(results, pair)
    pairs = [scores[task] for task in tasks]
    evidence = spread_evidence([one.both for one in pairs], FACTOR)
    return _of_values(evidence, pairs, pair, (_distance, _geometric), _missing(pairs, pair, "final score"))


def of_collapses(results: Results, pair: Pair, tasks: Sequence[str]) -> Finding:
    """Shares of collapsed runs: they are of all an arm's runs, the test is of the pairs."""
    collapsed = collapses(results, pair)
    pairs = [collapsed[task] for task in tasks]
    both = [np.concatenate(arm) for arm in zip(*(one.both for one in pairs), strict=True)]
    arms = all_runs(pairs)
    shares = [clopper_pearson(int(values.sum()), len(values)) for values in arms]
    shown = [
        f"{values.sum():.0f} of {len(values)} runs ({share.low:.0%} to {share.high:.0%})" if len(values) else "no runs"
        for values, share in zip(arms, shares, strict=True)
    ]
    evidence = mcnemar_evidence(both[0], both[1], min(one.n for one in pairs))
    note = _missing(pairs, pair, "known outcome")
    return _finding(evidence, pair, [share.share for share in shares], shown, note)


def of_noise(results: Results, pair: Pair, tasks: Sequence[str]) -> Finding:
    """Gradient noise scales half-way, compared by their ratio."""
    probed = gradient_moments(results, pair)
    samples, scales, undefined = [], [], ""
    for trace, signal in (probed[task] for task in tasks):
        there = ~np.isnan(trace.first_S + trace.second_S + signal.first_S + signal.second_S)
        traces, signals = ([getattr(one, name)[there] for name in ARMS] for one in (trace, signal))
        found = [t.sum() / s.sum() if s.sum() > 0 else math.nan for t, s in zip(traces, signals, strict=True)]
        scales.append(found)
        lost = [arm for arm, scale in zip(pair, found, strict=True) if math.isnan(scale)] if there.any() else []
        if lost:
            undefined = f"the summed |g|^2 of {' and of '.join(lost)} is not above 0: noise hides the signal"
        elif there.any():
            sample = noise_sample((traces[0], traces[1]), (signals[0], signals[1]))
            if sample is None:
                undefined = "a sum is not above 0 once some one seed is left out: one seed carries the estimate"
            else:
                samples.append(sample)
    evidence = mean_evidence(samples, FACTOR, ratio=True) if samples else Evidence(RATIO, 0)
    evidence = replace(evidence, test=evidence.test.replace("paired t test", "t test of jackknife values"))
    if undefined:
        evidence = Evidence(RATIO, evidence.n, undefined=undefined)
    values = [_geometric(np.array(arm)) for arm in zip(*scales, strict=True)]
    both = [probed[task] for task in tasks]
    there_S = [Paired(t.seeds, t.first_S + s.first_S, t.second_S + s.second_S) for t, s in both]
    note = _missing(there_S, pair, "gradient probe at mid-run")
    return _finding(evidence, pair, values, [show(value) for value in values], note)


def of_memory(results: Results, pair: Pair, tasks: Sequence[str]) -> Finding:
    """Peaks of memory, compared by their ratio, without a test."""
    peaks = [peak_megabytes(results, pair, task) for task in tasks]
    arms = [[first for _, first, _ in peaks], [second for _, _, second in peaks]]
    values = [_geometric(np.array([_mean(task) for task in arm])) for arm in arms]
    shown, counts = [show(value) for value in values], [min(map(len, arm)) for arm in arms]
    gone = [name for name, count in zip(pair, counts, strict=True) if not count]
    if gone:
        note = f"no peak of {' and of '.join(gone)} was measured alone on the machine"
    else:
        note = f"peak of {' or '.join(sorted({what for what, *_ in peaks}))}"
    if len(peaks) == 1 and not gone:
        spans = [f"{show(arm.min())} to {show(arm.max())}" for (arm,) in arms]
        shown = [f"{value} ({span})" for value, span in zip(shown, spans, strict=True)]
    evidence = Evidence(RATIO, min(counts), test="no test needed")
    if 0 in values:
        evidence = replace(evidence, undefined="a peak of 0 MB has no ratio")
    else:
        evidence = replace(evidence, estimate=values[1] / values[0])
    return _finding(evidence, pair, values, shown, note)


def of_arrivals(results: Results, pair: Pair, tasks: Sequence[str]) -> Finding:
    """How many completions each run had spent when it reached its task's threshold.

    Geometric means of the pairs where every run got there, else medians with the rest infinitely late.
    """
    places = crossings(results, pair)
    pairs = [places[task] for task in tasks]
    evidence = arrival_evidence([one.both for one in pairs], FACTOR)
    arms = all_runs(pairs)
    values = [math.nan, math.nan]
    if evidence.effect == RATIO and evidence.n:
        values = [_geometric(np.array([_geometric(one.both[i]) for one in pairs])) for i in (0, 1)]
    elif len(tasks) == 1:
        values = [reaching([Crossing(x, bool(np.isfinite(x))) for x in arm]).median for arm in arms]
    values = [value if math.isfinite(value) else math.nan for value in values]
    counted = [f"{np.isfinite(arm).sum()} of {len(arm)} runs got there" for arm in arms]
    shown = [f"{show(v)} ({c})" if not math.isnan(v) else c for v, c in zip(values, counted, strict=True)]
    note = _missing(pairs, pair, "curve")
    if len(tasks) == 1:
        evidence, note = _with_threshold(results, pair, tasks[0], evidence, note)
    return _finding(evidence, pair, values, shown, note)


def of_seconds_to(results: Results, pair: Pair, tasks: Sequence[str]) -> Finding:
    """Seconds to a task's threshold: completions of seeds, times seconds a completion of the timing pass's repeats."""
    places, paces = crossings(results, pair), timed_seconds(results, pair)
    untimed = [task for task in tasks if not paces[task].n]
    if untimed:
        note = _missing([paces[task] for task in untimed[:1]], pair, TIMED, "repeat")
        return _finding(Evidence(RATIO, 0), pair, [math.nan, math.nan], ["unknown"] * 2, note)
    pairs = [places[task] for task in tasks]
    evidence = paced_evidence([one.both for one in pairs], [paces[task].both for task in tasks], FACTOR)
    values = [math.nan, math.nan]
    if evidence.n and not evidence.undefined:
        spent = [[_geometric(places[t].both[i]) * _geometric(paces[t].both[i]) / 1000 for t in tasks] for i in (0, 1)]
        values = [_geometric(np.array(arm)) for arm in spent]
    note = _missing(pairs, pair, "curve")
    if len(tasks) == 1:
        evidence, note = _with_threshold(results, pair, tasks[0], evidence, note)
    return _finding(evidence, pair, values, [show(value) for value in values], note)


def _with_threshold(results: Results, pair: Pair, task: str, evidence: Evidence, note: str) -> tuple[Evidence, str]:
    """The evidence and the note of one task, with its threshold or the reason why it has none."""
    goal = threshold(results, pair, task)
    if not math.isnan(goal.value):
        return evidence, f"threshold {show(goal.value)}{'; ' * bool(note)}{note}"
    why = "it takes a start and a final score"
    if not math.isnan(goal.start + goal.best):
        why = f"the best mean final pass rate, {show(goal.best)}, is not above the mean start, {show(goal.start)}"
    return replace(evidence, undefined=f"no threshold: {why}"), ""


def _finding(evidence: Evidence, pair: Pair, values: Sequence[float], shown: Sequence[str], note: str) -> Finding:
    """A finding on two arms, with the text that a sentence shows of each value."""
    texts = ", ".join(f"{arm} {text}" for arm, text in zip(pair, shown, strict=True))
    return Finding(evidence, texts, note, (values[0], values[1]))


def _of_values(
    evidence: Evidence, pairs: list[Paired], pair: Pair, average: tuple[Callable[[Array], float], ...], note: str
) -> Finding:
    """A finding from values per run: average over an arm's runs of a task first, then over its tasks."""
    value, over = average
    values = []
    for i, name in enumerate(ARMS):
        of_task = [one.both[i] if one.n else getattr(one, name) for one in pairs]
        values.append(over(np.array([value(found[~np.isnan(found)]) for found in of_task])))
    return _finding(evidence, pair, values, [show(value) for value in values], note)


def _missing(pairs: list[Paired], pair: Pair, what: str, unit: str = "seed") -> str:
    """Which runs of a task have no value, in words; of several tasks nothing, their rows say it."""
    if len(pairs) > 1:
        return ""
    lacking = pairs[0].lacking(*pair, unit)
    return f"no {what} of {lacking}" if lacking else ""


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else math.nan


def _distance(values: Array) -> float:
    """The mean distance from the median."""
    return float(np.abs(values - np.median(values)).mean()) if len(values) > 1 else math.nan


def _geometric(values: Array) -> float:
    """The geometric mean; NaN of nothing, and 0 where a value is."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(values).mean())) if len(values) else math.nan

"""Each metric of two arms, task by task and over tasks: both values, the evidence, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import (
    Paired,
    Threshold,
    all_runs,
    collapse_count,
    collapses,
    crossings,
    final_scores,
    gradient_moments,
    peak_megabytes,
    shared_tasks,
    threshold,
    timed_seconds,
)
from ppo_vs_grpo.benchmarks.analysis.stats.curves import Crossing, reaching
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import (
    DIFFERENCE,
    RATIO,
    Evidence,
    arrival_evidence,
    mcnemar_evidence,
    mean_evidence,
    noise_sample,
    spread_evidence,
)
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import Array, clopper_pearson, paired_differences
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MARGIN, show

ARMS = ("first_S", "second_S")
FACTOR = 1.25
"""Spreads, noise scales and times to a threshold within this factor of each other count as equivalent."""
COST_FACTOR = 1.05
"""The same of memory and seconds, which hardly differ between repeats."""


@dataclass(frozen=True)
class Metric:
    """What is compared, and what the arm is called that does better: `margin` is a difference, or a factor above 1."""

    name: str
    unit: str
    word: str
    margin: float
    higher_is_better: bool = False
    pair: str = "paired seed"

    def count(self, n: int) -> str:
        """How many pairs, such as `8 paired seeds`."""
        return f"{n} {self.pair}{'s' * (n != 1)}"

    @property
    def within(self) -> str:
        """The margin in words."""
        if self.margin == COST_FACTOR:
            return f"{self.margin - 1:.0%}"
        return f"a factor of {self.margin:g}" if self.margin > 1 else f"{self.margin:g}"


FINAL = Metric("final held-out pass rate", "share", "better", MARGIN, True)
AREA = Metric("area under the curve", "share", "better", MARGIN, True)
SPREAD = Metric("seed spread of the final pass rate", "share", "steadier", FACTOR)
COLLAPSES = Metric("collapsed runs", "share", "better", MARGIN)
NOISE = Metric("gradient noise scale at mid-run", "prompt groups", "steadier", FACTOR)
MEMORY = Metric("peak memory", "MB", "lighter", COST_FACTOR, pair="run")
SECONDS = Metric("seconds per 1,000 completions", "s", "faster", COST_FACTOR, pair="paired repeat")
COMPLETIONS_TO = Metric("completions to the threshold", "completions", "faster", FACTOR)
SECONDS_TO = Metric("seconds to the threshold at the measured mean pace", "s", "faster", FACTOR)
METRICS = (FINAL, AREA, SPREAD, COLLAPSES, NOISE, MEMORY, SECONDS, COMPLETIONS_TO, SECONDS_TO)


@dataclass(frozen=True)
class Case:
    """One comparison: the arms' values (NaN where there is none), how a sentence shows them, and what is missing.

    Values of means are those of the pairs, so that they agree with the estimate; without any pair, of all an arm's
    runs. `collapsed` counts both arms' collapsed runs in words; it is empty where there are none.
    """

    evidence: Evidence
    values: tuple[float, float]
    shown: tuple[str, str]
    note: str = ""
    collapsed: str = ""


def compare(results: Results, pair: tuple[str, str]) -> dict[Metric, dict[str, Case]]:
    """Every metric's cases by task on which both arms run, the last over all of these where they are several."""
    tasks = shared_tasks(results, pair)
    finals, areas = final_scores(results, pair), final_scores(results, pair, "area_pass_rate")
    seconds, collapsed, probed = timed_seconds(results, pair), collapses(results, pair), gradient_moments(results, pair)
    timed = "timing run that had the machine to itself"
    peaks = {task: peak_megabytes(results, pair, task) for task in tasks}
    arrivals = {budget: crossings(results, pair, budget) for budget in ("completions", "seconds")}
    thresholds = {task: threshold(results, pair, task) for task in tasks}
    cases: dict[Metric, Callable[[list[str]], Case]] = {
        FINAL: lambda some: _means([finals[task] for task in some], pair, "final score", MARGIN),
        AREA: lambda some: _means([areas[task] for task in some], pair, "area", MARGIN),
        SPREAD: lambda some: _spread([finals[task] for task in some], pair),
        COLLAPSES: lambda some: _collapsed([collapsed[task] for task in some], pair),
        NOISE: lambda some: _noise([probed[task] for task in some], pair),
        MEMORY: lambda some: _memory([peaks[task] for task in some], pair),
        SECONDS: lambda some: _means([seconds[task] for task in some], pair, timed, COST_FACTOR, ratio=True),
        COMPLETIONS_TO: lambda some: _arrival(arrivals["completions"], thresholds, some, pair, "curve"),
        SECONDS_TO: lambda some: _arrival(
            arrivals["seconds"], thresholds, some, pair, "curve over seconds measured alone on the machine"
        ),
    }
    counts = {task: collapse_count([collapsed[task]], pair) for task in tasks}
    counts[ALL_TASKS] = collapse_count([collapsed[task] for task in tasks], pair)
    return {
        metric: {task: replace(one, collapsed=counts[task]) for task, one in _by_task(tasks, case).items()}
        for metric, case in cases.items()
    }


def _by_task(tasks: list[str], case: Callable[[list[str]], Case]) -> dict[str, Case]:
    """Each task's case, and the one over all: estimated over the tasks that have one, judged only if all do."""
    cases = {task: case([task]) for task in tasks}
    done = [task for task, one in cases.items() if one.evidence.n and not one.evidence.undefined]
    if len(tasks) > 1:
        whole = case(done) if done else Case(Evidence(DIFFERENCE, 0), (math.nan, math.nan), ("unknown", "unknown"))
        if len(done) < len(tasks):
            gone = ", ".join(task for task in tasks if task not in done)
            note = f"no comparison on {gone}: a mean over tasks needs every task"
            whole = replace(whole, evidence=replace(whole.evidence, n=0), note=note)
        cases[ALL_TASKS] = whole
    return cases


def _means(pairs: list[Paired], pair: tuple[str, str], what: str, margin: float, *, ratio: bool = False) -> Case:
    """Means, compared by the pairs' differences; with `ratio`, as of seconds, geometric means by their log ratios.

    Over tasks, pairs of repeats count together: a repeat is no seed, only the same work timed again, and the minimum of
    pairs is the seeds' (`judging` has the reasons). The test stays the one over tasks, with a degree of freedom less
    than repeats for each.
    """
    scale: Callable[[Array], Array] = np.log if ratio else np.asarray
    samples = [paired_differences(*(scale(values) for values in one.both)) for one in pairs]
    average = _geometric if ratio else _mean
    note = _missing(pairs, pair, what, "repeat" if ratio else "seed")
    evidence = mean_evidence(samples, margin, ratio=ratio)
    if ratio:
        evidence = replace(evidence, n=sum(map(len, samples)))
    return _case(evidence, pairs, average, average, note)


def _spread(pairs: list[Paired], pair: tuple[str, str]) -> Case:
    evidence = spread_evidence([one.both for one in pairs], FACTOR)
    return _case(evidence, pairs, _sd, _geometric, _missing(pairs, pair, "final score"))


def _collapsed(pairs: list[Paired], pair: tuple[str, str]) -> Case:
    """Shares are of all an arm's runs, the test is of the pairs."""
    both = [np.concatenate(arm) for arm in zip(*(one.both for one in pairs), strict=True)]
    arms = all_runs(pairs)
    shares = [clopper_pearson(int(values.sum()), len(values)) for values in arms]
    shown = [
        f"{values.sum():.0f} of {len(values)} runs ({share.low:.0%} to {share.high:.0%})" if len(values) else "no runs"
        for values, share in zip(arms, shares, strict=True)
    ]
    evidence = mcnemar_evidence(both[0], both[1], min(one.n for one in pairs))
    note = _missing(pairs, pair, "known outcome")
    return Case(evidence, (shares[0].share, shares[1].share), (shown[0], shown[1]), note)


def _noise(probed: list[tuple[Paired, Paired]], pair: tuple[str, str]) -> Case:
    samples, scales, undefined = [], [], ""
    for trace, signal in probed:
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
    known = [Paired(t.seeds, t.first_S + s.first_S, t.second_S + s.second_S) for t, s in probed]
    note = _missing(known, pair, "gradient probe at mid-run")
    return Case(evidence, (values[0], values[1]), (show(values[0]), show(values[1])), note)


def _memory(peaks: list[tuple[str, Array, Array]], pair: tuple[str, str]) -> Case:
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
    return Case(evidence, (values[0], values[1]), (shown[0], shown[1]), note)


def _arrival(
    places: Mapping[str, Paired], thresholds: Mapping[str, Threshold], some: list[str], pair: tuple[str, str], what: str
) -> Case:
    """Geometric means of the pairs where every run got there, else medians with the rest infinitely late."""
    pairs = [places[task] for task in some]
    evidence = arrival_evidence([one.both for one in pairs], FACTOR)
    arms = all_runs(pairs)
    values = [math.nan, math.nan]
    if evidence.effect == RATIO and evidence.n:
        values = [_geometric(np.array([_geometric(one.both[i]) for one in pairs])) for i in (0, 1)]
    elif len(some) == 1:
        values = [reaching([Crossing(x, bool(np.isfinite(x))) for x in arm]).median for arm in arms]
    values = [value if math.isfinite(value) else math.nan for value in values]
    counted = [f"{np.isfinite(arm).sum()} of {len(arm)} runs got there" for arm in arms]
    shown = [f"{show(v)} ({c})" if not math.isnan(v) else c for v, c in zip(values, counted, strict=True)]
    note = _missing(pairs, pair, what)
    if len(some) == 1:
        goal = thresholds[some[0]]
        why = "it takes a start and a final score"
        if not math.isnan(goal.start + goal.best):
            why = f"the best mean final pass rate, {show(goal.best)}, is not above the mean start, {show(goal.start)}"
        if math.isnan(goal.value):
            evidence, note = replace(evidence, undefined=f"no threshold: {why}"), ""
        else:
            note = f"threshold {show(goal.value)}{'; ' * bool(note)}{note}"
    return Case(evidence, (values[0], values[1]), (shown[0], shown[1]), note)


def _case(
    evidence: Evidence, pairs: list[Paired], value: Callable[[Array], float], over: Callable[[Array], float], note: str
) -> Case:
    """A case of values per task and arm and, over tasks, their average."""
    values = []
    for i, name in enumerate(ARMS):
        of_task = [one.both[i] if one.n else getattr(one, name) for one in pairs]
        values.append(over(np.array([value(found[~np.isnan(found)]) for found in of_task])))
    return Case(evidence, (values[0], values[1]), (show(values[0]), show(values[1])), note)


def _missing(pairs: list[Paired], pair: tuple[str, str], what: str, unit: str = "seed") -> str:
    """Which runs of a task have no value, in words; of several tasks nothing, their rows say it."""
    if len(pairs) > 1:
        return ""
    lacking = pairs[0].lacking(*pair, unit)
    return f"no {what} of {lacking}" if lacking else ""


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else math.nan


def _sd(values: Array) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _geometric(values: Array) -> float:
    """The geometric mean; NaN of nothing, and 0 where a value is."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(values).mean())) if len(values) else math.nan

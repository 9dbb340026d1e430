"""The difference in full: two arms' final held-out pass rate in every way that is usual, and what seeds can show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair, shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import final_scores
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import no_comparison
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import (
    aggregates,
    improvement,
    paired_differences,
    satterthwaite_interval,
    sign_flip_test,
    standardised_effect,
    t_interval,
)
from ppo_vs_grpo.benchmarks.analysis.stats.power import seeds_needed, smallest_effect

COLUMNS = (
    *("task", "n", "difference", "low", "high", "sign_flip_p", "smallest_p", "share_higher", "share_low", "share_high"),
    *("standardised", "iqm_difference"),
)


def difference_table(results: Results, first: str | None = None, second: str | None = None) -> pd.DataFrame:
    """A row a task, and one over all where there are several: second arm less first, over paired seeds.

    `difference` is the mean with its 95% t interval (over all tasks the equal-weight mean, Satterthwaite's);
    `sign_flip_p` the exact test's, `smallest_p` the least it could be with so many seeds; `share_higher` the chance
    that the second arm ends higher, ties counted half, with its exact interval; `standardised` Cohen's d_z;
    `iqm_difference` that of the interquartile means of all an arm's runs. Over all tasks the middle ones are of seeds
    averaged over tasks, of seeds that have them all. Empty without two arms.
    """
    pair = choose_pair(results, first, second)
    scored = final_scores(results, pair) if pair else {}
    found = {task: scored[task] for task in shared_tasks(results, pair)} if pair else {}
    rows = []
    for task, scores in found.items():
        sample = paired_differences(*scores.both)
        interval = t_interval(sample)
        rows.append(_row(task, interval.n, (interval.mean, interval.low, interval.high), sample))
        rows[-1]["iqm_difference"] = aggregates(scores.second_S[:, None]).iqm - aggregates(scores.first_S[:, None]).iqm
    if len(found) > 1:
        interval = satterthwaite_interval([paired_differences(*scores.both) for scores in found.values()])
        firsts, seconds = (
            np.stack([getattr(scores, name) for scores in found.values()], axis=1) for name in ("first_S", "second_S")
        )
        sample = paired_differences(firsts.mean(axis=1), seconds.mean(axis=1))
        rows.append(_row(ALL_TASKS, interval.n, (interval.mean, interval.low, interval.high), sample))
        rows[-1]["iqm_difference"] = aggregates(seconds).iqm - aggregates(firsts).iqm
    return pd.DataFrame(rows, columns=list(COLUMNS))


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
        reason = no_comparison(pair or tuple(results.arms))
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


def _row(task: str, n: int, mean: tuple[float, float, float], sample: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, math.nan)
    row |= {"task": task, "n": n, "difference": mean[0], "low": mean[1], "high": mean[2]}
    if len(sample):
        flips, higher = sign_flip_test(sample, np.random.default_rng(0)), improvement(sample)
        row |= {"sign_flip_p": flips.p, "smallest_p": flips.smallest, "standardised": standardised_effect(sample)}
        row |= {"share_higher": higher.share, "share_low": higher.low, "share_high": higher.high}
    return row

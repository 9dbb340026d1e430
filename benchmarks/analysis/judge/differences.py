"""The difference in full: that of two arms' final held-out pass rate, looked at in every way that is usual."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair, shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import final_scores
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import (
    aggregates,
    improvement,
    paired_differences,
    satterthwaite_interval,
    sign_flip_test,
    standardised_effect,
    t_interval,
)

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


def _row(task: str, n: int, mean: tuple[float, float, float], sample: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, math.nan)
    row |= {"task": task, "n": n, "difference": mean[0], "low": mean[1], "high": mean[2]}
    if len(sample):
        flips, higher = sign_flip_test(sample, np.random.default_rng(0)), improvement(sample)
        row |= {"sign_flip_p": flips.p, "smallest_p": flips.smallest, "standardised": standardised_effect(sample)}
        row |= {"share_higher": higher.share, "share_low": higher.low, "share_high": higher.high}
    return row

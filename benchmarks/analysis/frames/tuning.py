"""What a search for settings says of its arms: how much a score depends on them, and what finding good ones takes.

The trials are those that a tuned suite carries (`tuned` in its lock). Where a table speaks of settings in general it
takes the trials that were drawn at random: those that were sought crowd where scores are high. All scores are of
tuning's prompts and few seeds; the tuned suite's own runs say how good its settings are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results, kept
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import Array, t_interval

COLLAPSED = 0.5
"""A trial has collapsed where it ends below this share of its start, as a run has."""

NEAR = 0.95
"""How near to the best of all trials a search has to come."""

RATE = "train.learning_rate"
BINS = 4
"""Parts into which the learning rates are cut, equally wide on a logarithmic scale."""


def searched(results: Results) -> bool:
    """Whether the suite carries the trials of a search."""
    return bool((results.suite.get("tuned") or {}).get("arms"))


@kept
def trials(results: Results) -> pd.DataFrame:
    """A row per trial and task, and one over all tasks: arm, trial, its place in the search, whether it was drawn at
    random, status, score (NaN where a run failed), start, completions, and the learning rate (NaN: not sought)."""
    tuned = results.suite.get("tuned") or {}
    starts = dict(tuned.get("starts") or {})
    tasks = [task for task in results.tasks if task in starts]
    rows = []
    for arm, records in (tuned.get("arms") or {}).items():
        for place, record in enumerate(records):
            shared = {name: record[name] for name in ("trial", "random", "status", "completions")}
            rate = record["settings"].get(RATE, math.nan)
            for task in tasks:
                score = record["scores"].get(task, math.nan)
                row = {"arm": arm, "task": task, "place": place, "score": score, "start": starts[task]}
                rows.append(row | shared | {"learning_rate": rate})
    columns = ("arm", "task", "place", "score", "start", "trial", "random", "status", "completions", "learning_rate")
    frame = pd.DataFrame(rows, columns=list(columns))
    if len(tasks) < 2:
        return frame
    identity = ["arm", "place", "trial", "random", "status", "completions", "learning_rate"]
    over = frame.groupby(identity, sort=False, dropna=False, as_index=False)[["score", "start"]].mean()
    return pd.concat([frame, over.assign(task=ALL_TASKS)[list(columns)]], ignore_index=True)


def drawn(results: Results, arm: str, task: str) -> Array:
    """Scores of the trials that were drawn at random, in the order of the search."""
    table = trials(results)
    here = table[(table["arm"] == arm) & (table["task"] == task) & table["random"].astype(bool)]
    scores: Array = here["score"].dropna().to_numpy(float)
    return scores


def places(results: Results) -> list[str]:
    """The tasks of the trials, and all of them together where there are several."""
    return list(dict.fromkeys(trials(results)["task"]))


def sensitivity(results: Results) -> pd.DataFrame:
    """A row per task and arm: the score with its own settings, quartiles of the random ones, share collapsed, best."""
    table, rows = trials(results), []
    for task in places(results):
        for arm in dict.fromkeys(table["arm"]):
            here = table[(table["arm"] == arm) & (table["task"] == task)]
            scores, own = drawn(results, arm, task), here.loc[here["place"] == 0, "score"].iloc[0]
            row = {"task": task, "arm": arm, "random trials": len(scores), "own settings": own}
            if len(scores):
                quarter, median, three = np.quantile(scores, [0.25, 0.5, 0.75])
                fallen = float((scores < COLLAPSED * here["start"].iloc[0]).mean())
                row |= {"median": median, "lower quartile": quarter, "upper quartile": three, "collapsed": fallen}
            rows.append(row | {"best of all": here["score"].max(), "trials": len(here)})
    return pd.DataFrame(rows)


def by_learning_rate(results: Results) -> pd.DataFrame:
    """A row per arm and part of its range of learning rates: random trials, mean score over tasks, 95% t interval."""
    table, rows = trials(results), []
    over = places(results)[-1:]
    table = table[table["task"].isin(over) & table["random"].astype(bool)].dropna(subset=["score", "learning_rate"])
    for arm, here in table.groupby("arm", sort=False):
        rates, scores = here["learning_rate"].to_numpy(float), here["score"].to_numpy(float)
        ends = np.geomspace(rates.min(), rates.max(), BINS + 1)
        part = np.clip(np.searchsorted(ends, rates, side="right") - 1, 0, BINS - 1)
        for place in range(BINS):
            inside = scores[part == place]
            found = t_interval(inside)
            row = {"arm": arm, "from": ends[place], "to": ends[place + 1], "random trials": len(inside)}
            rows.append(row | {"mean score": found.mean, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def importances(results: Results) -> pd.DataFrame:
    """A row per arm and setting: the share of the scores' variance that comes with it alone, the largest first."""
    found = (results.suite.get("tuned") or {}).get("importances") or {}
    rows = [
        {"arm": arm, "setting": key, "share": share}
        for arm, shares in found.items()
        for key, share in sorted(shares.items(), key=lambda one: -one[1])
    ]
    return pd.DataFrame(rows, columns=["arm", "setting", "share"])


def one_or_each(results: Results) -> pd.DataFrame:
    """A row an arm: the best single setting's score over all tasks, and the mean of the best of each task."""
    table, rows = trials(results), []
    for arm, here in table.groupby("arm", sort=False):
        if ALL_TASKS not in set(here["task"]):
            continue
        best = here.groupby("task", sort=False)["score"].max()
        each = float(best.drop(ALL_TASKS).mean())
        one = float(best[ALL_TASKS])
        rows.append({"arm": arm, "one for all tasks": one, "one for each task": each, "gain": each - one})
    return pd.DataFrame(rows)


def expected_best(scores: Array | Sequence[float]) -> Array:
    """The mean best score of k of these trials, for k from 1 to all, over every choice of k.

    The largest of k is the i-th smallest in C(i - 1, k - 1) of C(n, k) choices (the expected maximum of Dodge et al.
    2019, arXiv 1909.03004, without its replacement).
    """
    ordered = np.sort(np.asarray(scores, float))
    n = len(ordered)
    return np.array(
        [sum(math.comb(i, k - 1) * score for i, score in enumerate(ordered)) / math.comb(n, k) for k in range(1, n + 1)]
    )


def search_cost(results: Results) -> pd.DataFrame:
    """A row an arm: how many random trials, and completions, until their best is expected near the best of all."""
    table, rows = trials(results), []
    over = places(results)[-1] if len(table) else ""
    for arm, here in table[table["task"] == over].groupby("arm", sort=False):
        scores, best = drawn(results, str(arm), over), float(here["score"].max())
        if not len(scores):
            continue
        expected = expected_best(scores)
        near = np.flatnonzero(expected >= NEAR * best)
        each = float(here["completions"].mean())
        count = int(near[0]) + 1 if len(near) else None
        row = {"arm": arm, "best of all": best, "one random trial": expected[0], "all random trials": expected[-1]}
        row |= {"trials to 95% of the best": count, "completions": count and round(count * each)}
        rows.append(row)
    return pd.DataFrame(rows)

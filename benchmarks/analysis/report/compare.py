"""Two results folders side by side: a suite at two commits or on two machines, or suites with common arms."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames import outcomes
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report import tables
from ppo_vs_grpo.tasks.errors import UserError

MEASURES = {"start": "start", "final": "final", "seconds_per_1000": "s per 1,000", "peak_memory_mb": "peak MB"}
"""Columns of the summary that are compared, and how the comparison calls them."""


def compare(one: Results, other: Results) -> pd.DataFrame:
    """A row per task, arm and measure that both folders have: each one's mean, their difference, and runs.

    `paired_se` is the standard error of the mean difference over the seeds that both have, of the final score only:
    elsewhere, and with fewer than two such seeds, it does not exist. UserError where nothing is common.
    """
    left, right = (outcomes.summary(results).set_index(["task", "arm"]) for results in (one, other))
    common = [place for place in left.index if place in right.index]
    if not common:
        raise UserError(
            f"compare: {one.name} has {_named(left)}, {other.name} has {_named(right)}: no task and arm in common"
        )
    scores = [results.score_matrix() for results in (one, other)]
    rows = []
    for task, arm in common:
        a, b = left.loc[(task, arm)], right.loc[(task, arm)]
        pairs = (scores[1][arm][task] - scores[0][arm][task]).dropna()
        for column, name in MEASURES.items():
            row = {"task": task, "arm": arm, "measure": name, "a": a[column], "b": b[column]}
            row |= {"b_less_a": b[column] - a[column], "paired_se": np.nan, "seeds": len(pairs)}
            if column == "final" and len(pairs) > 1:
                row["paired_se"] = pairs.std(ddof=1) / len(pairs) ** 0.5
            rows.append(row)
    return pd.DataFrame(rows)


def differing(one: Results, other: Results) -> pd.DataFrame:
    """A row per field of environment or shared configuration in which the folders differ."""
    sides = []
    for results in (one, other):
        shared = tables.configuration(results)[1]
        fields = dict(zip(shared["setting"] + " (" + shared["task"] + ")", shared["value"], strict=True))
        environment = tables.environment(results)
        sides.append(fields | dict(zip(environment["field"], environment["value"], strict=True)))
    names = [name for name in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(name) != sides[1].get(name)]
    rows = [
        {"field": name, "a": sides[0].get(name, tables.DASH), "b": sides[1].get(name, tables.DASH)} for name in names
    ]
    return pd.DataFrame(rows, columns=["field", "a", "b"])


def _named(table: pd.DataFrame) -> str:
    return ", ".join(f"{task} {arm}" for task, arm in table.index)

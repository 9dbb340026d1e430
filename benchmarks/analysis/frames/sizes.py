"""A suite whose tasks have start models of different sizes: does the difference between two arms grow with the model,
shrink or turn?
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair, shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, kept
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import Array, MeanInterval, paired_differences, t_interval

COLUMNS = ("task", "start", "parameters", "first", "second", "n", "difference", "low", "high")


@kept
def parameters(results: Results) -> dict[str, int]:
    """By task the numbers of its start model's policy, adapters included; empty where all tasks have one size.

    Records from before runs counted them have none.
    """
    training = results.runs[results.runs["purpose"] == "train"]
    if "parameters" not in training:
        return {}
    found = training.dropna(subset=["parameters"]).groupby("task")["parameters"].max()
    sizes = {task: int(found[task]) for task in results.tasks if task in found}
    return sizes if len(set(sizes.values())) > 1 else {}


def sized_pairs(results: Results) -> list[tuple[str, str]]:
    """The pairs of arms that are set against size: the judged one, then the suite's others."""
    judged = choose_pair(results)
    others = [(one, other) for one, other in results.suite.get("pairs") or ()]
    pairs = dict.fromkeys([*([judged] if judged else []), *others])
    return [pair for pair in pairs if len(set(shared_tasks(results, pair)) & parameters(results).keys()) > 1]


@kept
def by_size(results: Results) -> pd.DataFrame:
    """A row a pair of arms and task, by size: the final pass rate of the second less the first's, with a t interval.

    Empty where all tasks have one size.
    """
    rows = []
    sizes = parameters(results)
    for pair in sized_pairs(results):
        for task in sorted(set(shared_tasks(results, pair)) & sizes.keys(), key=lambda task: sizes[task]):
            both = _finals(results, pair, [task])
            found = t_interval(paired_differences(both[:, 0, 0], both[:, 1, 0])) if len(both) else None
            ends = (found.n, found.mean, found.low, found.high) if found else (0, math.nan, math.nan, math.nan)
            start = results.suite["tasks"][task].get("start") or results.suite.get("start")
            rows.append((task, start, sizes[task], *pair, *ends))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def slope(results: Results, pair: tuple[str, str]) -> MeanInterval:
    """How much the difference changes with ten times the parameters: a line through the sizes for each seed by least
    squares, their mean slope and its t interval. Only seeds with a final score of both arms at every size count.
    """
    sizes = parameters(results)
    tasks = [task for task in shared_tasks(results, pair) if task in sizes]
    both = _finals(results, pair, tasks)
    x = np.log10([sizes[task] for task in tasks])
    lean = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return t_interval(paired_differences(both[:, 0] @ lean, both[:, 1] @ lean))


def _finals(results: Results, pair: tuple[str, str], tasks: list[str]) -> Array:
    """Final pass rates, shape (seeds, 2, tasks), of the seeds that have all."""
    matrix = results.score_matrix()
    rows: Array = np.stack([matrix[arm][tasks].to_numpy(float) for arm in pair], axis=1)
    return rows[~np.isnan(rows).any(axis=(1, 2))]

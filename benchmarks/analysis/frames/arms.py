"""Which arms run on which tasks, and which two of them a report compares."""

from __future__ import annotations

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.tasks.errors import UserError, nearest


def choose_pair(results: Results, first: str | None = None, second: str | None = None) -> tuple[str, str] | None:
    """The two arms to judge: those named, else the first of the suite's pairs, of algorithm ppo and of grpo, of arms.

    None where the suite has one arm. Raises UserError for a label that is no arm, and for one arm twice.
    """
    for label in (first, second):
        if label is not None and label not in results.arms:
            raise UserError(f"suite {results.name}: no arm {label!r}; {nearest(label, results.arms)}")
    if first is not None and first == second:
        raise UserError(f"suite {results.name}: arm {first!r} twice; a verdict needs two arms")
    if len(results.arms) < 2:
        return None
    if first is None and second is None:
        for one, other in results.suite.get("pairs") or ():
            return one, other
        by = {results.suite["arms"][arm].get("algorithm"): arm for arm in reversed(results.arms)}
        if "ppo" in by and "grpo" in by:
            return by["ppo"], by["grpo"]
    others = [arm for arm in results.arms if arm not in (first, second)]
    return first or others[0], second or others[0 if first else 1]


def shared_tasks(results: Results, pair: tuple[str, str]) -> list[str]:
    """The tasks on which both arms run, in the suite's order: a verdict knows of no other."""
    first, second = (results.runs_on(arm) for arm in pair)
    return [task for task in first if task in second]


def task_arms(results: Results) -> list[tuple[str, str]]:
    """Each task with each arm that runs on it, in the order of the suite."""
    return [(task, arm) for task in results.tasks for arm in results.arms if task in results.runs_on(arm)]


def in_order(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The rows in the suite's order of tasks, timing cells and arms; those of one task and arm stay as they were."""
    timed = [(cell, arm) for cell in results.cells for arm in results.arms]
    place = {pair: i for i, pair in enumerate([*task_arms(results), *timed])}
    order = sorted(range(len(table)), key=lambda i: place[table["task"].iloc[i], table["arm"].iloc[i]])
    return table.iloc[order].reset_index(drop=True)

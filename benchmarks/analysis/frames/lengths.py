"""How long completions are that passed, and those that failed, and how many of each were cut off at the limit."""

from __future__ import annotations

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import in_order
from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, Results, kept
from ppo_vs_grpo.benchmarks.records.schema import LENGTH_COLUMNS

KINDS = ("passed", "failed")
MEANS = tuple(f"{kind}_tokens" for kind in KINDS)
COUNTS = tuple(column for kind in KINDS for column in (kind, f"{kind}_cut"))
COLUMNS = ("task", "arm", "moment", "passed", "passed_tokens", "passed_cut", "failed", "failed_tokens", "failed_cut")

GROWN = 0.05
"""A change of less than this share of the length at the start is not worth a sentence or a curve."""


@kept
def lengths_by_run(results: Results) -> pd.DataFrame:
    """A row per complete run and evaluation: counts of its completions, of those cut off, and sums of their tokens.

    Empty where no record has the columns, which earlier ones lack.
    """
    columns = [*IDENTITY, "completions", *COUNTS, *MEANS]
    evals = results.evals
    if not set(LENGTH_COLUMNS) <= set(evals.columns):
        return pd.DataFrame(columns=columns)
    evals = evals[evals["key"].isin(results.complete)].dropna(subset=["passed_cut", "failed_cut"])
    tokens = evals["completion_tokens_mean"] * evals["samples"]
    passed_tokens = (evals["passed_tokens_mean"] * evals["passes"]).where(evals["passes"] > 0, 0)
    counted = evals.assign(
        passed=evals["passes"],
        failed=evals["samples"] - evals["passes"],
        passed_tokens=passed_tokens,
        failed_tokens=tokens - passed_tokens,
    )
    by_run = counted.groupby([*IDENTITY, "completions"], as_index=False, sort=False)
    return by_run[[*COUNTS, *MEANS]].sum()[columns]


@kept
def length_curves(results: Results) -> pd.DataFrame:
    """A row per task, arm and evaluation: as `lengths_by_run` over all runs together, but mean tokens instead of sums.

    The mean tokens of no completion are NaN.
    """
    runs = lengths_by_run(results)
    summed = runs.groupby(["task", "arm", "completions"], as_index=False)[[*COUNTS, *MEANS]].sum()
    return _averaged(summed)


@kept
def length_table(results: Results) -> pd.DataFrame:
    """The rows of `length_curves` at the start and at the last evaluation; empty where nothing is known."""
    curves = length_curves(results)
    of_arms = curves.groupby(["task", "arm"])["completions"]
    moments = {"start": curves["completions"] == 0, "end": curves["completions"] == of_arms.transform("max")}
    parts = [curves[here].assign(moment=moment) for moment, here in moments.items()]
    return in_order(results, pd.concat(parts)[list(COLUMNS)])


def tasks_that_move(results: Results) -> list[str]:
    """The tasks on which the mean tokens of an arm's passed or failed completions leave those of its start."""
    curves = length_curves(results).set_index(["task", "arm"])[list(MEANS)]
    starts = curves.groupby(level=["task", "arm"]).transform("first")
    moved = (curves - starts).abs() >= GROWN * starts
    tasks = set(curves.index[moved.any(axis=1)].get_level_values("task"))
    return [task for task in results.tasks if task in tasks]


@kept
def length_changes(results: Results) -> pd.DataFrame:
    """A row per complete run: how many tokens its completions have become longer by, in the mean, from start to end.

    Columns `passed_tokens` and `failed_tokens`, NaN where a run has no such completion at one of the two.
    """
    runs = _averaged(lengths_by_run(results)).set_index(list(IDENTITY))
    at, means = runs["completions"], runs[list(MEANS)]
    last = (at > 0) & (at == at.groupby(level="key").transform("max"))
    return (means[last] - means[at == 0]).reset_index()


def _averaged(summed: pd.DataFrame) -> pd.DataFrame:
    """The rows with mean tokens in the place of sums."""
    means = {f"{kind}_tokens": summed[f"{kind}_tokens"] / summed[kind].where(summed[kind] > 0) for kind in KINDS}
    return summed.assign(**means).astype(dict.fromkeys(MEANS, float))

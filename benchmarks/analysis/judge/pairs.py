"""What two arms reached, seed by seed: the pairs that a verdict rests on, read from a suite's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames import costs
from ppo_vs_grpo.benchmarks.analysis.frames.probes import at_moments
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, kept
from ppo_vs_grpo.benchmarks.analysis.stats.curves import first_crossing
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import Array

COLLAPSE = 0.5
"""A run whose final pass rate is below this share of its own start's has collapsed."""
HALF_WAY = 0.5
"""A task's threshold: this part of the way from the mean start to the best arm's mean final pass rate."""


@dataclass(frozen=True)
class Paired:
    """A value per seed of each arm, both of shape (seeds,); NaN stands for a run that has none."""

    seeds: tuple[int, ...]
    first_S: Array
    second_S: Array

    @property
    def both(self) -> tuple[Array, Array]:
        """The values of the seeds that both arms have, shape (pairs,)."""
        there = ~(np.isnan(self.first_S) | np.isnan(self.second_S))
        return self.first_S[there], self.second_S[there]

    @property
    def n(self) -> int:
        """How many seeds both arms have."""
        return len(self.both[0])

    def lacking(self, first: str, second: str, unit: str = "seed") -> str:
        """Which seeds an arm lacks, such as `ppo seeds 3, 5` or `ppo (any seed)`; empty where none."""
        parts = []
        for arm, values in ((first, self.first_S), (second, self.second_S)):
            gone = [seed for seed, value in zip(self.seeds, values, strict=True) if np.isnan(value)]
            if len(gone) == len(self.seeds):
                parts.append(f"{arm} (any {unit})")
            elif gone:
                parts.append(f"{arm} {unit}{'s' * (len(gone) > 1)} {', '.join(map(str, gone))}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Threshold:
    """The pass rate that runs are timed to, where they start and what the best arm reaches; NaN where unknown."""

    start: float
    best: float

    @property
    def value(self) -> float:
        """The threshold; NaN where the best arm ends no higher than the start."""
        return self.start + HALF_WAY * (self.best - self.start) if self.best > self.start else np.nan


@kept
def final_scores(results: Results, pair: tuple[str, str], metric: str = "pass_rate") -> dict[str, Paired]:
    """By task, a column of `Results.score_matrix` of both arms."""
    matrix = results.score_matrix(metric)
    seeds = results.seeds_of(*pair)
    return {
        task: Paired(tuple(seeds), *(matrix[arm].loc[seeds, task].to_numpy(float) for arm in pair))
        for task in results.tasks
    }


@kept
def collapses(results: Results, pair: tuple[str, str]) -> dict[str, Paired]:
    """By task, 1 for a collapsed run and 0 for another; NaN for a failed run, a missing one, and one without a start.

    A run has collapsed that diverged before its budget's end or whose final pass rate is below half of its start's.
    """
    runs = results.runs[(results.runs["purpose"] == "train") & (results.runs["status"] != "failed")]
    early = runs[(runs["status"] == "diverged") & ~runs["key"].isin(results.complete)]
    scores = results.finals[~results.finals["key"].isin(early["key"])]
    start, final = scores["start_pass_rate"].astype(float), scores["final_pass_rate"].astype(float)
    low = (final < COLLAPSE * start).astype(float).where(start.notna() & final.notna())
    found = by_run(pd.concat([early.assign(low=1.0), scores.assign(low=low)]), "low")
    return _by_task(results, pair, found)


def all_runs(pairs: Sequence[Paired]) -> list[Array]:
    """Each arm's values on all tasks, paired or not, shape (runs,) each."""
    arms = zip(*((one.first_S, one.second_S) for one in pairs), strict=True)
    return [values[~np.isnan(values)] for values in map(np.concatenate, arms)]


def collapse_count(collapsed: Sequence[Paired], pair: tuple[str, str]) -> str:
    """How many of each arm's runs collapsed, such as `ppo 2 of 8, grpo 0 of 8`; empty where none did."""
    arms = all_runs(collapsed)
    if not any(values.any() for values in arms):
        return ""
    return ", ".join(f"{arm} {values.sum():.0f} of {len(values)}" for arm, values in zip(pair, arms, strict=True))


@kept
def gradient_moments(results: Results, pair: tuple[str, str]) -> dict[str, tuple[Paired, Paired]]:
    """By task, tr(Sigma) and unbiased |g|^2 of each arm's own gradient in the middle of its complete runs."""
    middle = results.probes
    if len(middle):
        middle = at_moments(results)
        middle = middle[middle["moment"].eq("middle") & middle["probe"].eq("gradient") & middle["subject"].eq("own")]

    def of(quantity: str) -> dict[str, Paired]:
        found = by_run(middle[middle["quantity"] == quantity], "value")
        return _by_task(results, pair, found)

    trace, signal = of("trace"), of("signal")
    return {task: (trace[task], signal[task]) for task in results.tasks}


@kept
def peak_megabytes(results: Results, pair: tuple[str, str], task: str) -> tuple[str, Array, Array]:
    """What was measured, and the peak of each measured run of either arm in MB (10^6 bytes), shape (runs,) each.

    The tracked peak of a whole update where both arms have it, else the process's where it was alone on the machine.
    """
    memory = results.memory[results.memory["task"] == task]
    tracked = memory[(memory["source"] == "tracked") & (memory["phase"] == "total")]
    if set(pair) <= set(tracked["arm"]):
        totals = tracked.groupby(["arm", "key"])["bytes"].sum().astype(float) / 1e6
        arms = [totals[totals.index.get_level_values("arm") == arm] for arm in pair]
        return "tracked tensors of an update", np.asarray(arms[0], float), np.asarray(arms[1], float)
    peaks = costs.peak_memory(results)
    peaks = peaks[(peaks["task"] == task) & (peaks["phase"] == "process") & ~peaks["contended"].astype(bool)]
    arms = [peaks.loc[peaks["arm"] == arm, "mb"] for arm in pair]
    return "the process", np.asarray(arms[0], float), np.asarray(arms[1], float)


@kept
def timed_seconds(results: Results, pair: tuple[str, str]) -> dict[str, Paired]:
    """By task, training seconds per 1,000 completions of each repeat of the timing pass that had the machine alone."""
    timing = results.runs[results.runs["purpose"] == "timing"]
    repeats = sorted({int(seed) for frame in (timing, results.missing) for seed in _repeats(frame)})
    frame = costs.phase_seconds(results)
    frame = frame[(frame["origin"] == "timing pass") & ~frame["contended"].astype(bool) & frame["total_s"].gt(0)]
    found = by_run(frame, "total_s")
    return _by_task(results, pair, found, tuple(repeats))


@kept
def threshold(results: Results, pair: tuple[str, str], task: str) -> Threshold:
    """Half-way from the mean start of both arms' runs to the higher of the arms' mean final pass rates."""
    finals = results.finals[(results.finals["task"] == task) & results.finals["arm"].isin(pair)]
    best = finals.groupby("arm")["final_pass_rate"].mean().max()
    return Threshold(float(finals["start_pass_rate"].astype(float).mean()), float(best))


@kept
def crossings(results: Results, pair: tuple[str, str]) -> dict[str, Paired]:
    """By task, the completions at which each run first reached the task's threshold.

    Infinite where it never did, diverged or not.
    """
    scores = results.scores
    found: dict[tuple[str, str, int], float] = {}
    for task in results.tasks:
        goal = threshold(results, pair, task).value
        of_task = scores[(scores["task"] == task) & scores["arm"].isin(pair)]
        for _, curve in of_task.groupby(["arm", "seed"]) if np.isfinite(goal) else ():
            arm, seed = str(curve["arm"].iloc[0]), int(curve["seed"].iloc[0])
            curve = curve.drop_duplicates("completions").sort_values("completions")
            at = first_crossing(curve["completions"].to_numpy(float), curve["pass_rate"].to_numpy(float), goal)
            found[arm, task, seed] = at.x if at.reached else np.inf
    return _by_task(results, pair, found)


def by_run(frame: pd.DataFrame, column: str) -> dict[tuple[str, str, int], float]:
    """A column of numbers by arm, task and seed."""
    rows = zip(frame["arm"], frame["task"], frame["seed"], frame[column], strict=True)
    return {(arm, task, int(seed)): float(value) for arm, task, seed, value in rows}


def _by_task(
    results: Results,
    pair: tuple[str, str],
    found: Mapping[tuple[str, str, int], float],
    seeds: tuple[int, ...] | None = None,
) -> dict[str, Paired]:
    """By task the values of every seed that both arms run with, or of `seeds`."""
    seeds = tuple(results.seeds_of(*pair)) if seeds is None else seeds
    return {
        task: Paired(seeds, *(np.array([found.get((arm, task, seed), np.nan) for seed in seeds]) for arm in pair))
        for task in results.tasks
    }


def _repeats(frame: pd.DataFrame) -> list[int]:
    return list(frame.loc[frame["purpose"] == "timing", "seed"])

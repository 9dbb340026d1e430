"""What completions cost in seconds and memory: from the timing pass, or from the training runs without one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ppo_vs_grpo.algorithms.shared.config import PHASES
from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, Results, kept

MEMORY_PHASES = ("load", "rollout", "reward", "reference", "value", "update", "eval", "process")
ROLE_SOURCES = {"tracked": "tracked_mb", "tracked_alone": "alone_mb", "predicted": "predicted_mb"}
"""Sources of memory by role, and their columns in `memory_by_role`."""

BUDGETS = {
    "completions": "completions",
    "optimizer_steps": "optimizer steps",
    "tokens": "generated tokens",
    "flops": "training FLOPs",
    "seconds": "training seconds",
}
"""What a curve can be drawn against, and how an axis calls it."""

SECONDS = [f"{phase}_s" for phase in PHASES]


@kept
def phase_seconds(results: Results) -> pd.DataFrame:
    """A row per measured run: seconds per 1,000 completions in each phase and in total.

    Warm-up updates are left out. An arm on a task is measured by its timing runs; where it has
    none, its training runs stand in. `origin` names which, `contended` says whether the run
    shared the machine: such a row is shown, with that label, but counts in no mean of `alone_means`.
    """
    frames = []
    for origin, metrics in (("timing pass", results.timing), ("training runs", results.metrics)):
        frame = metrics.sort_values(["key", "update"])
        before = frame.groupby("key")["completions"].shift(fill_value=0)
        frame = frame.assign(completions=frame["completions"] - before)
        frame = frame[~frame["warmup"].astype(bool)]
        sums = frame.groupby(list(IDENTITY), as_index=False)[["completions", *SECONDS]].sum()
        sums[SECONDS] = sums[SECONDS].astype(float).div(sums["completions"].astype(float) / 1000, axis=0)
        frames.append(sums.assign(origin=origin, total_s=sums[SECONDS].sum(axis=1)))
    return _with_contention(results, _prefer_timing(*frames))


@kept
def peak_memory(results: Results) -> pd.DataFrame:
    """A row per measured run and phase: peak memory in MB (10^6 bytes), of one source.

    The source is what the accelerator allocated if any run used one, and the process's peak
    resident set otherwise. Timing runs come before training runs as in `phase_seconds`; a run
    without a record of the whole process counts with the peak in its manifest.
    """
    memory = results.memory[results.memory["role"] == "process"]
    accelerated = bool((memory["source"] == "accelerator_allocated").any())
    source = "accelerator_allocated" if accelerated else "peak_rss"
    rows = memory.loc[memory["source"] == source, [*IDENTITY, "purpose", "phase", "bytes"]]
    if not accelerated:
        silent = ~results.runs["key"].isin(rows.loc[rows["phase"] == "process", "key"])
        silent &= ~results.runs["task"].isin(results.cells)
        measured = (results.runs["status"] != "failed") & results.runs["peak_rss_bytes"].gt(0)
        manifests = results.runs[silent & measured].assign(phase="process", bytes=lambda frame: frame["peak_rss_bytes"])
        rows = _stack(rows, manifests[rows.columns.tolist()])
    rows = rows.assign(mb=rows["bytes"].astype(float) / 1e6, source=source).drop(columns="bytes")
    timing = rows[rows["purpose"] == "timing"].assign(origin="timing pass")
    training = rows[rows["purpose"] == "train"].assign(origin="training runs")
    return _with_contention(results, _prefer_timing(timing, training)).drop(columns="purpose")


@kept
def memory_by_role(results: Results) -> pd.DataFrame:
    """A row per task, arm, phase and role: MB that the role held when the phase held most, tracked and predicted.

    Means over the runs that were probed; `alone_mb` is the most that the role held at any time in the phase. The phase
    `total` is the whole update. A prediction has every prompt and completion at full length.
    """
    tracked = results.memory[results.memory["source"].isin(ROLE_SOURCES)]
    by = ["task", "arm", "phase", "role"]
    runs = tracked.groupby(["task", "arm"])["key"].nunique()
    wide = tracked.pivot_table(index=by, columns="source", values="bytes", aggfunc="sum", sort=False)
    wide = wide.reindex(columns=list(ROLE_SOURCES)).fillna(0.0).rename(columns=ROLE_SOURCES) / 1e6
    table = wide.reset_index()
    counts = [runs[task, arm] for task, arm in zip(table["task"], table["arm"], strict=True)]
    for column in ROLE_SOURCES.values():
        table[column] = table[column] / counts
    return table.assign(runs=counts)


@kept
def flops_by_phase(results: Results) -> pd.DataFrame:
    """A row per probed run, moment and phase: 10^6 operations for a completion of the budget, and the critic's part."""
    rows = results.probes[results.probes["probe"] == "flops"]
    by = [*IDENTITY, "completions", "subject"]
    wide = rows.pivot_table(index=by, columns="quantity", values="value", sort=False)
    wide = wide.reindex(columns=["total", "critic"]).astype(float) / 1e6
    return wide.reset_index().rename(columns={"subject": "phase", "total": "mflops", "critic": "critic_mflops"})


@kept
def scores_by_cost(results: Results) -> pd.DataFrame:
    """`Results.scores` with what each evaluation had cost by then: a column for each of BUDGETS.

    `flops` adds up operations per completion, linear between the moments of the probes; NaN without probes. `seconds`
    are completions times the timing pass's seconds per completion where the machine was the arm's own, and otherwise
    the run's own training seconds; `contended` says that these were measured on a shared machine.
    """
    columns = ["tokens", "optimizer_steps", "train_s"]
    done = results.metrics[["key", "update", *columns]]
    scores = results.scores.merge(done, on=["key", "update"], how="left")
    scores[columns] = scores[columns].astype(float).where(scores["update"] > 0, 0.0)
    rates = flops_by_phase(results).groupby(["key", "completions"])["mflops"].sum() * 1e6
    pace = alone_means(phase_seconds(results), "total_s") / 1000
    own = _unfit_for_seconds(results)
    parts = [
        curve.assign(flops=_added_up(rates.get(key), curve["completions"].to_numpy(float)))
        for key, curve in scores.groupby("key", sort=False)
    ]
    scores = pd.concat(parts, ignore_index=True) if parts else scores.assign(flops=np.nan)
    alone = pd.Series(
        [pace.get((task, arm), np.nan) for task, arm in zip(scores["task"], scores["arm"], strict=True)], dtype=float
    )
    scores["seconds"] = (alone * scores["completions"]).where(alone.notna(), scores["train_s"])
    return scores.assign(contended=alone.isna() & scores["key"].map(own).astype(bool))


def _added_up(rates: pd.Series | None, completions: np.ndarray) -> np.ndarray:
    """The integral from 0 of a rate that is known at some completions and linear in between."""
    if rates is None or rates.empty:
        return np.full(len(completions), np.nan)
    at = rates.index.to_numpy(float)
    grid = np.union1d(np.union1d(at, completions), [0.0])
    rate = np.interp(grid, at, rates.to_numpy(float))
    total = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (rate[1:] + rate[:-1]) / 2)])
    at_completions: np.ndarray = np.interp(completions, grid, total)
    return at_completions


def alone_means(frame: pd.DataFrame, column: str) -> pd.Series:
    """Mean of `column` per (task, arm) over the runs that had the machine to themselves."""
    alone = frame[~frame["contended"].astype(bool)]
    return alone.groupby(["task", "arm"])[column].mean()


def _prefer_timing(timing: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """The timing rows, and the training rows of each arm on a task that has no timing row."""
    timed = pd.MultiIndex.from_frame(timing[["arm", "task"]])
    return _stack(timing, training[~pd.MultiIndex.from_frame(training[["arm", "task"]]).isin(timed)])


def _stack(*frames: pd.DataFrame) -> pd.DataFrame:
    """The frames under one another; an empty one has no say in the columns' types."""
    full = [frame for frame in frames if len(frame)]
    return pd.concat(full, ignore_index=True) if full else frames[0]


def _with_contention(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Add whether each row's run shared the machine, or was made of pieces."""
    return frame.assign(contended=frame["key"].map(_unfit_for_seconds(results)).astype(bool))


def _unfit_for_seconds(results: Results) -> pd.Series:
    """By key, whether a run's seconds and memory are no headline: it shared the machine, or it went on after a kill."""
    runs = results.runs.set_index("key")
    contended = runs["contended"].astype(bool)
    return contended | runs["resumed"].gt(0) if "resumed" in runs else contended

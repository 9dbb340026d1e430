"""What completions cost in seconds and memory: from the timing pass, or from the training runs without one."""

from __future__ import annotations

import pandas as pd

from ppo_vs_grpo.benchmarks.frames import IDENTITY, Results
from ppo_vs_grpo.benchmarks.runfiles import PHASES

MEMORY_PHASES = ("load", "rollout", "reward", "reference", "value", "update", "eval", "process")
SECONDS = [f"{phase}_s" for phase in PHASES]


def phase_seconds(results: Results) -> pd.DataFrame:
    """A row per measured run: seconds per 1,000 completions in each phase and in total.

    Warm-up updates are left out. An arm on a task is measured by its timing runs; where it has
    none, its training runs stand in. `origin` names which, `contended` says whether the run
    shared the machine: such a row is shown, with that label, but is not a headline.
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
        measured = (results.runs["status"] != "failed") & results.runs["peak_rss_bytes"].gt(0)
        manifests = results.runs[silent & measured].assign(phase="process", bytes=lambda frame: frame["peak_rss_bytes"])
        rows = _stack(rows, manifests[rows.columns.tolist()])
    rows = rows.assign(mb=rows["bytes"].astype(float) / 1e6, source=source).drop(columns="bytes")
    timing = rows[rows["purpose"] == "timing"].assign(origin="timing pass")
    training = rows[rows["purpose"] == "train"].assign(origin="training runs")
    return _with_contention(results, _prefer_timing(timing, training)).drop(columns="purpose")


def headline(frame: pd.DataFrame, column: str) -> pd.Series:
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
    """Add whether each row's run shared the machine."""
    contended = results.runs.set_index("key")["contended"].astype(bool)
    return frame.assign(contended=frame["key"].map(contended).astype(bool))

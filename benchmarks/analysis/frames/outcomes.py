"""What each training run came to, and each arm on each task over its runs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import in_order, task_arms
from ppo_vs_grpo.benchmarks.analysis.frames.costs import alone_means, peak_memory, phase_seconds
from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, Results, kept, unmatched

NO_NOTE = "-"


@kept
def final_scores(results: Results) -> pd.DataFrame:
    """A row per training run of the suite, the failed and the missing included."""
    finals = results.finals.set_index("key")
    scores = {str(key): row for key, row in finals.to_dict("index").items()}
    states = dict(zip(results.runs["key"], results.runs["status"], strict=True))
    states |= dict(zip(results.missing["key"], results.missing["state"], strict=True))
    planned = pd.concat([results.runs[["purpose", *IDENTITY]], results.missing[["purpose", *IDENTITY]]])
    rows = []
    for run in planned[planned["purpose"] == "train"].sort_values("seed", kind="stable").itertuples():
        row = {"task": run.task, "arm": run.arm, "seed": run.seed, "status": states[str(run.key)]}
        score: Mapping[Hashable, float] = scores.get(str(run.key), {})
        for part in ("start", "final", "gain", "area"):
            row[part] = score.get(f"{part}_pass_rate", np.nan)
        row["final_greedy"] = score.get("final_greedy_pass", np.nan)
        rows.append(row | {"final_reward": score.get("final_reward_mean", np.nan)})
    columns = ["task", "arm", "seed", "status", "start", "final", "gain", "area", "final_greedy", "final_reward"]
    return in_order(results, pd.DataFrame(rows, columns=columns))


@kept
def summary(results: Results) -> pd.DataFrame:
    """A row per task and arm over its complete training runs, and a note on whatever is not as planned.

    `n` of `planned` runs; start, final, gain and area of the held-out pass rate and the final greedy
    one are means over seeds, `seed_sd` is the sample standard deviation of the final one. Seconds and
    memory come from runs that had the machine to themselves.
    """
    scores = final_scores(results)
    seconds, memory = (frame for frame, _ in _costs(results).values())
    means = {name: alone_means(frame, column) for name, (frame, column) in _costs(results).items()}
    rows = []
    for task, arm in task_arms(results):
        runs = scores[(scores["task"] == task) & (scores["arm"] == arm)]
        done = runs[runs["final"].notna()]
        row: dict[str, Any] = {"task": task, "arm": arm, "n": len(done), "planned": len(runs)}
        row |= {name: done[name].mean() for name in ("start", "final", "gain")}
        row |= {"seed_sd": done["final"].std(ddof=1)} | {name: done[name].mean() for name in ("area", "final_greedy")}
        row |= {name: series.get((task, arm), np.nan) for name, series in means.items()}
        notes = [*_run_notes(runs), *_cost_notes(results, seconds, memory, task, arm), unmatched(results, task)]
        rows.append(row | {"note": "; ".join(note for note in notes if note) or NO_NOTE})
    return pd.DataFrame(rows)


def contended_costs(results: Results) -> dict[str, pd.Series]:
    """By cost, its mean per (task, arm) over the runs that shared the machine, where none had it alone."""
    shared = {}
    for name, (frame, column) in _costs(results).items():
        groups = frame.groupby(["task", "arm"])
        shared[name] = groups[column].mean()[groups["contended"].all()]
    return shared


def _costs(results: Results) -> dict[str, tuple[pd.DataFrame, str]]:
    """By cost, the measured runs and the column of its numbers."""
    memory = peak_memory(results)
    return {
        "seconds_per_1000": (phase_seconds(results), "total_s"),
        "peak_memory_mb": (memory[memory["phase"] == "process"], "mb"),
    }


def _run_notes(runs: pd.DataFrame) -> list[str]:
    """Why an arm has fewer final scores on a task than were planned."""
    states = runs.loc[runs["final"].isna(), "status"].value_counts().sort_index()
    notes = [f"{count} {state}" for state, count in states.items()]
    finished = runs["final"].notna() & (runs["status"] == "diverged")
    if finished.any():
        notes.append(f"{finished.sum()} diverged at the end")
    return [*notes, "one run: no spread"] if runs["final"].notna().sum() == 1 else notes


def _cost_notes(results: Results, seconds: pd.DataFrame, memory: pd.DataFrame, task: str, arm: str) -> list[str]:
    """Why seconds or memory are missing from the means, or do not come from the timing pass."""
    if arm not in ((results.suite.get("timing") or {}).get("arms") or results.arms):
        return ["not timed"]
    notes = []
    for name, frame in (("time", seconds), ("memory", memory)):
        rows = frame[(frame["task"] == task) & (frame["arm"] == arm)]
        if rows.empty:
            notes.append(f"{name} not measured")
        elif rows["contended"].all():
            notes.append(f"{name} contended")
        elif rows["origin"].iloc[0] != "timing pass":
            notes.append(f"{name} from training runs")
    return notes

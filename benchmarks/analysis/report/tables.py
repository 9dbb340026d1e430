"""The report's tables as frames of numbers: a value that does not exist is NaN here, and a dash once `dashed`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.costs import SECONDS, headline, peak_memory, phase_seconds
from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, Results, unmatched

DASH = "-"
SPREAD = ("reward_std_within_group", "silent_group_fraction", "entropy", "kl_reference", "grad_norm")
"""Training metrics whose course the variance table gives: the first and last tenth of the updates, and all."""

FORMATS = {
    **dict.fromkeys(("seconds_per_1000", *SECONDS, "total_s"), "{:.2f}"),
    **dict.fromkeys(("peak_memory_mb", "mb"), "{:.0f}"),
    **dict.fromkeys(("tracked_mb", "alone_mb", "predicted_mb", "mflops", "critic_mflops"), "{:.4g}"),
    **dict.fromkeys(("n", "planned", "seed", "runs", "completions", "seeds_needed"), "{:.0f}"),
}


def final_scores(results: Results) -> pd.DataFrame:
    """A row per training run of the suite, the failed and the missing included."""
    finals = results.finals.set_index("key")
    scores = {str(key): row for key, row in finals.to_dict("index").items()}
    states = dict(zip(results.runs["key"], results.runs["status"], strict=True))
    states |= dict(zip(results.missing["key"], results.missing["state"], strict=True))
    cells = pd.concat([results.runs[["purpose", *IDENTITY]], results.missing[["purpose", *IDENTITY]]])
    rows = []
    for run in cells[cells["purpose"] == "train"].sort_values("seed", kind="stable").itertuples():
        row = {"task": run.task, "arm": run.arm, "seed": run.seed, "status": states[str(run.key)]}
        score: Mapping[Hashable, float] = scores.get(str(run.key), {})
        for part in ("start", "final", "gain", "area"):
            row[part] = score.get(f"{part}_pass_rate", np.nan)
        row["final_greedy"] = score.get("final_greedy_pass", np.nan)
        rows.append(row | {"final_reward": score.get("final_reward_mean", np.nan)})
    columns = ["task", "arm", "seed", "status", "start", "final", "gain", "area", "final_greedy", "final_reward"]
    return _ordered(results, pd.DataFrame(rows, columns=columns))


def summary(results: Results) -> pd.DataFrame:
    """A row per task and arm over its complete training runs, and a note on whatever is not as planned.

    `n` of `planned` runs; start, final, gain and area of the held-out pass rate and the final greedy
    one are means over seeds, `seed_sd` is the sample standard deviation of the final one. Seconds and
    memory come from runs that had the machine to themselves.
    """
    scores = final_scores(results)
    seconds, memory = phase_seconds(results), peak_memory(results)
    memory = memory[memory["phase"] == "process"]
    costs = {"seconds_per_1000": (seconds, "total_s"), "peak_memory_mb": (memory, "mb")}
    headlines = {name: headline(frame, column) for name, (frame, column) in costs.items()}
    rows = []
    for task, arm in _cells(results):
        cell = scores[(scores["task"] == task) & (scores["arm"] == arm)]
        done = cell[cell["final"].notna()]
        row: dict[str, Any] = {"task": task, "arm": arm, "n": len(done), "planned": len(cell)}
        row |= {name: done[name].mean() for name in ("start", "final", "gain")}
        row |= {"seed_sd": done["final"].std(ddof=1)} | {name: done[name].mean() for name in ("area", "final_greedy")}
        row |= {name: series.get((task, arm), np.nan) for name, series in headlines.items()}
        notes = [*_run_notes(cell), *_cost_notes(results, seconds, memory, task, arm), unmatched(results, task)]
        rows.append(row | {"note": "; ".join(note for note in notes if note) or DASH})
    return pd.DataFrame(rows)


def variance(results: Results) -> pd.DataFrame:
    """A row per task and arm: training metrics early, late and over the run, and the spread over seeds."""
    metrics = results.metrics[results.metrics["key"].isin(results.complete)]
    share = metrics["update"] / metrics.groupby("key")["update"].transform("max")
    finals = results.finals.groupby(["task", "arm"])["final_pass_rate"]
    spread, counts = finals.std(ddof=1), finals.count()
    rows = []
    for task, arm in _cells(results):
        here = (metrics["task"] == task) & (metrics["arm"] == arm)
        row: dict[str, Any] = {"task": task, "arm": arm, "n": counts.get((task, arm), 0)}
        row["seed_sd"] = spread.get((task, arm), np.nan)
        for name in SPREAD:
            for part, chosen in (("first_tenth", share <= 0.1), ("last_tenth", share > 0.9), ("mean", share > 0)):
                row[f"{name}_{part}"] = metrics.loc[here & chosen, name].astype(float).mean()
        rows.append(row | {"step_noise_scale": step_noise_scale(metrics[here])})
    return pd.DataFrame(rows)


def step_noise_scale(metrics: pd.DataFrame) -> float:
    """Gradient noise of the arm's own steps: summed tr(Sigma) over summed |g|^2 of all updates, in prompts of a step.

    NaN where no step was taken in halves, or the signal was lost in the noise.
    """
    if "gradient_signal" not in metrics or not (signal := metrics["gradient_signal"].astype(float).sum()) > 0:
        return np.nan
    return float(metrics["gradient_trace"].astype(float).sum() / signal)


def memory(results: Results) -> pd.DataFrame:
    """A row per task, arm and phase: peak memory in MB, a mean over the measured runs."""
    frame = peak_memory(results)
    groups = frame.groupby(["task", "arm", "phase", "source", "origin", "contended"], sort=False)["mb"]
    table = groups.agg(["count", "mean"]).reset_index().rename(columns={"count": "runs", "mean": "mb"})
    return _ordered(results, table)


def seconds(results: Results) -> pd.DataFrame:
    """A row per task and arm: seconds per 1,000 completions by phase, a mean over the measured runs."""
    frame = phase_seconds(results)
    groups = frame.groupby(["task", "arm", "origin", "contended"], sort=False)
    table = groups[[*SECONDS, "total_s"]].mean().assign(runs=groups["key"].count()).reset_index()
    return _ordered(results, table)


def unfinished(results: Results) -> pd.DataFrame:
    """A row per failed, diverged or missing run, with what is known of it."""
    columns = ["purpose", *IDENTITY, "state", "message"]
    stopped = results.runs[results.runs["status"] != "ok"].rename(columns={"status": "state", "error": "message"})
    parts = [part[columns] for part in (stopped, results.missing) if len(part)]
    return _ordered(results, pd.concat(parts).fillna(DASH) if parts else pd.DataFrame(columns=columns))


def environment(results: Results) -> pd.DataFrame:
    """A row per field of the runs' surroundings: its value, or the values that occurred and in how many runs."""
    seen: dict[str, dict[str, int]] = {}
    numbers: dict[str, list[float]] = {}
    for env in results.environments.values():
        for name, value in _flat(env):
            counts = seen.setdefault(name, {})
            counts[str(value)] = counts.get(str(value), 0) + 1
            if isinstance(value, float):
                numbers.setdefault(name, []).append(value)
    rows = []
    for name, counts in seen.items():
        text = "; ".join(f"{value} ({count} runs)" for value, count in sorted(counts.items()))
        if len(counts) == 1:
            text = next(iter(counts))
        elif name in numbers:
            text = f"{min(numbers[name]):.3g} to {max(numbers[name]):.3g}"
        rows.append({"field": name, "value": text})
    return pd.DataFrame(rows, columns=["field", "value"])


def configuration(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Settings in which the arms differ, and those that they share, read from the specs of the training runs.

    Arms differ where their values on a common task do. A row per setting, or per setting and task where an arm's value
    is not the same on all its tasks. A setting that an arm's algorithm does not have is a dash, as is that of an arm
    which does not run on the task.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for spec in results.specs.values():
        if spec["purpose"] == "train":
            kept = {name: value for name, value in spec.items() if name not in NOT_SETTINGS}
            cells.setdefault((spec["arm"], spec["task"]), {}).update((name, str(value)) for name, value in _flat(kept))
    arms = [arm for arm in results.arms if any(arm == label for label, _ in cells)]
    tasks = [task for task in results.tasks if any(task == label for _, label in cells)]
    differing, shared = [], []
    for name in dict.fromkeys(name for values in cells.values() for name in values):
        found = {cell: values.get(name, DASH) for cell, values in cells.items()}
        own = {arm: {value for (label, _), value in found.items() if label == arm} for arm in arms}
        rows = {task: {arm: found[arm, task] for arm in arms if (arm, task) in found} for task in tasks}
        differ = any(len(set(row.values())) > 1 for row in rows.values())
        if all(len(values) == 1 for values in own.values()) and (differ or len(set(found.values())) == 1):
            rows = {"all": {arm: value for arm, (value,) in own.items()}}
        for task, row in rows.items():
            line = {"setting": name, "task": task}
            if len(set(row.values())) > 1:
                differing.append(line | dict.fromkeys(arms, DASH) | row)
            elif set(row.values()) != {DASH}:
                shared.append(line | {"value": next(iter(row.values()))})
    return (
        pd.DataFrame(differing, columns=["setting", "task", *arms]),
        pd.DataFrame(shared, columns=["setting", "task", "value"]),
    )


NOT_SETTINGS = {"suite", "purpose", "arm", "task", "seed", "timing"}


def dashed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as text, each number as its column is read, and a dash for what does not exist."""
    return pd.DataFrame({str(name): [_text(str(name), value) for value in frame[name]] for name in frame}, dtype=object)


def _text(column: str, value: Any) -> str:
    if value is None or value == "" or (isinstance(value, float) and not np.isfinite(value)):
        return DASH
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | float | np.number):
        return FORMATS.get(column, "{:.3f}").format(value)
    return str(value)


def _run_notes(cell: pd.DataFrame) -> list[str]:
    """What keeps a cell from being complete."""
    states = cell.loc[cell["final"].isna(), "status"].value_counts().sort_index()
    notes = [f"{count} {state}" for state, count in states.items()]
    finished = cell["final"].notna() & (cell["status"] == "diverged")
    if finished.any():
        notes.append(f"{finished.sum()} diverged at the end")
    return [*notes, "one run: no spread"] if cell["final"].notna().sum() == 1 else notes


def _cost_notes(results: Results, seconds: pd.DataFrame, memory: pd.DataFrame, task: str, arm: str) -> list[str]:
    """Why seconds or memory are missing from the headline, or do not come from the timing pass."""
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


def _cells(results: Results) -> list[tuple[str, str]]:
    """Each task with each arm that runs on it, in the order of the suite."""
    return [(task, arm) for task in results.tasks for arm in results.arms if task in results.runs_on(arm)]


def _ordered(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The rows in the suite's order of tasks, timing cells and arms; within a cell as they were."""
    timed = [(cell, arm) for cell in results.cells for arm in results.arms]
    place = {cell: i for i, cell in enumerate([*_cells(results), *timed])}
    order = sorted(range(len(table)), key=lambda i: place[table["task"].iloc[i], table["arm"].iloc[i]])
    return table.iloc[order].reset_index(drop=True)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The leaves of nested mappings, with dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

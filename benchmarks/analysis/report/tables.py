"""The report's tables as frames of numbers: a value that does not exist is NaN here, and a dash once `dashed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import in_order, task_arms
from ppo_vs_grpo.benchmarks.analysis.frames.costs import SECONDS, peak_memory, phase_seconds
from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, Results

DASH = "-"
SPREAD = ("reward_std_within_group", "silent_group_fraction", "entropy", "kl_reference", "grad_norm")
"""Training metrics whose course the variance table gives: the first and last tenth of the updates, and all."""

NOT_SETTINGS = {"suite", "purpose", "arm", "task", "seed", "timing"}
"""Fields of a spec that are no settings of an arm."""

FORMATS = {
    **dict.fromkeys(("seconds_per_1000", *SECONDS, "total_s"), "{:.2f}"),
    **dict.fromkeys(("peak_memory_mb", "mb", "passed", "passed_cut", "failed", "failed_cut"), "{:.0f}"),
    **dict.fromkeys(("passed_tokens", "failed_tokens"), "{:.1f}"),
    **dict.fromkeys(("tracked_mb", "alone_mb", "predicted_mb", "mflops", "critic_mflops"), "{:.4g}"),
    **dict.fromkeys(("n", "planned", "seed", "seeds", "runs", "completions", "seeds_needed", "parameters"), "{:.0f}"),
    **dict.fromkeys(("random trials", "trials", "trials to 95% of the best"), "{:.0f}"),
    **dict.fromkeys(("from", "to"), "{:.3g}"),
}


def variance(results: Results) -> pd.DataFrame:
    """A row per task and arm: training metrics early, late and over the run, and the spread over seeds."""
    metrics = results.metrics[results.metrics["key"].isin(results.complete)]
    share = metrics["update"] / metrics.groupby("key")["update"].transform("max")
    finals = results.finals.groupby(["task", "arm"])["final_pass_rate"]
    spread, counts = finals.std(ddof=1), finals.count()
    rows = []
    for task, arm in task_arms(results):
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
    return in_order(results, table)


def seconds(results: Results) -> pd.DataFrame:
    """A row per task and arm: seconds per 1,000 completions by phase, a mean over the measured runs."""
    frame = phase_seconds(results)
    groups = frame.groupby(["task", "arm", "origin", "contended"], sort=False)
    table = groups[[*SECONDS, "total_s"]].mean().assign(runs=groups["key"].count()).reset_index()
    return in_order(results, table)


def unfinished(results: Results) -> pd.DataFrame:
    """A row per failed, diverged or missing run, with what is known of it."""
    columns = ["purpose", *IDENTITY, "state", "message"]
    stopped = results.runs[results.runs["status"] != "ok"].rename(columns={"status": "state", "error": "message"})
    parts = [part[columns] for part in (stopped, results.missing) if len(part)]
    return in_order(results, pd.concat(parts).fillna(DASH) if parts else pd.DataFrame(columns=columns))


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
    settings: dict[tuple[str, str], dict[str, str]] = {}
    for spec in results.specs.values():
        if spec["purpose"] == "train":
            chosen = {name: value for name, value in spec.items() if name not in NOT_SETTINGS}
            of_arm = settings.setdefault((spec["arm"], spec["task"]), {})
            of_arm.update((name, str(value)) for name, value in _flat(chosen))
    arms = [arm for arm in results.arms if any(arm == label for label, _ in settings)]
    tasks = [task for task in results.tasks if any(task == label for _, label in settings)]
    differing, shared = [], []
    for name in dict.fromkeys(name for values in settings.values() for name in values):
        found = {pair: values.get(name, DASH) for pair, values in settings.items()}
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


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The leaves of nested mappings, with dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

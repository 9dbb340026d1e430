"""Metrics that were exported from wandb, in the shape of `Results.metrics`.

    runs = wandb.Api().runs("ppo-vs-grpo", {"group": "core"})
    frame = pd.concat([pd.DataFrame(run.scan_history()).assign(run_id=run.id) for run in runs])
    results = load(frame)        # or load("core.csv")

An export has what training logged. Held-out prompts, memory, specs and how a run ended are in results folders only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, MISSING_COLUMNS, Results
from ppo_vs_grpo.benchmarks.records.folder import KEY
from ppo_vs_grpo.benchmarks.records.schema import (
    EVAL_COLUMNS,
    MEMORY_COLUMNS,
    METRIC_COLUMNS,
    PROBE_COLUMNS,
    RUN_COLUMNS,
    check_columns,
)
from ppo_vs_grpo.tasks.errors import UserError

KEYS = ("run_id", "id", "key", "name")
"""Columns that may hold a run's key; the first that is there does."""

MAY_LACK = (
    *("reward_std_within_group", "silent_group_fraction", "kl_reference", "clip_fraction", "ratio_error_max"),
    *("policy_loss", "value_loss", "value_explained_variance", "advantage_std", "grad_norm", "grad_norm_value"),
)
"""Metrics that may be null in every update of a suite, and are then in no export."""

LACKS = (
    "Made from an export of wandb, which has what training logged and nothing else: no held-out scores, memory or "
    "probes, nor how a run ended and whether it shared the machine. For those, make the report from the results folder."
)
"""What a report of an export says of itself."""

COUNTS = ("update", "completions", "tokens", "optimizer_steps", "skipped_steps")


def load_export(source: pd.DataFrame | str | Path) -> pd.DataFrame:
    """Read an export, a frame or a CSV file, as rows of arm, task, seed, key and an update's metrics.

    Runs of the timing pass are in it: their `kind` is "r", that of training runs "s". UserError where there is no
    column of keys, where a metric is missing, and where a run's updates have gaps, as samples of a history have.
    """
    place = Path("the frame") if isinstance(source, pd.DataFrame) else Path(source)
    frame = source.reset_index(drop=True) if isinstance(source, pd.DataFrame) else _read(place)
    column = next((name for name in KEYS if name in frame), None)
    if column is None:
        raise UserError(f"{place}: no column of run keys; expected one of {', '.join(KEYS)}")
    check_columns(place, [name for name in METRIC_COLUMNS if name not in MAY_LACK], frame.columns)
    frame = frame[frame["optimizer_steps"].notna()]  # evaluations of the start model have no training metrics
    key = frame[column].astype(str)
    parts = key.str.extract(f"^{KEY.pattern}$")
    if parts["arm"].isna().any():
        wrong = key[parts["arm"].isna()].iloc[0]
        raise UserError(f"{place}: {column}: {wrong!r}: not a run's key, such as ppo.sorting.s0.0123abcd")
    names = [*METRIC_COLUMNS, *[name for name in frame.columns if _is_metric(str(name))]]
    metrics = frame.reindex(columns=list(dict.fromkeys(names)))
    identity = parts.assign(seed=parts["seed"].astype("int64"), key=key)[[*IDENTITY, "kind"]]
    made = pd.concat([identity, metrics.apply(_numbers, args=(place,))], axis=1)
    made = made.sort_values(["key", "update"], kind="stable").reset_index(drop=True)
    for name, updates in made.groupby("key")["update"]:
        if list(updates) != list(range(1, len(updates) + 1)):
            raise UserError(f"{place}: {name}: {len(updates)} rows, not each of updates 1 to {updates.max()} once; "
                            "export the whole history (scan_history), not samples of it")  # fmt: skip
    return made


def results_of(source: pd.DataFrame | str | Path) -> Results:
    """An export as Results: `metrics` and `timing` are there, every other frame is empty and no run is complete.

    Arms, tasks and seeds are those of the keys, in the order in which they come; an arm's algorithm is taken to be what
    the arm is called.
    """
    made = load_export(source)
    frame = source if isinstance(source, pd.DataFrame) else _read(Path(source))
    training = made["kind"] == "s"
    metrics, timing = (made[rows].drop(columns="kind").reset_index(drop=True) for rows in (training, ~training))
    suite: dict[str, Any] = {
        "name": str(frame["group"].dropna().iloc[0]) if "group" in frame else "export",
        "description": LACKS,
        "eval": dict.fromkeys(("samples", "prompts"), "an unknown number of"),
        "arms": {arm: {"algorithm": arm} for arm in made["arm"].unique()},
        "tasks": {task: {} for task in made["task"].unique()},
        "seeds": sorted(metrics["seed"].unique().tolist()),
    }
    return Results(
        suite=suite,
        runs=pd.DataFrame(columns=list(RUN_COLUMNS)),
        metrics=metrics,
        evals=pd.DataFrame(columns=[*IDENTITY, *EVAL_COLUMNS]),
        memory=pd.DataFrame(columns=[*IDENTITY, *MEMORY_COLUMNS, "purpose"]),
        probes=pd.DataFrame(columns=[*IDENTITY, *PROBE_COLUMNS]),
        timing=timing,
        missing=pd.DataFrame(columns=list(MISSING_COLUMNS)),
        specs={},
        environments={},
        hashes={},
        ignored=(),
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, low_memory=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path}: not a CSV file ({str(error).splitlines()[0]})") from None


def _is_metric(name: str) -> bool:
    """Whether a column that this package does not name is a metric too: one of its later versions, or a peak."""
    return not name.startswith(("_", "eval/")) and name not in (*IDENTITY, *KEYS, "group", "job_type", "kind")


def _numbers(column: pd.Series, place: Path) -> pd.Series:
    """A column as the types that a results folder has: counts are whole, `warmup` is true or false."""
    name = str(column.name)
    try:
        if name == "warmup":
            return column.astype(str).str.lower().map({"true": True, "false": False}).astype(bool)
        whole = name in COUNTS or name.endswith("_bytes")
        return column.astype("float64").astype("int64") if whole else column.astype("float64")
    except (TypeError, ValueError):
        raise UserError(f"{place}: {name!r} holds text or gaps; expected numbers") from None

"""Read the files of one run, each checked against the run's manifest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from ppo_vs_grpo.tasks.errors import UserError, nearest

PHASES = ("rollout", "reward", "reference", "value", "update")
"""The timed parts of an update, in the order in which they run."""

RUN_COLUMNS = (
    *("key", "suite", "purpose", "arm", "algorithm", "task", "seed", "cfg8", "protocol", "status", "error"),
    *("updates", "completions", "tokens", "optimizer_steps", "train_s", "wall_s", "startup_s", "eval_s"),
    *("peak_rss_bytes", "contended"),
)
METRIC_COLUMNS = (
    *("update", "completions", "tokens", "optimizer_steps", "warmup", "reward_mean", "reward_std", "pass_rate"),
    *("reward_std_within_group", "silent_group_fraction", "completion_tokens_mean", "ended_fraction", "entropy"),
    *("kl_reference", "clip_fraction", "ratio_error_max", "policy_loss", "value_loss", "value_explained_variance"),
    *("advantage_std", "grad_norm", "grad_norm_value", "learning_rate", "skipped_steps"),
    *(f"{phase}_s" for phase in PHASES),
    "train_s",
)
EVAL_COLUMNS = (
    *("update", "completions", "prompt", "stratum", "samples", "passes", "reward_mean", "greedy_pass"),
    *("greedy_reward", "completion_tokens_mean"),
)
MEMORY_COLUMNS = ("phase", "role", "source", "bytes")
PROBE_COLUMNS = ("update", "completions", "probe", "subject", "quantity", "position", "value", "se")
TEXT_COLUMNS = {"stratum", "phase", "role", "source", "probe", "subject", "quantity"}
STATUSES = ("ok", "diverged", "failed")


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What one run left behind. The frames of a failed run are empty: how far it came is unknown."""

    manifest: dict[str, Any]
    spec: dict[str, Any]
    environment: dict[str, Any]
    metrics: pd.DataFrame
    evals: pd.DataFrame
    memory: pd.DataFrame
    probes: pd.DataFrame


def read_run(folder: Path) -> RunFiles:
    """Read a finished run's folder. A file that does not fit its manifest is a UserError."""
    manifest = read_manifest(folder)
    spec = read_object(folder / "spec.json")
    environment = folder / "env.json"
    env = read_object(environment) if environment.exists() else {}
    if manifest["status"] == "failed":
        blank = [pd.DataFrame(columns=list(c)) for c in (METRIC_COLUMNS, EVAL_COLUMNS, MEMORY_COLUMNS, PROBE_COLUMNS)]
        return RunFiles(manifest, spec, env, *blank)
    check_hashes(folder, manifest["files"])
    may_lack = manifest["purpose"] == "timing"
    return RunFiles(
        manifest,
        spec,
        env,
        read_records(folder, "metrics", METRIC_COLUMNS),
        read_records(folder, "evals", EVAL_COLUMNS, may_lack),
        read_records(folder, "memory", MEMORY_COLUMNS, may_lack=True),
        read_records(folder, "probes", PROBE_COLUMNS, may_lack=True),
    )


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; a UserError says in which line it stops being one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing; every run has one. Delete the run's folder and run the suite again"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; expected a JSON object") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg}); expected an object") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}; expected an object")
    return value


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read manifest.json and check its keys, its status and that it belongs to this folder."""
    path = folder / "manifest.json"
    manifest = read_object(path)
    check_columns(path, [*RUN_COLUMNS, "files"], manifest)
    if manifest["status"] not in STATUSES:
        raise UserError(f"{path}: status is {manifest['status']!r}; expected one of {', '.join(STATUSES)}")
    if manifest["key"] != folder.name:
        raise UserError(f"{path}: key is {manifest['key']!r}; expected the folder's name, {folder.name!r}")
    return manifest


def check_columns(path: Path, expected: Iterable[str], found: Iterable[str]) -> None:
    """Raise a UserError for the first expected name that was not found, with what was."""
    found = list(found)
    for name in expected:
        if name not in found:
            raise UserError(f"{path}: {name!r} is missing; {nearest(name, found)}")


def check_hashes(folder: Path, files: dict[str, str]) -> None:
    """Compare each file that a manifest names with its SHA-256."""
    for name, expected in sorted(files.items()):
        path = folder / name
        if not path.exists():
            raise UserError(f"{path}: missing, but manifest.json names it. Restore it, or delete the run's folder")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            if path.suffix == ".jsonl":
                read_lines(path)  # names the broken line, if one is
            raise UserError(
                f"{path}: changed since the run ended: its sha256 is {found[:12]}..., manifest.json says "
                f"{expected[:12]}... Restore it, or delete the run's folder and run the suite again"
            )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines that hold objects with the same keys; a UserError names the line that does not."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error.msg}); expected one object a line") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: holds a {type(row).__name__}; expected an object")
        check_columns(Path(f"{path}, line {number}"), rows[0] if rows else (), row)
        for name, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{path}, line {number}: {name!r} is {value}; expected a finite number or null")
        rows.append(row)
    return rows


def read_records(folder: Path, name: str, columns: tuple[str, ...], may_lack: bool = False) -> pd.DataFrame:
    """Read NAME.parquet, or NAME.jsonl where there is none, as columns of numbers and of text.

    Every column in `columns` must be there; more are kept. With `may_lack`, no file reads as no rows.
    """
    path = folder / f"{name}.parquet"
    if path.exists():
        try:
            with pq.ParquetFile(path) as file:
                frame: pd.DataFrame = file.read().to_pandas()
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a parquet file ({str(error).splitlines()[0]})") from None
    elif (path := folder / f"{name}.jsonl").exists():
        frame = pd.DataFrame(read_lines(path))
    elif may_lack:
        return pd.DataFrame(columns=list(columns))
    else:
        raise UserError(f"{path}: missing; a finished run has one. Delete the run's folder and run the suite again")
    if frame.empty:
        return pd.DataFrame(columns=list(columns))
    check_columns(path, columns, frame.columns)
    for column in [c for c in columns if c not in TEXT_COLUMNS]:
        if not pd.api.types.is_numeric_dtype(frame[column]):  # a column of nulls, or one that holds more than numbers
            try:
                frame[column] = frame[column].astype("float64")
            except (TypeError, ValueError):
                raise UserError(f"{path}: {column!r} holds text; expected numbers or null") from None
    return frame

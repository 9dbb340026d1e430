"""Read the files of one run, each checked against the run's manifest."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from ppo_vs_grpo.benchmarks.records.manifest import check_hashes, read_manifest
from ppo_vs_grpo.benchmarks.records.schema import (
    EVAL_COLUMNS,
    LENGTH_COLUMNS,
    MEMORY_COLUMNS,
    METRIC_COLUMNS,
    PROBE_COLUMNS,
    ROW_KEYS,
    SAMPLE_COLUMNS,
    TEXT_COLUMNS,
    check_columns,
    read_lines,
    read_object,
)
from ppo_vs_grpo.benchmarks.records.visible import whole_characters
from ppo_vs_grpo.tasks.errors import UserError


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run. The frames of a failed run are empty, because nobody knows how far it came."""

    manifest: dict[str, Any]
    spec: dict[str, Any]
    environment: dict[str, Any]
    metrics: pd.DataFrame
    evals: pd.DataFrame
    memory: pd.DataFrame
    probes: pd.DataFrame
    samples: pd.DataFrame


def read_run(folder: Path, listed: str | None = None) -> RunFiles:
    """Read a finished run's folder. A file that does not fit its manifest is a UserError.

    `listed` is the seal that the suite's lock has for the run, if it has one.
    """
    manifest = read_manifest(folder, listed)
    spec = read_object(folder / "spec.json")
    environment = folder / "env.json"
    env = read_object(environment) if environment.exists() else {}
    check_hashes(folder, manifest["files"])
    if manifest["status"] == "failed":
        kinds = (METRIC_COLUMNS, EVAL_COLUMNS, MEMORY_COLUMNS, PROBE_COLUMNS, SAMPLE_COLUMNS)
        return RunFiles(manifest, spec, env, *[pd.DataFrame(columns=list(columns)) for columns in kinds])
    may_lack = manifest["purpose"] == "timing"
    return RunFiles(
        manifest,
        spec,
        env,
        read_records(folder, "metrics", METRIC_COLUMNS),
        read_records(folder, "evals", EVAL_COLUMNS, may_lack),
        read_records(folder, "memory", MEMORY_COLUMNS, may_lack=True),
        read_records(folder, "probes", PROBE_COLUMNS, may_lack=True),
        read_samples(folder),
    )


def read_samples(folder: Path) -> pd.DataFrame:
    """Read the transcripts of samples.jsonl.gz, a row each; a run that kept none has no such file."""
    path = folder / "samples.jsonl.gz"
    if not path.exists():
        return pd.DataFrame(columns=list(SAMPLE_COLUMNS))
    try:
        rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path}: not gzipped JSON lines ({str(error).splitlines()[0]})") from None
    frame = pd.DataFrame([{name: _written(value) for name, value in row.items()} for row in rows])
    check_columns(path, SAMPLE_COLUMNS, frame.columns)
    return frame


def _written(value: Any) -> Any:
    return whole_characters(value) if isinstance(value, str) else value


def read_records(folder: Path, name: str, columns: tuple[str, ...], may_lack: bool = False) -> pd.DataFrame:
    """Read NAME.parquet, or NAME.jsonl where there is none, as columns of numbers and of text.

    Every column in `columns` must be there, and no row twice; more columns are kept. With `may_lack`, no file
    reads as no rows.
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
    kinds = dict(frame.dtypes)
    later = [column for column in LENGTH_COLUMNS if column in kinds]
    for column in [c for c in (*columns, *later) if c not in TEXT_COLUMNS]:
        if not pd.api.types.is_numeric_dtype(kinds[column]):  # a column of nulls, or one that holds more than numbers
            try:
                frame[column] = frame[column].astype("float64")
            except (TypeError, ValueError):
                raise UserError(f"{path}: {column!r} holds text; expected numbers or null") from None
    if (double := frame.duplicated(list(ROW_KEYS[name]))).any():
        row = frame[double].iloc[0]
        same = ", ".join(f"{column} {row[column]}" for column in ROW_KEYS[name])
        raise UserError(f"{path}: two rows of {same}; a run writes each once")
    return frame

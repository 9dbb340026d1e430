"""Results in a few parquet files, without the runs' folders: what is published beside a report.

    records/
      runs.parquet      `Results.runs`, and as JSON each run's spec, surroundings and hashes of its files
      NAME.parquet      each other frame of `Results`; of `samples` the first and the last evaluation of each run
      contents.json     the hash of each of these files, the passes of short runs, what was ignored, what has no seal

Every number is what it was, so a report of these files has the same id and the same bytes as one of the runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.records.folder import fingerprint, write_whole
from ppo_vs_grpo.benchmarks.records.schema import read_object
from ppo_vs_grpo.tasks.errors import UserError

RECORDS = "records"
CONTENTS = "contents.json"

FRAMES = ("metrics", "evals", "memory", "probes", "timing", "missing", "speed", "speed_memory", "samples")
OF_RUNS = {"spec": "specs", "environment": "environments", "files": "hashes"}
"""Columns of runs.parquet that hold JSON, and the mapping of `Results` that each is."""

LEVEL = 19
"""Of zstd: a published suite is written once and kept for good."""

SPLIT = "byte stream split"
ENCODINGS = ("dictionary", SPLIT, "plain")
"""How a column may be written: values that recur, numbers that hardly do, and all others."""


def write_records(results: Results, folder: Path) -> Path:
    """Write records/ into a folder; returns its path."""
    place = folder / RECORDS
    place.mkdir(parents=True, exist_ok=True)
    of_runs = {
        column: [json.dumps(getattr(results, name)[key]) for key in results.runs["key"]]
        for column, name in OF_RUNS.items()
    }
    frames = {"runs": results.runs.assign(**of_runs)} | {name: _kept(results, name) for name in FRAMES}
    for name, frame in frames.items():
        _write(frame, place / f"{name}.parquet")
    files = {f"{name}.parquet": fingerprint(place / f"{name}.parquet") for name in frames}
    rest = {"files": files, "throughput": list(results.throughput), "ignored": list(results.ignored)}
    rest |= {"unsealed": list(results.unsealed)}
    write_whole(place / CONTENTS, json.dumps(rest, indent=1) + "\n")
    return place


def read_published(folder: Path, suite: Mapping[str, Any]) -> Results:
    """Read the records/ of a suite's published folder. UserError for a file that is missing or was changed."""
    place = folder / RECORDS
    contents = read_object(place / CONTENTS)
    runs = _read(place / "runs.parquet", contents)
    fields: dict[str, Any] = {name: _read(place / f"{name}.parquet", contents) for name in FRAMES}
    for column, name in OF_RUNS.items():
        fields[name] = dict(zip(runs["key"], map(json.loads, runs.pop(column)), strict=True))
    fields |= {name: tuple(contents[name]) for name in ("throughput", "ignored", "unsealed")}
    return Results(suite=suite, runs=runs, **fields)


def differing_records(one: Results, other: Results) -> list[str]:
    """What of two Results is not equal, but for what was ignored: names of their fields."""
    frames = [name for name in ("runs", *FRAMES) if not _kept(one, name).equals(_kept(other, name))]
    rest = ("suite", *OF_RUNS.values(), "throughput")
    return [*frames, *[name for name in rest if getattr(one, name) != getattr(other, name)]]


def _kept(results: Results, name: str) -> pd.DataFrame:
    """The rows of a frame that are published: of transcripts those that a report shows, since texts may be long."""
    frame: pd.DataFrame = getattr(results, name)
    if name != "samples":
        return frame
    ends = frame.groupby("key")["update"].transform("max")
    return frame[(frame["update"] == 0) | (frame["update"] == ends)].reset_index(drop=True)


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame small: each column by whichever encoding takes the fewest bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    _encode(table, path, {name: _smallest(table.select([name])) for name in table.column_names})


def _smallest(column: pa.Table) -> str:
    """The encoding in which a table of one column takes the fewest bytes. Only numbers can be split into bytes."""
    (field,) = column.schema.remove_metadata()
    number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ways = [way for way in ENCODINGS if number or way != SPLIT]
    return min(ways, key=lambda way: _bytes(column, {field.name: way}))


def _bytes(table: pa.Table, chosen: Mapping[str, str]) -> int:
    """What a table takes, without what is said of it."""
    written = pa.BufferOutputStream()
    _encode(table.replace_schema_metadata(None), written, chosen)
    return int(written.getvalue().size)


def _encode(table: pa.Table, to: Any, chosen: Mapping[str, str]) -> None:
    named = {way: [name for name, its in chosen.items() if its == way] for way in ENCODINGS}
    pq.write_table(
        table, to, compression="zstd", compression_level=LEVEL, write_statistics=False,
        use_dictionary=named["dictionary"], use_byte_stream_split=named[SPLIT],
    )  # fmt: skip


def _read(path: Path, contents: Mapping[str, Any]) -> pd.DataFrame:
    expected = contents["files"].get(path.name)
    if not path.is_file():
        raise UserError(f"{path}: missing; a published suite has one. Restore it")
    if fingerprint(path) != expected:
        raise UserError(f"{path}: changed since it was published: its sha256 is not that of {CONTENTS}. Restore it")
    return pd.read_parquet(path)

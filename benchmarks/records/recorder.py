"""Writes a run's folder: lines as they happen, tables at the end, and the manifest last.

results/README.md describes every file. The manifest is written atomically: its presence means finished.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.records.folder import appended, fingerprint, to_disk
from ppo_vs_grpo.benchmarks.records.manifest import write_manifest

LINES = ("metrics", "evals", "probes")
"""Files of lines, by their stem. What was measured of memory is written at the end alone."""


class Recorder:
    """Writes one run's folder. Lines are flushed as they are written, so that a killed run keeps its history.

    They are not kept in memory: those of a thousand updates take 3 MB there, which a long run's meters would show.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Take the run's folder, and who the run is: `RunSpec.identity`."""
        self.folder, self.identity = folder, identity
        self._columns: dict[str, tuple[str, ...]] = {}  # of each file's first line
        self._begins_bytes: dict[str, int] = {}  # where this run's lines begin in a file that was there before
        self._memory: list[dict[str, Any]] = []
        self._transcripts: list[dict[str, Any]] = []

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Append an update's numbers; a number that is not finite becomes null."""
        self._append("metrics", [row])

    def evals(self, rows: Iterable[Mapping[str, Any]], transcripts: Iterable[Mapping[str, Any]]) -> None:
        """Append an evaluation's rows and keep its transcripts for the end."""
        self._append("evals", rows)
        self._transcripts.extend({key: _finite(value) for key, value in t.items()} for t in transcripts)

    def probes(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append what a probe measured."""
        self._append("probes", rows)

    def memory(self, phase: str, source: str, peak_bytes: int, role: str = "process") -> None:
        """Keep a peak of memory: of the whole process, or of what a role held."""
        self._memory.append({"phase": phase, "role": role, "source": source, "bytes": peak_bytes})

    def standing(self) -> dict[str, Any]:
        """Where the records stand: each file's bytes and hash, and what is not in a file yet. The files are on disk."""
        paths = [path for name in LINES if (path := self.folder / f"{name}.jsonl").exists()]
        for path in paths:
            to_disk(path)
        files = {path.name: {"bytes": path.stat().st_size, "sha256": fingerprint(path)} for path in paths}
        return {"files": files, "memory": self._memory, "transcripts": self._transcripts}

    def go_on(self, stood: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with files that are as they stood then; returns the last update's numbers."""
        self._begins_bytes = {Path(file).stem: 0 for file in stood["files"]}
        stood_lines = {Path(file).stem: self._read(Path(file).stem) for file in stood["files"]}
        self._columns = {name: tuple(rows[0]) for name, rows in stood_lines.items()}
        self._memory, self._transcripts = list(stood["memory"]), list(stood["transcripts"])
        return stood_lines["metrics"][-1]

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write tables and transcripts, then the manifest with every file's hash."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = {name: self._read(name) for name in LINES} | {"memory": self._memory}
        for name, rows in tables.items():
            if rows:
                columns = dict.fromkeys(column for row in rows for column in row)
                table = pa.Table.from_pydict({column: [row.get(column) for row in rows] for column in columns})
                pq.write_table(table, self.folder / f"{name}.parquet")
        if self._transcripts:
            lines = "".join(json.dumps(t, allow_nan=False) + "\n" for t in self._transcripts)
            (self.folder / "samples.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
        write_manifest(self.folder, self.identity, manifest)

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        before = dict.fromkeys(self._columns.get(name, ()))  # a part that no row has is null
        finite = [before | {key: _finite(value) for key, value in row.items()} for row in rows]
        if finite:
            self._columns.setdefault(name, tuple(finite[0]))
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in finite)
        self._begins_bytes.setdefault(name, appended(self.folder / f"{name}.jsonl", lines.encode()))

    def _read(self, name: str) -> list[dict[str, Any]]:
        """The lines that were written; half a one, which a full disk leaves, is none."""
        if name not in self._begins_bytes:
            return []
        written = (self.folder / f"{name}.jsonl").read_bytes()[self._begins_bytes[name] :]
        lines = written.splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

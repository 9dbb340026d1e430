"""Is every number of a report what its runs say? The report is made again, and what differs is named."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.load import load
from ppo_vs_grpo.benchmarks.analysis.frames.parts import narrowed
from ppo_vs_grpo.benchmarks.analysis.frames.published import RECORDS, differing_records
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.analysis.report.figures import files
from ppo_vs_grpo.benchmarks.records.folder import LOCK, MANIFEST, Purpose, run_folder
from ppo_vs_grpo.benchmarks.records.manifest import changed_weights
from ppo_vs_grpo.benchmarks.records.schema import RUN_COLUMNS, read_object
from ppo_vs_grpo.tasks.errors import UserError


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something of a report that its runs do not say: where, what is there and what should be."""

    where: str
    found: str
    expected: str


def verify(folder: Path, results: Path | None = None) -> list[Mismatch]:
    """Compare the report in `folder` with its runs, value by value and file by file; empty when all agrees.

    The runs lie in `results`, else beside the report as published records, else in the folder above. A run that is not
    as it was left is named first, with the fields of its manifest that changed where index.parquet still has them.
    Published records are compared with `results` frame by frame. UserError where there is no report, there are no
    runs, or the suite's lock is not as it was written.
    """
    folder = folder.parent if folder.name == "report.html" else folder
    if not (folder / "report.html").is_file():
        raise UserError(f"{folder}: no report.html there; give the folder of a report, such as results/core/report")
    published = (folder / RECORDS).is_dir()
    runs = results or (folder if published else folder.parent)
    read = load(runs, strict=False)
    with tempfile.TemporaryDirectory() as scratch:
        made = write.write(narrowed(read, **_part(folder)), Path(scratch), kinds=_kinds(folder)).parent
        if (folder / LOCK).is_file():  # a published report has its suite beside it
            shutil.copy(runs / LOCK, made / LOCK)
        paths = {path.relative_to(root) for root in (folder, made) for path in root.rglob("*.*")}
        names = sorted(str(path) for path in paths if path.parts[0] != RECORDS)
        found = [mismatch for name in names for mismatch in _mismatches(name, folder / name, made / name)]
    if published and runs != folder:
        found += [
            Mismatch(f"{RECORDS}: {name}", "other values", "what the runs give")
            for name in differing_records(load(folder), read)
        ]
    return [*_unreadable(runs, read), *([] if (runs / RECORDS).is_dir() else _weights(runs, read)), *found]


def _weights(folder: Path, read: Results) -> list[Mismatch]:
    """The saved networks that are not as their runs left them. Those that were deleted are no matter."""
    trained = read.runs.loc[read.runs["purpose"] == "train", "key"]
    return [
        Mismatch(f"{key}/{name}", "other content", "what the run saved")
        for key in trained
        for name in changed_weights(run_folder(folder, "train", key))
    ]


def _unreadable(folder: Path, read: Results) -> list[Mismatch]:
    """The runs that cannot be trusted, each with what is wrong and the fields of its manifest that changed."""
    found = []
    for run in read.missing[read.missing["state"] == "unreadable"].to_dict("records"):
        found.append(Mismatch(run["key"], run["message"], "nothing that can be trusted"))
        found += _edited(folder, run["purpose"], run["key"])
    return found


def _edited(folder: Path, purpose: Purpose, key: str) -> list[Mismatch]:
    """The fields of a manifest that are not what index.parquet, written when the suite ended, has."""
    index = folder / "index.parquet"
    try:
        manifest = read_object(run_folder(folder, purpose, key) / MANIFEST)
        (kept,) = pd.read_parquet(index).query("key == @key")[list(RUN_COLUMNS)].to_dict("records")
    except (UserError, OSError, ValueError, KeyError):  # no index, or a damaged one, or no such run in it
        return []
    place = f"{key}/{MANIFEST}"
    pairs = [(name, manifest.get(name), None if pd.isna(kept[name]) else kept[name]) for name in RUN_COLUMNS]
    return [Mismatch(f"{place}, {name}", str(now), str(then)) for name, now, then in pairs if now != then]


def _kinds(folder: Path) -> set[str]:
    """The kinds of file that a report has its figures as, beside the first one, which is always a PNG."""
    names = sorted(path.name for path in (folder / "figures").glob("*.*"))
    first = next((name for name in names if name.endswith(".png")), "")
    return {name.rpartition(".")[2] for name in names if name != first} & {*files.UNDATED}


def _part(folder: Path) -> dict[str, Any]:
    """Which part of its suite a report is of, as `narrowed` takes it; empty for the whole."""
    try:
        part: dict[str, Any] = json.loads((folder / "claims.json").read_text(encoding="utf-8")).get("part") or {}
    except (OSError, ValueError):  # a file that is missing or broken is a mismatch, and is named as one
        return {}
    return part


def _mismatches(name: str, theirs: Path, ours: Path) -> list[Mismatch]:
    if not theirs.exists() or not ours.exists():
        state = {True: "there", False: "missing"}
        return [Mismatch(name, state[theirs.exists()], state[ours.exists()])]
    if theirs.read_bytes() == ours.read_bytes():
        return []
    values = table_cells(name, theirs, ours) if name.endswith(".csv") else []
    return values or [Mismatch(name, "other content", "otherwise; look at the tables first")]


def table_cells(name: str, theirs: Path, ours: Path) -> list[Mismatch]:
    """The values of two tables that differ, each with its row, from 1, and its column."""
    tables = [rows_of(path) for path in (theirs, ours)]
    header = max(tables, key=len)[0] if any(tables) else []
    found = []
    for place, (row, expected) in enumerate(zip_longest(*tables, fillvalue=[])):
        for column, (value, right) in enumerate(zip_longest(row, expected, fillvalue="")):
            if value != right:
                title = header[column] if column < len(header) else str(column + 1)
                found.append(Mismatch(f"{name}, row {place}, {title}", value or "nothing", right or "nothing"))
    return found


def rows_of(path: Path) -> list[list[str]]:
    """A table's rows, its head first; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))

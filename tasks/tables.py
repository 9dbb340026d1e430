"""Rows of data from files: JSON Lines, JSON, CSV and Parquet. Errors name the file and the line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ppo_vs_grpo.tasks.errors import UserError

Row = dict[str, Any]

LONGEST_FIELD = 2**31 - 1
"""Characters of a CSV field; the csv module's own limit, 131,072, is shorter than some prompts."""


def is_file(source: str) -> bool:
    """Whether a source is called as a file that can be read; else it is a dataset of the hub, or a folder of one."""
    return Path(source).suffix.lower() in READERS


def read(option: str, source: str) -> list[Row]:
    """The rows of a file as plain Python values. Relative paths are from the current folder; text is UTF-8.

    Raises UserError, which begins with `option`, for a file that is missing, empty or cannot be parsed.
    """
    path = Path(source).expanduser().absolute()
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"options.{option}: {source!r}: should end in {', '.join(READERS)}")
    if not path.is_file():
        raise UserError(f"options.{option}: {source!r}: there is no file {path}")
    try:
        rows = reader(path)
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1 if error.start < len(error.object) else 1
        raise UserError(f"options.{option}: {path}, near line {line}: should be UTF-8 text ({error.reason})") from None
    except _LineError as error:
        raise UserError(f"options.{option}: {path}, line {error.line}: {error}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"options.{option}: {path}: cannot be read: {' '.join(str(error).split())}") from None
    if not rows:
        raise UserError(f"options.{option}: {path}: should have rows, and has none")
    return rows


class _LineError(Exception):
    """What is wrong with a line, counted from 1."""

    def __init__(self, line: int, wrong: str) -> None:
        super().__init__(wrong)
        self.line = line


def _json_lines(path: Path) -> list[Row]:
    rows = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    rows.append(_row(json.loads(line), number))
                except json.JSONDecodeError as error:
                    raise _LineError(number, f"should be a JSON object ({error.msg}, column {error.colno})") from None
    return rows


def _json(path: Path) -> list[Row]:
    text = path.read_text(encoding="utf-8-sig")
    if not text.strip():
        return []
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise _LineError(error.lineno, f"should be JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(found, list):
        raise _LineError(1, "should be a list of objects; one object a line is a .jsonl file")
    return [_row(one, number, "row") for number, one in enumerate(found, 1)]


def _row(found: object, number: int, what: str = "line") -> Row:
    if not isinstance(found, dict):
        shown = json.dumps(found, ensure_ascii=False)[:40]
        if what == "row":
            raise ValueError(f"row {number} should be an object, not {shown}")
        raise _LineError(number, f"should be a JSON object, not {shown}")
    return found


def _csv(path: Path) -> list[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            columns = next(reader, [])
            if len(set(columns)) < len(columns):
                raise _LineError(1, f"the columns should have different names, not {', '.join(columns)}")
            return list(_records(reader, columns))
        except csv.Error as error:
            raise _LineError(reader.line_num, str(error)) from None


def _records(reader: Any, columns: list[str]) -> Iterator[Row]:
    for values in reader:
        if values and len(values) != len(columns):
            raise _LineError(reader.line_num, f"should have {len(columns)} fields as the first line, not {len(values)}")
        if values:
            yield dict(zip(columns, values, strict=True))


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet

    rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
    ".csv": _csv,
}

"""throughput.jsonl: its settings, its columns, reading it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.records.folder import LOCK, fingerprint
from ppo_vs_grpo.benchmarks.records.schema import check_columns, read_lines
from ppo_vs_grpo.tasks.errors import UserError

FILE = "throughput.jsonl"


SETTINGS = ("arm", "runs", "completions")


COLUMNS = (*SETTINGS, "slots", "repeat", "seconds", "contended", "error")


def read(folder: Path, listed: str | None = None) -> list[dict[str, Any]]:
    """The passes that were measured, in their order: none where there is no file. UserError for a broken line.

    `listed` is the file's hash in the suite's lock, if it has one; another file is a UserError.
    """
    path = folder / FILE
    if listed is not None and (not path.is_file() or fingerprint(path) != listed):
        raise UserError(
            f"{path}: not the file of which {LOCK} has the hash: changed since the suite ended. Restore it, or delete "
            "it and run the suite again, which measures its passes anew"
        )
    rows = read_lines(path) if path.exists() else []
    for number, row in enumerate(rows, start=1):
        check_columns(Path(f"{path}, line {number}"), COLUMNS, row)
    return rows


def of(asked: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of passes that a suite asks for, and that went well."""
    mine = [row for row in rows if all(row[name] == asked[name] for name in SETTINGS) and not row["error"]]
    return [row for row in mine if row["slots"] in asked["slots"] and row["repeat"] < asked["repeats"]]

"""How many runs an hour, by how many are at work at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ppo_vs_grpo.benchmarks.runfiles import check_columns, read_lines

if TYPE_CHECKING:
    from ppo_vs_grpo.benchmarks.frames import Results

FILE = "throughput.jsonl"
SETTINGS = ("arm", "runs", "completions")
COLUMNS = (*SETTINGS, "slots", "repeat", "seconds", "contended", "error")
TABLE = ("slots", "n", "runs_per_hour", "least", "most", "times", "note")


def read(folder: Path) -> list[dict[str, Any]]:
    """The passes that were measured, in their order: none where there is no file. UserError for a broken line."""
    path = folder / FILE
    rows = read_lines(path) if path.exists() else []
    for number, row in enumerate(rows, start=1):
        check_columns(Path(f"{path}, line {number}"), COLUMNS, row)
    return rows


def of(asked: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of passes that a suite asks for, and that went well."""
    mine = [row for row in rows if all(row[name] == asked[name] for name in SETTINGS) and not row["error"]]
    return [row for row in mine if row["slots"] in asked["slots"] and row["repeat"] < asked["repeats"]]


def per_hour(runs: Any, seconds: Any) -> Any:
    """Runs an hour, of one pass or of a column of them."""
    return 3600 * runs / seconds


def throughput(results: Results) -> pd.DataFrame:
    """A row per number of slots: runs an hour, median over repeats and extremes, and times those of the first number.

    A ratio is taken within a repeat. Passes beside other work count only where there is no other, as the note says.
    """
    rows = pd.DataFrame(results.throughput, columns=list(COLUMNS))
    first = results.suite["throughput"]["slots"][0]
    made = []
    for slots in results.suite["throughput"]["slots"]:
        here = rows[rows["slots"] == slots]
        well = here[here["seconds"].notna()]
        alone = well[~well["contended"].astype(bool)]
        used = (alone if len(alone) else well).set_index("repeat")
        base = rows[(rows["slots"] == first) & rows["repeat"].isin(used.index)].set_index("repeat")["seconds"]
        hourly = per_hour(used["runs"], used["seconds"].astype(float))
        times = (base.astype(float) / used["seconds"].astype(float)).dropna()
        notes = [str(error) for error in here["error"].dropna().unique()]
        notes += ["contended"] * (len(used) > 0 and not len(alone)) + ["not run"] * here.empty
        made.append(
            {
                **{"slots": slots, "n": len(used), "runs_per_hour": hourly.median()},
                **{"least": hourly.min(), "most": hourly.max(), "times": times.median()},
                "note": "; ".join(notes),
            }
        )
    return pd.DataFrame(made, columns=list(TABLE))

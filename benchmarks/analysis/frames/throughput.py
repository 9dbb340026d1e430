"""How many runs an hour, by how many are at work at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ppo_vs_grpo.benchmarks.records.throughput import COLUMNS

if TYPE_CHECKING:
    from ppo_vs_grpo.benchmarks.analysis.frames.results import Results

TABLE = ("slots", "n", "runs_per_hour", "least", "most", "times", "note")


def per_hour(runs: Any, seconds: Any) -> Any:
    """Runs an hour, of one pass or of a column of them."""
    return 3600 * runs / seconds


def throughput_table(results: Results) -> pd.DataFrame:
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

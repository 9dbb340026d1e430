"""What commands print: rows in columns, and the summary of a suite's results. pandas is loaded by what needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppo_vs_grpo.benchmarks.records.visible import in_a_line

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
    from ppo_vs_grpo.benchmarks.analysis.report.contents import Judged

TERMINAL = {
    **{"task": "task", "arm": "arm", "n": "n", "start": "start", "final": "final mean", "seed_sd": "seed sd"},
    **{"seconds_per_1000": "s per 1,000 completions", "peak_memory_mb": "peak memory MB", "note": "note"},
}
"""Columns of the summary, and what the terminal and the report call them."""


def print_rows(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    """Rows in columns, without a head."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*[Text(in_a_line(str(cell))) for cell in row])
    console.print(table)


def print_summary(console: Console, frame: DataFrame) -> None:
    """The report's summary table; its notes, often long and often the same, under it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = [column for column in frame.columns if column != "note"]
    for column in columns:
        labels = column in ("task", "arm")
        table.add_column(str(column), justify="left" if labels else "right", no_wrap=labels)
    for row in frame[columns].itertuples(index=False):
        table.add_row(*[Text(in_a_line(str(value))) for value in row])
    console.print(table)
    for note, rows in frame.groupby("note", sort=False):
        if len(str(note)) > 1:  # a dash stands for none
            names = ", ".join(f"{task} {arm}" for task, arm in zip(rows["task"], rows["arm"], strict=True))
            console.print(in_a_line(f"{note}: {names}"), style="dim", markup=False, highlight=False)


def summary(results: Results) -> DataFrame:
    """A small table of text for the terminal: a row per task and arm, a dash for what does not exist.

    A cost that was only measured beside other work has a star; the note says that it is contended.
    """
    from ppo_vs_grpo.benchmarks.analysis.frames import outcomes
    from ppo_vs_grpo.benchmarks.analysis.report import tables

    table = tables.dashed(outcomes.summary(results))
    places = list(zip(table["task"], table["arm"], strict=True))
    for name, shared in outcomes.contended_costs(results).items():
        marked = [f"{tables.FORMATS[name].format(shared[place])}*" if place in shared else "" for place in places]
        table[name] = [text if star == "" else star for text, star in zip(table[name], marked, strict=True)]
    return table[list(TERMINAL)].rename(columns=TERMINAL)


def lead_sentences(found: Judged) -> list[str]:
    """The answer, and each claim's verdict: what a terminal says of a report."""
    from ppo_vs_grpo.benchmarks.analysis.report.answer import answer

    return [
        answer(found.verdicts),
        *(f"{one.name} {one.verdict}: {one.here}" for one in found.claims),
    ]

"""What commands print: rows in columns, and the summary of a suite's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console


def print_rows(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    """Rows in columns, without a head."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)


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
        table.add_row(*[Text(str(value)) for value in row])
    console.print(table)
    for note, rows in frame.groupby("note", sort=False):
        if len(str(note)) > 1:  # a dash stands for none
            names = ", ".join(f"{task} {arm}" for task, arm in zip(rows["task"], rows["arm"], strict=True))
            console.print(f"{note}: {names}", style="dim", markup=False, highlight=False)

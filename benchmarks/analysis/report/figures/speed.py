"""Figures of speed on equal work: how many times the seconds a peer takes, and how cost grows with the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.speed import pairs, ratios, speed_runs
from ppo_vs_grpo.benchmarks.analysis.frames.throughput import per_hour, throughput_table
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import add_caption, algorithms, blank, rows_of, side_by_side

DIALS = {
    "new_tokens": "new tokens",
    "start": "start model",
    "completions": "rows a step",
    "group_size": "group size",
    "epochs": "epochs",
}
"""What cells may differ in, and how an axis calls it."""

MEASURES = {"ms_each": "ms a completion", "peak_mb": "peak MB"}


def ratio_figure(results: Results, caption: str = "") -> Figure:
    """A row a cell: how many times the seconds, and the bytes, of its counterpart each peer takes."""
    table, colours = ratios(results), style.arm_colours(algorithms(results))
    cells = [cell for cell in results.cells if cell in set(table["cell"])]
    marks = [
        Line2D([], [], color=colours[peer], marker="o", linewidth=2, label=f"{peer} / {own}")
        for own, peer in pairs(results)
    ]
    head_in, foot_in = 0.75 + _legend_in(marks), 0.65
    height = head_in + 0.34 * max(2, len(cells)) + foot_in
    with matplotlib.rc_context(style.STYLE):
        figure = blank(height)
        figure.text(0.012, 1 - 0.08 / height, f"{results.name}: peers on equal work", va="top", fontsize=13,
                    fontweight="bold")  # fmt: skip
        grid = figure.add_gridspec(1, 2, left=0.28, right=0.975, top=1 - head_in / height, bottom=foot_in / height,
                                   wspace=0.08)  # fmt: skip
        for column, (value, title) in enumerate(
            {"times": "times the seconds", "memory_times": "times the peak"}.items()
        ):
            ax = figure.add_subplot(grid[0, column])
            _dots(ax, table, cells, colours, value)
            ax.set_title(title)
            ax.tick_params(labelleft=column == 0)
        _legend(figure, marks, height)
        add_caption(figure, caption, height)
    return figure


def _legend(figure: Figure, marks: list[Line2D], height: float) -> None:
    """Name the marks under the title, in as many rows as they need."""
    if marks:
        figure.legend(handles=marks, loc="upper left", bbox_to_anchor=(0, 1 - 0.32 / height), borderaxespad=0.2,
                      ncols=side_by_side(_labels(marks)), handlelength=1.5, columnspacing=1.4)  # fmt: skip


def _legend_in(marks: list[Line2D]) -> float:
    """Inches that the legend takes."""
    return 0.2 * rows_of(_labels(marks)) if marks else 0.0


def _labels(marks: list[Line2D]) -> list[str]:
    return [str(mark.get_label()) for mark in marks]


def _dots(ax: Axes, table: pd.DataFrame, cells: list[str], colours: Mapping[str, str], value: str) -> None:
    """A dot a peer and cell, its extremes a line; open where the machine was shared."""
    peers = list(dict.fromkeys(table["peer"]))
    for row in table.to_dict("records"):
        at = cells.index(row["cell"]) + 0.2 * (peers.index(row["peer"]) - (len(peers) - 1) / 2)
        shade, shared = colours[row["peer"]], row["note"] == "contended"
        if value == "times":
            ax.plot([row["least"], row["most"]], [at, at], color=shade, linewidth=2, alpha=0.6)
        ax.plot([row[value]], [at], "o", color=shade, markersize=5, fillstyle="none" if shared else "full")
    ax.axvline(1, color=style.FAINT, linewidth=0.9)
    ax.set_xscale("log")
    ax.set_yticks(range(len(cells)), cells)
    ax.set_ylim(len(cells) - 0.5, -0.5)
    low, high = ax.get_xlim()
    marks = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16) if high > 1.6 else (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4)
    ticks = [tick for tick in marks if low <= tick <= high or tick == 1]
    ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def scaling_figure(results: Results, caption: str = "") -> Figure:
    """Cost of a completion and peak memory against each dial that some cells turn alone, and against real tokens."""
    runs = speed_runs(results)
    runs = runs.assign(ms_each=1000 * runs["step_s"] / runs["completions"], each=runs["tokens"] / runs["completions"])
    colours = style.arm_colours(algorithms(results))
    panels = {dial: part for dial in DIALS if (part := turned(runs, dial)) is not None}
    marks = [Line2D([], [], color=shade, marker="o", linewidth=1.6, label=arm) for arm, shade in colours.items()]
    marks.append(Line2D([], [], color=style.INK, linestyle="--", linewidth=1.2, label="full length"))
    head_in, row_in, foot_in = 0.65 + _legend_in(marks), 1.9, 0.75
    height = head_in + 2 * row_in + foot_in
    with matplotlib.rc_context(style.STYLE | {"axes.titlesize": 9, "ytick.labelsize": 8, "xtick.labelsize": 8}):
        figure = blank(height)
        figure.text(0.012, 1 - 0.08 / height, f"{results.name}: how cost grows", va="top", fontsize=13,
                    fontweight="bold")  # fmt: skip
        widths = [*(max(2, part[dial].nunique()) for dial, part in panels.items()), 3]
        grid = figure.add_gridspec(2, len(widths), left=0.09, right=0.985, top=1 - head_in / height,
                                   bottom=foot_in / height, wspace=0.42, hspace=0.22, width_ratios=widths)  # fmt: skip
        for row, (measure, says) in enumerate(MEASURES.items()):
            for column, (dial, part) in enumerate(panels.items()):
                ax = figure.add_subplot(grid[row, column])
                _lines(ax, part, dial, measure, colours)
                ax.set_xlabel(DIALS[dial] if row else "")
                if column == 0:
                    ax.set_ylabel(says, fontweight="bold")
            ax = figure.add_subplot(grid[row, len(panels)])
            _real_tokens(ax, runs, measure, colours)
            ax.set_xlabel("real tokens" if row else "")
        _legend(figure, marks, height)
        add_caption(figure, caption, height)
    return figure


def throughput_figure(results: Results, caption: str = "") -> Figure:
    """Runs an hour against slots, a dot a pass; dashed, what the first number of slots would give in proportion."""
    table, height = throughput_table(results), 3.2
    rows = [row for row in results.throughput if row["seconds"]]
    with matplotlib.rc_context(style.STYLE):
        figure = blank(height)
        figure.text(0.012, 1 - 0.08 / height, f"{results.name}: runs an hour", va="top", fontsize=13, fontweight="bold")
        ax = figure.add_axes((0.11, 0.85 / height, 0.865, 1 - 1.45 / height))
        for row in rows:
            hourly, filled = per_hour(row["runs"], row["seconds"]), "none" if row["contended"] else "full"
            ax.plot([row["slots"]], [hourly], "o", color=style.INK, markersize=5, fillstyle=filled)
        ax.plot(table["slots"], table["runs_per_hour"], color=style.INK, linewidth=1.5)
        each = table["runs_per_hour"].iloc[0] / table["slots"].iloc[0]
        ax.plot(
            table["slots"],
            each * table["slots"],
            color=style.FAINT,
            linewidth=1.2,
            linestyle="--",
            label="in proportion",
        )
        ax.legend(loc="lower right")
        ax.set_xticks(table["slots"].tolist())
        ax.set_xlabel("slots")
        ax.set_ylabel("runs an hour")
        ax.set_ylim(bottom=0)
        add_caption(figure, caption, height)
    return figure


def turned(runs: pd.DataFrame, dial: str) -> pd.DataFrame | None:
    """The runs of the most cells that differ in `dial` alone, and in whether rows end early; None: no such cells."""
    others = [name for name in DIALS if name != dial]
    best = None
    for _, part in runs.groupby(others, sort=True):
        if part[dial].nunique() > max(1, 0 if best is None else best[dial].nunique()):
            best = part
    return best


def _lines(ax: Axes, runs: pd.DataFrame, dial: str, measure: str, colours: Mapping[str, str]) -> None:
    """A line an arm over the dial's values, evenly set; dashed for rows of full length."""
    values = list(dict.fromkeys(runs[dial])) if dial == "start" else sorted(runs[dial].unique())
    for arm, shade in colours.items():
        for lengths, look in LENGTHS.items():
            part = runs[(runs["arm"] == arm) & (runs["lengths"] == lengths)]
            middle = part.groupby(dial)[measure].median()
            points = [(x, middle[value]) for x, value in enumerate(values) if value in middle.index]
            if points:
                ax.plot(*zip(*points, strict=True), marker="o", color=shade, linewidth=1.5, markersize=4, **look)
    ax.set_xticks(range(len(values)), [str(value).rpartition("/")[2] for value in values])
    ax.set_xlim(-0.3, len(values) - 0.7)
    ax.set_ylim(bottom=0)


LENGTHS: dict[str, dict[str, Any]] = {"ragged": {"linestyle": "-"}, "full": {"linestyle": "--", "fillstyle": "none"}}


def _real_tokens(ax: Axes, runs: pd.DataFrame, measure: str, colours: Mapping[str, str]) -> None:
    """A dot a cell of the model and epochs that most cells have, against the tokens that a completion really has."""
    common = runs.groupby("start")["cell"].nunique()
    here = runs[(runs["start"] == common.idxmax()) & (runs["epochs"] == 1)] if len(common) else runs
    for arm, shade in colours.items():
        for lengths, look in LENGTHS.items():
            part = here[(here["arm"] == arm) & (here["lengths"] == lengths)]
            middle = part.groupby("cell")[["each", measure]].median()
            ax.plot(middle["each"], middle[measure], "o", color=shade, markersize=4, fillstyle=look.get("fillstyle"))
    ax.set_xlim(0, 1.12 * here["each"].max() if len(here) else 1)
    ax.set_ylim(bottom=0)

"""Figures of speed on equal work: how many times the seconds a peer takes, and how cost grows with the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.speed import pairs, ratios, speed_runs
from ppo_vs_grpo.benchmarks.analysis.frames.throughput import per_hour, throughput_table
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import algorithms, grid

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
        Line2D([], [], **style.line(colours[peer]), marker="o", linewidth=2, label=f"{peer} / {own}")
        for own, peer in pairs(results)
    ]
    rows = [(0.5 + 0.3 * max(2, len(cells)), 1)] * 2
    titles = {"times": "times the seconds", "memory_times": "times the peak memory"}
    with grid(rows, f"{results.name}: peers on equal work", marks, caption) as (figure, axes):
        for (ax,), (value, title) in zip(axes, titles.items(), strict=True):
            _dots(ax, table, cells, colours, value)
            ax.set_title(title)
    return figure


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
    marks = (0.25, 0.5, 1, 2, 4, 8, 16) if high > 3 else (0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 2, 2.5, 3)
    ticks = [tick for tick in marks if low <= tick <= high or tick == 1]
    ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_minor_locator(NullLocator())


def scaling_figure(results: Results, caption: str = "") -> Figure:
    """Cost of a completion and peak memory against each dial that some cells turn alone, and against real tokens."""
    runs = speed_runs(results)
    runs = runs.assign(ms_each=1000 * runs["step_s"] / runs["completions"], each=runs["tokens"] / runs["completions"])
    colours = style.arm_colours(algorithms(results))
    panels = {dial: part for dial in DIALS if (part := turned(runs, dial)) is not None}
    marks = [Line2D([], [], color=shade, marker="o", linewidth=1.6, label=arm) for arm, shade in colours.items()]
    marks.append(Line2D([], [], color=style.INK, linestyle="--", linewidth=1.2, label="full length"))
    rows = [(1.75, 2)] * (len(panels) + 1)
    with grid(rows, f"{results.name}: how cost grows", marks, caption) as (figure, axes):
        for row, (dial, part) in zip(axes, panels.items(), strict=False):
            for ax, measure in zip(row, MEASURES, strict=True):
                _lines(ax, part, dial, measure, colours)
                ax.set_xlabel(DIALS[dial])
        for ax, measure in zip(axes[-1], MEASURES, strict=True):
            _real_tokens(ax, runs, measure, colours)
            ax.set_xlabel("real tokens")
        for row in axes:
            for ax, says in zip(row, MEASURES.values(), strict=True):
                ax.set_title(says if row is axes[0] else "")
                ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    return figure


def throughput_figure(results: Results, caption: str = "") -> Figure:
    """Runs an hour against slots, a dot a pass; dashed, what the first number of slots would give in proportion."""
    table = throughput_table(results)
    rows = [row for row in results.throughput if row["seconds"]]
    with grid([(2.3, 1)], f"{results.name}: runs an hour", caption=caption) as (figure, ((ax,),)):
        for row in rows:
            hourly, filled = per_hour(row["runs"], row["seconds"]), "none" if row["contended"] else "full"
            ax.plot([row["slots"]], [hourly], "o", color=style.INK, markersize=5, fillstyle=filled)
        ax.plot(table["slots"], table["runs_per_hour"], color=style.INK, linewidth=1.5)
        proportion = table["runs_per_hour"].iloc[0] / table["slots"].iloc[0] * table["slots"]
        look: dict[str, Any] = {"color": style.FAINT, "linewidth": 1.2, "linestyle": "--"}
        ax.plot(table["slots"], proportion, **look, label="in proportion")
        ax.legend(loc="lower right")
        ax.set_xticks(table["slots"].tolist())
        ax.set_xlabel("slots")
        ax.set_ylabel("runs an hour")
        ax.set_ylim(bottom=0)
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
            if len(points) > 1:  # an arm that no cell turns has no line to follow
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

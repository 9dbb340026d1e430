"""What all figures share: sizes, legends, captions, files."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, unmatched
from ppo_vs_grpo.benchmarks.analysis.report.figures import style

WIDTH_IN = 6.3


def save(figure: Figure, stem: Path) -> None:
    """Write STEM.svg, STEM.png and STEM.pdf, without dates: the same figure gives the same bytes."""
    with matplotlib.rc_context(style.STYLE):
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        stem.with_suffix(".svg").write_text(shortened(drawn.getvalue()), encoding="utf-8", newline="\n")
        figure.savefig(stem.with_suffix(".png"), dpi=160, metadata={"Software": None})
        figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Creator": None, "Producer": None})


def shortened(svg: str) -> str:
    """A drawing without indentation, whose places have two decimals, a hundredth of a point: a page carries many."""
    places = r'\b(?:d|x|y)="[^"]*"|translate\([^)]*\)'
    svg = re.sub(places, lambda place: re.sub(r"(\.\d\d)\d+", r"\1", place[0]), svg)
    return re.sub(r"\n +", "\n", svg)


def algorithms(results: Results) -> dict[str, str]:
    """Each arm's algorithm, in the order of the suite."""
    return {arm: str(results.suite["arms"][arm]["algorithm"]) for arm in results.arms}


def arms_on(results: Results, task: str) -> dict[str, str]:
    """The colours of the arms that run on a task; an arm has the same one on all its tasks."""
    colours = style.arm_colours(algorithms(results))
    return {arm: colour for arm, colour in colours.items() if task in results.runs_on(arm)}


def timed(results: Results, costs: pd.DataFrame) -> pd.DataFrame:
    """The rows of costs without arms that the suite's timing pass leaves out: training runs are no match for it."""
    arms = (results.suite.get("timing") or {}).get("arms")
    return costs[costs["arm"].isin(arms)] if arms else costs


def of_task(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of one task."""
    return frame[frame["task"] == task]


def blank(height_in: float) -> Figure:
    """An empty figure of the report's width, drawn without a window system."""
    figure = Figure(figsize=(WIDTH_IN, height_in))
    FigureCanvasAgg(figure)
    return figure


def legend(
    figure: Figure, results: Results, task: str | None, colours: Mapping[str, str], title: str, height: float
) -> None:
    """The figure's title, and under it the arms with their numbers of runs and whether their budgets match."""
    complete = results.finals[results.finals["key"].isin(results.complete)]
    labels = []
    for arm in colours:
        runs = complete[complete["arm"] == arm].groupby("task")["key"].count()
        counts = {int(runs.get(name, 0)) for name in ([task] if task else results.runs_on(arm))}
        number = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        labels.append(f"{arm} (n = {number})")
    if any(unmatched(results, name) for name in ([task] if task else results.tasks)):
        title += "   ·   budgets unmatched"
    figure.text(0.012, 1 - 0.08 / height, title, va="top", fontsize=13, fontweight="bold")
    lines = [Line2D([], [], color=colour, linewidth=2.4) for colour in colours.values()]
    figure.legend(
        lines, labels, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.3 / height), ncols=side_by_side(_longest(colours)),
        borderaxespad=0.2, handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip


def side_by_side(labels: Collection[str]) -> int:
    """How many entries of a legend fit beside each other, if all are as long as the longest."""
    return max(1, int(WIDTH_IN / (0.6 + 0.075 * max(len(label) for label in labels))))


def legend_rows(colours: Mapping[str, str]) -> int:
    """Rows that the legend of the arms takes."""
    return rows_of(_longest(colours))


def rows_of(labels: Collection[str]) -> int:
    """Rows that a legend of these labels takes."""
    return -(-len(labels) // side_by_side(labels))


def _longest(arms: Iterable[str]) -> list[str]:
    """The arms' labels at their longest."""
    return [f"{arm} (n = 8 to 8)" for arm in arms]


def add_caption(figure: Figure, caption: str, height: float) -> None:
    """Write the caption, which ends with the report's id, into the lower right corner."""
    figure.text(0.98, 0.06 / height, caption, ha="right", va="bottom", fontsize=7.5, color=style.FAINT)

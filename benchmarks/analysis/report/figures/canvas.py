"""What all figures share: sizes, legends, captions."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox, ScaledTranslation, blended_transform_factory

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, unmatched
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.frame import Rims, framed

WIDTH_IN = 4.5
"""A figure's width: at most two panels beside each other, and its smallest text is 11 pixels on a phone."""
EDGE_IN, LINE_IN, CAPTION_IN = 0.06, 0.185, 0.26
TITLE_CHARACTERS = 46
"""How long a line of a figure's title may be."""
ACROSS_CHARACTERS = 57
USUAL = Rims(left=0.4, right=0.1, above=0.2, below=0.35)
"""Room round a panel before what stands there is drawn and measured: near enough for what lies in the panel."""


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


@contextmanager
def grid(
    rows: Sequence[tuple[float, int]],
    title: str = "",
    handles: Sequence[Artist] = (),
    caption: str = "",
    **changed: Any,
) -> Iterator[tuple[Figure, list[list[Axes]]]]:
    """A figure whose rows of panels have the heights in inches and the numbers of panels given, one or two.

    A row's height holds its titles and labels. Above the panels stand the title and a legend of `handles`, below them
    the caption, at the right; `changed` are settings of matplotlib beside `STYLE`. Draw in the `with` block: at its end
    the panels take the room that their labels leave.
    """
    lines = broken(title, TITLE_CHARACTERS)
    labels = [str(handle.get_label()) for handle in handles]
    title_in = 0.22 * len(lines) + 0.05 if lines else 0.0
    head_in = title_in + (LINE_IN * rows_of(labels) + 0.12 if labels else 0.0) + EDGE_IN
    height = head_in + sum(row_in for row_in, _ in rows) + CAPTION_IN
    with matplotlib.rc_context(style.STYLE | changed):
        figure = blank(height)
        if lines:
            figure.text(
                EDGE_IN / WIDTH_IN, 1 - EDGE_IN / height, "\n".join(lines), va="top", fontsize=style.TITLE,
                fontweight="bold", linespacing=1.25,
            )  # fmt: skip
        if labels:
            figure.legend(
                handles=list(handles), loc="upper left", bbox_to_anchor=(0.0, 1 - title_in / height),
                ncols=side_by_side(labels), borderaxespad=0.2, handlelength=1.8, columnspacing=1.2, labelspacing=0.3,
            )  # fmt: skip
        figure.text(1 - EDGE_IN / WIDTH_IN, 0.05 / height, caption, ha="right", va="bottom", color=style.FAINT)
        heights = [row_in for row_in, _ in rows]
        first = places(heights, [[USUAL] * n for _, n in rows])
        panels = [[figure.add_axes(_share(place, height)) for place in row] for row in first]
        yield figure, panels
        for row, placed in zip(panels, places(heights, [[framed(ax) for ax in row] for row in panels]), strict=True):
            for ax, place in zip(row, placed, strict=True):
                ax.set_position(_share(place, height))


def places(heights: Sequence[float], rims: Sequence[Sequence[Rims]]) -> list[list[Bbox]]:
    """Where panels are in inches, given the heights of their rows and the room round each, one or two in a row.

    Panels that begin or end a row are in line. The panels' own heights are in proportion to those of their rows.
    """
    pairs = [row for row in rims if len(row) == 2]
    left = EDGE_IN + max((row[0].left for row in rims), default=0.0)
    right = WIDTH_IN - EDGE_IN - max((row[-1].right for row in rims), default=0.0)
    inner = max((row[0].right for row in pairs), default=0.0) + max((row[1].left for row in pairs), default=0.0)
    width = (right - left - inner - 2 * EDGE_IN) / 2
    above, below = ([EDGE_IN + max(getattr(one, end) for one in row) for row in rims] for end in ("above", "below"))
    share = 1 - (sum(above) + sum(below)) / (sum(heights) or 1)
    found, top = [], CAPTION_IN + sum(heights)
    for row, height, over, under in zip(rims, heights, above, below, strict=True):
        columns = [(left, left + width), (right - width, right)] if len(row) == 2 else [(left, right)]
        found.append([Bbox.from_extents(x0, top - over - share * height, x1, top - over) for x0, x1 in columns])
        top -= over + share * height + under
    return found


def _share(place: Bbox, height: float) -> tuple[float, float, float, float]:
    """A place in inches as a share of a figure of some height."""
    return place.x0 / WIDTH_IN, place.y0 / height, place.width / WIDTH_IN, place.height / height


def title_across(ax: Axes, text: str) -> None:
    """The title of a row of panels, over the first of them, as wide as the figure."""
    lines = broken(text, ACROSS_CHARACTERS)
    root = ax.get_figure(root=True)
    assert root is not None
    beside = blended_transform_factory(root.transFigure, ax.transAxes)
    above = beside + ScaledTranslation(0, 6 / 72, root.dpi_scale_trans)
    look: dict[str, Any] = {"fontsize": style.HEADING, "fontweight": "bold", "va": "bottom", "in_layout": False}
    ax.text(EDGE_IN / WIDTH_IN, 1, "\n".join(lines), transform=above, **look)
    ax.set_title("\n".join([" "] * len(lines)))  # keeps the height, and takes no width


def broken(text: str, characters: int) -> list[str]:
    """A title in lines: where it is too long it breaks between its parts, and a part between words."""
    parts = [text] if len(text) <= characters else re.split(r"(?<=;) ", text)
    return [line for part in parts for line in textwrap.wrap(part, characters)]


def arm_marks(results: Results, task: str | None, colours: Mapping[str, str]) -> list[Line2D]:
    """A legend's marks of the arms, with their numbers of complete runs on a task, or on each of theirs."""
    complete = results.finals[results.finals["key"].isin(results.complete)]
    marks = []
    for arm, colour in colours.items():
        runs = complete[complete["arm"] == arm].groupby("task")["key"].count()
        counts = {int(runs.get(name, 0)) for name in ([task] if task else results.runs_on(arm))}
        number = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        marks.append(Line2D([], [], **style.line(colour), linewidth=2.4, label=f"{arm} (n = {number})"))
    return marks


def unmatched_words(results: Results, tasks: Iterable[str]) -> str:
    """What a title adds where arms had unlike budgets."""
    return " · budgets unmatched" if any(unmatched(results, task) for task in tasks) else ""


def side_by_side(labels: Collection[str]) -> int:
    """How many entries of a legend fit beside each other, if all are as long as the longest."""
    return max(1, int((WIDTH_IN - 0.1) / (0.48 + 0.068 * max(len(label) for label in labels))))


def rows_of(labels: Collection[str]) -> int:
    """Rows that a legend of these labels takes."""
    return -(-len(labels) // side_by_side(labels))


def legend_below(ax: Axes, marks: Sequence[Artist], gap_in: float = 0.42) -> Axes:
    """Name marks under the axis and its label."""
    labels = [str(mark.get_label()) for mark in marks]
    below = ax.transAxes + ScaledTranslation(0, -gap_in, ax.get_figure(root=True).dpi_scale_trans)  # type: ignore[union-attr]
    ax.legend(
        handles=list(marks), loc="upper right", bbox_to_anchor=(1, 0), bbox_transform=below, ncols=side_by_side(labels),
        borderaxespad=0, handlelength=1, handleheight=0.8, columnspacing=1, labelspacing=0.3,
    )  # fmt: skip
    return ax


def legend_in(marks: Sequence[Artist]) -> float:
    """Inches that a legend of the figure's width takes in height."""
    return LINE_IN * rows_of([str(mark.get_label()) for mark in marks])

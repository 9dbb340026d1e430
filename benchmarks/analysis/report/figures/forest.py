"""The forest plot: how far two arms differ on each task and over all of them, with intervals, numbers and verdicts."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge_primary
from ppo_vs_grpo.benchmarks.analysis.report.answer import POINTS
from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas, style
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MARGIN

WIDE_IN, NARROW_IN = 9.0, 3.9
"""Widths of the two shapes: at 900 and 390 pixels an inch is 100 pixels, and 8 points are 11."""
FONT, SMALL = 10.0, 9.0
ROW_IN, LINE_IN, STRIP_IN, APART_IN = 0.33, 0.17, 0.24, 0.1
"""Height of a row in the wide shape; of a line of text, of what is drawn below it, and between rows in the narrow."""
HEAD_IN, TICKS_IN, CAPTION_IN = 0.28, 0.24, 0.22
EDGE_IN, GAP_IN, ARROW_IN = 0.1, 0.18, 0.2
LINE_CHARACTERS, COLUMN_CHARACTERS = 46, 26
"""How long a line of text may be under a label of the narrow shape, and in a column of the wide one."""
BAND = "#ECEFF3"


@dataclass(frozen=True)
class ForestRow:
    """One row: an estimate with its 95% interval, in the plot's unit, or None three times; and the verdict in words.

    `significant` says that the verdict names the arm on whose side the estimate lies. `overall` rows stand apart, bold.
    """

    label: str
    estimate: float | None
    low: float | None
    high: float | None
    words: str
    significant: bool = False
    overall: bool = False


def primary_forest(results: Results, caption: str, *, narrow: bool = False) -> Figure:
    """The primary metric's verdicts on a suite's two arms, in points; the band is its margin of equivalence."""
    judged = judge_primary(results)
    rows = [
        ForestRow(
            label=one.task,
            estimate=_points(one.estimate),
            low=_points(one.low),
            high=_points(one.high),
            words=one.verdict.replace(f" within {MARGIN:g}", ""),
            significant=one.winner is not None,
            overall=one.task == ALL_TASKS,
        )
        for one in judged
    ]
    colours = style.arm_colours(canvas.algorithms(results))
    arms = {arm: colours[arm] for arm in (judged[0].first, judged[0].second) if arm}
    return forest_figure(rows, arms, "points", (-POINTS * MARGIN, POINTS * MARGIN), narrow=narrow, caption=caption)


def _points(share: float | None) -> float | None:
    return None if share is None else POINTS * share


def forest_figure(
    rows: Sequence[ForestRow],
    arms: Mapping[str, str],
    unit: str,
    band: tuple[float, float] | None = None,
    *,
    ratio: bool = False,
    narrow: bool = False,
    caption: str = "",
) -> Figure:
    """A row each of `rows`, from top to bottom; numbers and verdicts to the right, in the narrow shape under the label.

    `arms` are the two arms' names and colours: where the first is higher, an estimate lies to the left. Estimates are
    differences, second less first, or with `ratio` second over first on a logarithmic axis. `band` are the least and
    the largest effect that count as equivalent.
    """
    numbers = [amount(row, unit, decimals(rows), ratio) for row in rows]
    texts = [textwrap.wrap(_joined(number, row), LINE_CHARACTERS) for number, row in zip(numbers, rows, strict=True)]
    lines = 1 + max((len(text) for text in texts), default=1)
    row_in = LINE_IN * lines + STRIP_IN + APART_IN if narrow else ROW_IN
    width = NARROW_IN if narrow else WIDE_IN
    with matplotlib.rc_context(style.STYLE | {"font.size": FONT, "xtick.labelsize": FONT, "axes.grid": False}):
        figure = Figure(figsize=(width, 1))
        FigureCanvasAgg(figure)
        if narrow:
            left, right, strip = 2 * EDGE_IN, width - 2 * EDGE_IN, STRIP_IN
        else:
            left, numbers_at, words_at = _columns(figure, rows, numbers)
            right, strip = numbers_at - GAP_IN, ROW_IN
        ends = [f"{arm} higher" for arm in arms]
        long = sum(_measure(figure, end) for end in ends) + 4 * ARROW_IN > right - left
        foot = TICKS_IN + LINE_IN * (2 if long else 1) + CAPTION_IN
        height = HEAD_IN + row_in * max(len(rows), 1) + foot
        figure.set_figheight(height)
        ax = figure.add_axes((left / width, foot / height, (right - left) / width, 1 - (HEAD_IN + foot) / height))
        ax.set_ylim(0, height - HEAD_IN - foot)
        _effects_axis(ax, rows, band, ratio)
        for place, row in enumerate(rows):
            top = height - HEAD_IN - row_in * place
            if narrow:
                _write_above(figure, top, row, texts[place])
            else:
                for x, text in ((EDGE_IN, row.label), (numbers_at, numbers[place]), (words_at, row.words)):
                    _write(figure, x, top - ROW_IN / 2, _wrapped(text), fontweight=_weight(row), linespacing=1)
            apart = APART_IN if narrow else 0.0
            _draw(ax, row, top - row_in + apart + strip / 2 - foot, strip, band, list(arms.values()), ratio)
            if row.overall and place:
                _rule(figure, top + apart / 2)
        if band:
            _name_band(ax, band, unit, ratio)
        _name_ends(ax, ends, list(arms.values()), long)
        _write(figure, width - EDGE_IN, CAPTION_IN / 2, caption, ha="right", fontsize=SMALL, color=style.FAINT)
    return figure


def decimals(rows: Sequence[ForestRow]) -> int:
    """Decimals of every number of the plot, one at least: the intervals' median half width is 5 or more of the last."""
    halves = [
        half for row in rows if row.low is not None and row.high is not None and (half := (row.high - row.low) / 2)
    ]
    halves = [half for half in halves if math.isfinite(half)]
    return min(max(-math.floor(math.log10(statistics.median(halves) / 5)), 1), 4) if halves else 1


def amount(row: ForestRow, unit: str, digits: int, ratio: bool = False) -> str:
    """An estimate with its interval, such as `+3.2 points (1.8 to 4.6)`; empty where there is none."""
    if row.estimate is None:
        return ""
    text = f"{style.signed(row.estimate, digits, plus=not ratio)} {unit}"
    if row.low is None or row.high is None:
        return text
    return f"{text} ({style.signed(row.low, digits)} to {style.signed(row.high, digits)})"


def _joined(number: str, row: ForestRow) -> str:
    return ", ".join(text for text in (number, row.words) if text)


def _weight(row: ForestRow) -> str:
    return "bold" if row.overall else "normal"


def _write(figure: Figure, x_in: float, y_in: float, text: str, **look: Any) -> None:
    """Write text at a place in inches, centred in its height."""
    width, height = figure.get_size_inches()
    if text:
        figure.text(x_in / width, y_in / height, text, **{"va": "center_baseline"} | look)


def _write_above(figure: Figure, top_in: float, row: ForestRow, lines: Sequence[str]) -> None:
    """A row's label, and under it its numbers and verdict in lines."""
    for line, text in enumerate([row.label, *lines]):
        weight = _weight(row) if line else "bold"
        _write(figure, EDGE_IN, top_in - LINE_IN * (line + 0.5), text, fontweight=weight)


def _rule(figure: Figure, y_in: float) -> None:
    """A thin line through the figure."""
    width, height = figure.get_size_inches()
    ends = [EDGE_IN / width, 1 - EDGE_IN / width]
    figure.add_artist(Line2D(ends, [y_in / height] * 2, color=style.FAINT, linewidth=0.7))


def _wrapped(text: str) -> str:
    """Text as a column of the wide shape has it; numbers stay on one line."""
    return text if text.endswith(")") else textwrap.fill(text, COLUMN_CHARACTERS)


def _columns(figure: Figure, rows: Sequence[ForestRow], numbers: Sequence[str]) -> tuple[float, float, float]:
    """Where in inches the axis, the numbers and the verdicts of the wide shape begin."""
    labels, amounts, words = (
        max((_measure(figure, _wrapped(text), _weight(row)) for row, text in zip(rows, texts, strict=True)), default=0)
        for texts in ([row.label for row in rows], numbers, [row.words for row in rows])
    )
    words_at = WIDE_IN - EDGE_IN - words
    return EDGE_IN + labels + GAP_IN, words_at - amounts - GAP_IN, words_at


def _measure(figure: Figure, text: str, weight: str = "normal") -> float:
    """Inches that a text takes in width."""
    probe = figure.text(0, 0, text, fontweight=weight)
    width = float(probe.get_window_extent().width / figure.dpi)
    probe.remove()
    return width


def _effects_axis(ax: Axes, rows: Sequence[ForestRow], band: tuple[float, float] | None, ratio: bool) -> None:
    """An axis that holds every interval, the band and what no effect is."""
    held = [value for row in rows for value in (row.estimate, row.low, row.high) if value is not None]
    held = [value for value in (*held, *(band or ()), 1.0 if ratio else 0.0) if math.isfinite(value)]
    low, high = min(held), max(held)
    if ratio:
        room = max((high / low) ** 0.06, 1.02)
        ax.set_xscale("log")
        ax.set_xlim(low / room, high * room)
        factor = high / low
        subs = (1,) if factor > 50 else (1, 2, 5) if factor > 4 else (1, 1.5, 2, 3, 5, 7)
        if factor > 2:
            ax.xaxis.set_major_locator(LogLocator(10, subs=subs))
        else:
            ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.06 * (high - low) or 1.0
        ax.set_xlim(low - room, high + room)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".replace("-", style.MINUS)))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def _draw(
    ax: Axes, row: ForestRow, y: float, strip: float, band: tuple[float, float] | None, colours: list[str], ratio: bool
) -> None:
    """One row's interval and point over its part of the band and of the line of no effect."""
    none = 1.0 if ratio else 0.0
    if band:
        ax.add_patch(
            Rectangle((band[0], y - strip / 2), band[1] - band[0], strip, facecolor=BAND, linewidth=0, zorder=0)
        )
    ax.vlines(none, y - strip / 2, y + strip / 2, color=style.FAINT, linewidth=0.9, zorder=1)
    if row.estimate is None:
        return
    colour = style.FAINT if not row.significant else colours[row.estimate > none]
    if row.low is not None and row.high is not None:
        ax.hlines(y, row.low, row.high, color=colour, linewidth=2.6 if row.overall else 1.8, zorder=3)
    marker, size = ("D", 7.5) if row.overall else ("o", 6.0)
    ax.plot([row.estimate], [y], marker, color=colour, markersize=size, zorder=4, clip_on=False)


def _name_band(ax: Axes, band: tuple[float, float], unit: str, ratio: bool) -> None:
    """What the shaded band is, above it and inside the figure."""
    low, high = band
    if not ratio and math.isclose(-low, high):
        text = f"equivalent: within ±{high:g} {unit}"
    else:
        text = f"equivalent: {low:.3g} to {high:.3g} {unit}".replace("-", style.MINUS)
    name = ax.annotate(
        text, (math.sqrt(low * high) if ratio else (low + high) / 2, 1), xycoords=("data", "axes fraction"),
        xytext=(0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=SMALL, color=style.INK,
    )  # fmt: skip
    box, whole = name.get_window_extent(), ax.get_window_extent()
    shift = max(whole.x0 - box.x0, 0) - max(box.x1 - whole.x1, 0)
    name.xyann = (shift * 72 / ax.get_figure(root=True).dpi, 4)  # type: ignore[union-attr]


def _name_ends(ax: Axes, ends: Sequence[str], colours: Sequence[str], long: bool) -> None:
    """Which arm is higher at which end of the axis, an arrow in its colour; one above the other where both are long."""
    box, dpi = ax.get_window_extent(), ax.get_figure(root=True).dpi  # type: ignore[union-attr]
    width, height = box.width / dpi, box.height / dpi
    reach = ARROW_IN / width
    for place, (end, colour) in enumerate(zip(ends, colours, strict=True)):
        y = -(TICKS_IN + LINE_IN * (0.5 + (place if long else 0))) / height
        inward, ha = ((1, "left"), (-1, "right"))[place]
        look = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (place, y), (place + inward * reach, y), xycoords="axes fraction", arrowprops=look)
        ax.text(place + inward * 1.3 * reach, y, end, transform=ax.transAxes, ha=ha, va="center")

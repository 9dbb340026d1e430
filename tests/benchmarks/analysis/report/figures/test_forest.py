"""The forest plot: where its points lie, what it says beside them, and that both shapes can be read."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from drawn import assert_readable, drawn_texts
from ppo_vs_grpo.benchmarks.analysis.report.figures.files import save
from ppo_vs_grpo.benchmarks.analysis.report.figures.forest import BAND, ForestRow, decimals, forest_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.style import signed

ARMS = {"ppo": "#0072B2", "grpo": "#D55E00"}
ROWS = (
    ForestRow("countdown", 3.2, 1.8, 4.6, "grpo better", significant=True),
    ForestRow("sorting", -0.4, -2.1, 1.3, "equivalent"),
    ForestRow("recall", -7.25, -9.9, -4.6, "ppo better", significant=True),
    ForestRow("arithmetic", None, None, None, "no verdict: 3 of 8 seeds"),
    ForestRow("all tasks", -1.5, -2.5, -0.5, "ppo better", significant=True, overall=True),
)
LONG = {"ppo-with-a-critic-model": "#0072B2", "grpo-without-standard-deviation": "#D55E00"}
RATIOS = (
    ForestRow("a task of twenty-nine letters", 1.3, 1.1, 1.5, "grpo-without-standard-deviation heavier", True),
    ForestRow("b", 0.99, 0.97, 1.02, "equivalent"),
    ForestRow("over all tasks", 1.13, 1.05, 1.22, "grpo-without-standard-deviation heavier", True, True),
)


def forest(rows: tuple[ForestRow, ...] = ROWS, narrow: bool = False, **changed: Any) -> Figure:
    given = {"arms": ARMS, "unit": "points", "band": (-5.0, 5.0), "caption": "suite \u00b7 report 01234567"} | changed
    return forest_figure(rows, narrow=narrow, **given)


def ratios(narrow: bool = False) -> Figure:
    return forest(RATIOS, narrow, arms=LONG, unit="times", band=(1 / 1.05, 1.05), ratio=True)


def points(ax: Axes) -> list[tuple[float, str, object]]:
    """Place, colour and marker of each estimate, from top to bottom."""
    drawn = [line for line in ax.lines if len(line.get_xdata()) == 1]  # type: ignore[arg-type]
    drawn.sort(key=lambda line: -float(line.get_ydata()[0]))  # type: ignore[index]
    return [(float(line.get_xdata()[0]), to_hex(str(line.get_color())), line.get_marker()) for line in drawn]  # type: ignore[index]


def intervals(ax: Axes) -> list[tuple[float, float]]:
    """Ends of the horizontal lines, from top to bottom."""
    segments = [segment for drawn in ax.collections for segment in drawn.get_segments()]  # type: ignore[attr-defined]
    level = sorted((s for s in segments if s[0][1] == s[1][1]), key=lambda s: -s[0][1])
    return [(float(start[0]), float(end[0])) for start, end in level]


@pytest.mark.parametrize("narrow", [False, True])
def test_each_estimate_lies_at_its_place_in_the_colour_of_the_arm_that_is_better(narrow: bool) -> None:
    (ax,) = forest(narrow=narrow).axes
    blue, orange, grey = "#0072b2", "#d55e00", "#767676"
    assert points(ax) == [(3.2, orange, "o"), (-0.4, grey, "o"), (-7.25, blue, "o"), (-1.5, blue, "D")]
    assert intervals(ax) == [(1.8, 4.6), (-2.1, 1.3), (-9.9, -4.6), (-2.5, -0.5)]
    bands = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [(band.get_x(), band.get_width(), to_hex(band.get_facecolor())) for band in bands] == [
        (-5, 10, BAND.lower())
    ] * 5
    heights = [band.get_y() for band in bands]
    assert heights == sorted(heights, reverse=True)


def test_numbers_and_verdicts_stand_beside_the_rows_on_their_lines() -> None:
    figure = forest()
    texts = [text.get_text() for text in figure.texts]
    assert texts == [
        *("countdown", "+3.2 points (1.8 to 4.6)", "grpo better"),
        *("sorting", "\u22120.4 points (\u22122.1 to 1.3)", "equivalent"),
        *("recall", "\u22127.2 points (\u22129.9 to \u22124.6)", "ppo better"),
        *("arithmetic", "no verdict: 3 of 8 seeds"),
        *("all tasks", "\u22121.5 points (\u22122.5 to \u22120.5)", "ppo better"),
        "suite \u00b7 report 01234567",
    ]
    (ax,) = figure.axes
    figure.draw_without_rendering()
    labels = {text.get_text(): text for text in figure.texts}
    for (_, low), name in zip(sorted(_centres(ax), key=lambda at: -at[1]), ("countdown", "sorting"), strict=False):
        assert labels[name].get_window_extent().y0 < low < labels[name].get_window_extent().y1
    assert {text.get_text() for text in figure.texts if text.get_fontweight() == "bold"} == set(texts[-4:-1])


def _centres(ax: Axes) -> list[tuple[float, float]]:
    """Pixels of the estimates."""
    return [tuple(ax.transData.transform((line.get_xdata()[0], line.get_ydata()[0]))) for line in ax.lines]  # type: ignore[index, misc]


def test_a_phone_has_label_numbers_and_drawing_of_a_row_one_under_the_other() -> None:
    figure = forest(narrow=True)
    texts = [text.get_text() for text in figure.texts]
    assert texts[:4] == [
        *("countdown", "+3.2 points (1.8 to 4.6), grpo better"),
        *("sorting", "\u22120.4 points (\u22122.1 to 1.3), equivalent"),
    ]
    assert texts[6:8] == ["arithmetic", "no verdict: 3 of 8 seeds"]
    figure.draw_without_rendering()
    countdown, numbers, sorting = (text.get_window_extent() for text in figure.texts[:3])
    first = max(y for _, y in _centres(figure.axes[0]))
    assert countdown.y0 > numbers.y0 > first > sorting.y1


def test_a_phones_lines_and_strips_lie_where_they_are_to() -> None:
    """Inches from the bottom: five rows of 0.68 under a head of 0.28 and over a foot of 0.63, on 4.31 in all."""
    figure = forest(narrow=True)
    height = float(figure.get_size_inches()[1])
    assert height == pytest.approx(4.31)
    places = [float(text.get_position()[1]) * height for text in figure.texts[:3]]
    assert places == pytest.approx([3.945, 3.775, 3.265])
    tops = sorted((y / figure.dpi for _, y in _centres(figure.axes[0])), reverse=True)
    assert tops[:2] == pytest.approx([3.57, 2.89])


def test_the_ends_of_the_axis_name_the_arms_and_the_band_its_width() -> None:
    (ax,) = forest().axes
    places = {text.get_text(): text for text in ax.texts if text.get_text()}
    assert set(places) == {"equivalent: within \u00b15 points", "ppo higher", "grpo higher"}
    assert places["ppo higher"].get_position()[0] < 0.5 < places["grpo higher"].get_position()[0]
    arrows = [note.arrow_patch for note in ax.texts if getattr(note, "arrow_patch", None)]  # type: ignore[attr-defined]
    assert [to_hex(arrow.get_edgecolor()) for arrow in arrows] == ["#0072b2", "#d55e00"]
    assert "equivalent: 0.952 to 1.05 times" in {text.get_text() for text in ratios().axes[0].texts}


def test_ratios_have_a_logarithmic_axis_and_no_plus() -> None:
    figure = ratios()
    (ax,) = figure.axes
    assert ax.get_xscale() == "log"
    assert points(ax)[1:] == [(0.99, "#767676", "o"), (1.13, "#d55e00", "D")]
    assert "1.30 times (1.10 to 1.50)" in [text.get_text() for text in figure.texts]
    low, high = ax.get_xlim()
    assert low < 1 / 1.05
    assert high > 1.5
    assert len([tick for tick in ax.get_xticks() if low <= tick <= high]) >= 3


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("make", [forest, ratios])
def test_no_text_overlaps_or_is_small_in_either_shape(make: Any, narrow: bool) -> None:
    figure = make(narrow=narrow)
    assert_readable(figure)
    width_in, shown = figure.get_size_inches()[0], 390 if narrow else 900
    for text in drawn_texts(figure):
        assert text.get_fontsize() / 72 / width_in * shown >= 11, text.get_text()


def test_five_rows_are_short_on_a_page_and_fit_a_phone() -> None:
    assert [round(float(size), 2) for size in forest().get_size_inches() * 100] == [900.0, 256.0]
    width, height = forest(narrow=True).get_size_inches() * 100
    assert (width, height < 500) == (390, True)


def test_rows_beside_the_plot_do_not_reach_into_it() -> None:
    figure = ratios()
    box = figure.axes[0].get_window_extent()
    for text in figure.texts[:-1]:
        extent = text.get_window_extent()
        assert extent.x1 <= box.x0 or extent.x0 >= box.x1, text.get_text()


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("rows", [(), (ROWS[3],), (ForestRow("one", 2.0, None, None, "no verdict: 1 of 8 seeds"),)])
def test_without_intervals_estimates_or_rows_a_plot_is_drawn(
    rows: tuple[ForestRow, ...], narrow: bool, tmp_path: Path
) -> None:
    figure = forest(rows, narrow, band=None)
    save(figure, tmp_path / "forest.png")
    assert_readable(figure)
    assert len(points(figure.axes[0])) == sum(row.estimate is not None for row in rows)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for ending in (".svg", ".png", ".pdf"):
        for name in ("first", "second"):
            save(forest(narrow=True), tmp_path / f"{name}{ending}")
        assert (tmp_path / f"first{ending}").read_bytes() == (tmp_path / f"second{ending}").read_bytes()


@pytest.mark.parametrize(
    ("half", "digits"), [(0.017, 3), (0.085, 2), (0.4, 2), (0.8, 1), (1.4, 1), (4.9, 1), (5.1, 1), (90.0, 1)]
)
def test_the_intervals_say_how_many_decimals_the_numbers_have(half: float, digits: int) -> None:
    widths = (half, half, 40 * half)
    assert decimals([ForestRow("x", 0.0, -width, width, "") for width in widths]) == digits


def test_a_sign_is_a_real_one_and_nothing_has_none() -> None:
    shown = [
        signed(number, 1, plus=plus) for number, plus in itertools.product((-0.26, 0.26, -0.04, 0.0), (False, True))
    ]
    assert shown == ["\u22120.3", "\u22120.3", "0.3", "+0.3", "0.0", "0.0", "0.0", "0.0"]


def test_the_row_over_all_tasks_is_set_apart_by_a_line() -> None:
    rules = [line for line in forest().get_children() if isinstance(line, Line2D)]
    assert len(rules) == 1
    assert not [line for line in forest(ROWS[:4]).get_children() if isinstance(line, Line2D)]

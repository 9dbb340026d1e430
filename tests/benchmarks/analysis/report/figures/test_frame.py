"""Frames of panels: the same texts at the same places as matplotlib's own axes have, and room for them."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text

from drawn import drawn_texts
from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas, panels, style
from ppo_vs_grpo.benchmarks.analysis.report.figures.frame import Frame, Rims, framed


def linear(ax: Axes) -> None:
    ax.plot([0, 19_000], [-0.2, 0.7])
    ax.set_xlabel("completions", loc="right", color=style.ALERT)
    ax.set_ylabel("two\nlines")


def logarithmic(ax: Axes) -> None:
    ax.plot([1, 64], [0.02, 7])
    ax.set(xscale="log", yscale="log", xlabel="size")


def tiny(ax: Axes) -> None:
    ax.plot([0, 4e7], [1e-7, 7e-7])
    ax.set_ylabel("error")


def bars(ax: Axes) -> None:
    ax.barh([0, 1], [3, 4])
    panels.name_bars(ax, ["ppo", "grpo"])
    ax.tick_params(labelbottom=False)


def long_bars(ax: Axes) -> None:
    ax.barh([0, 1], [3, 4])
    panels.name_bars(ax, ["ppo-with-a-long-name", "grpo"])


def texts(ax: Axes) -> dict[str, np.ndarray]:
    """What stands in the panel's figure, and where in pixels."""
    found = drawn_texts(ax.figure)  # type: ignore[arg-type]
    found = sorted(found, key=_place)
    return {f"{text.get_text()} {i}": text.get_window_extent().extents for i, text in enumerate(found)}


def _place(text: Text) -> tuple[int, int]:
    box = text.get_window_extent()
    return round(box.x0 / 3), round(box.y0 / 3)


@pytest.mark.parametrize("draw", [linear, logarithmic, tiny, bars, long_bars])
def test_a_frame_has_the_texts_of_matplotlibs_own_axes_where_these_have_them(draw: Callable[[Axes], None]) -> None:
    with matplotlib.rc_context(style.STYLE):
        ax = canvas.blank(2.0).add_axes((0.3, 0.3, 0.6, 0.6))
        draw(ax)
        own = texts(ax)
        framed(ax)
        found = texts(ax)
    assert list(found) == list(own)
    for name, place in own.items():
        assert found[name] == pytest.approx(place, abs=0.5), name


def segments(ax: Axes) -> list[Line2D]:
    (frame,) = (artist for artist in ax.get_children() if isinstance(artist, Frame))
    return [part for part in frame.get_children() if isinstance(part, Line2D)]


def test_the_grid_and_the_ticks_are_those_inside_the_panel_and_as_they_were_told() -> None:
    with matplotlib.rc_context(style.STYLE):
        ax = canvas.blank(2.0).add_axes((0.3, 0.3, 0.6, 0.6))
        ax.set(xlim=(0, 2.5), ylim=(1, 10), xticks=[0, 1, 2, 3], yscale="log")
        ax.grid(axis="x", visible=False)
        ax.tick_params(axis="x", length=0)
        framed(ax)
    grid, major, minor = segments(ax)
    assert np.asarray(grid.get_ydata()).tolist() == [1, 1, pytest.approx(1), 10, 10, pytest.approx(10)]
    assert np.isnan(np.asarray(grid.get_xdata(), float)).tolist() == [False, False, True] * 2
    assert np.asarray(major.get_ydata()).tolist() == [1, 10]
    assert np.asarray(minor.get_ydata()).tolist() == pytest.approx([2, 3, 4, 5, 6, 7, 8, 9])
    assert not ax.xaxis.get_visible()


def test_the_room_round_a_panel_is_what_its_texts_take() -> None:
    """A title of two lines, a text below the panel that counts and one that does not."""
    with matplotlib.rc_context(style.STYLE):
        ax = canvas.blank(2.0).add_axes((0.3, 0.3, 0.6, 0.6))
        ax.set(xticks=[], yticks=[])
        title = ax.set_title("two\nlines")
        below = ax.text(0.5, -0.4, "below", transform=ax.transAxes)
        ax.text(1.5, 0.5, "apart", transform=ax.transAxes, in_layout=False)
        rims = framed(ax)
    assert rims.left == rims.right == 0
    top, bottom = title.get_window_extent().y1, below.get_window_extent().y0
    assert rims.above == pytest.approx((top - ax.bbox.y1) / 100)
    assert rims.below == pytest.approx((ax.bbox.y0 - bottom) / 100)


def test_panels_of_a_grid_are_in_line_and_share_the_height_that_the_room_round_them_leaves() -> None:
    """Of 3 inches 0.1 and 0.2 are above, 0.3 below and 0.24 edges: 2.16 are left, two thirds in the first row."""
    rims = [[Rims(0.2, 0.1, 0.1, 0.3), Rims(0.4, 0.05, 0.0, 0.1)], [Rims(0.5, 0.15, 0.2, 0.0)]]
    (first, second), (whole,) = canvas.places([2.0, 1.0], rims)
    assert (first.x0, second.x1) == pytest.approx((0.56, 4.29)) == (whole.x0, whole.x1)
    width = (4.29 - 0.56 - 0.1 - 0.4 - 0.12) / 2
    assert (first.width, second.width) == pytest.approx((width, width))
    assert (first.height, second.height, whole.height) == pytest.approx((1.44, 1.44, 0.72))
    assert (first.y1, first.y0) == pytest.approx((3.26 - 0.16, 3.26 - 0.16 - 1.44))
    assert (whole.y1, whole.y0) == pytest.approx((0.26 + 0.06 + 0.72, 0.26 + 0.06))

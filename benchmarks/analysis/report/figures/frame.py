"""What stands round a panel: grid, ticks, their labels and names, made and measured once.

matplotlib's own axes are artists for each tick, its label and its line of the grid, and each is measured several times:
with them, and with its constrained layout, a report's figures took three times as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.text import Text
from matplotlib.transforms import Bbox, ScaledTranslation, Transform

from ppo_vs_grpo.benchmarks.analysis.report.figures import style

PAD_POINTS, NAME_POINTS, POWER_POINTS, MINOR_POINTS = 3.5, 4.0, 3.0, 2.0
"""From ticks to labels, from these to the name of an axis and to a power of ten; how long a minor tick is."""


class Rims(NamedTuple):
    """Inches that what stands round a panel takes on each side of it."""

    left: float
    right: float
    above: float
    below: float


def framed(ax: Axes) -> Rims:
    """Give a panel its frame; returns the room that its texts take round it. A title counts as high as it is."""
    frame = Frame(ax)
    ax.add_artist(frame)
    title = ax.set_title(ax.get_title(loc="left"), y=1)  # without a height it is looked for at each drawing
    legend = ax.get_legend()
    texts = [text for text in ax.texts if text.get_in_layout() and text.get_text()]
    boxes = [artist.get_window_extent() for artist in (*texts, *([legend] if legend else []))]
    panel, whole = ax.bbox, Bbox.union([frame.around, *boxes])
    top = max(whole.y1, title.get_window_extent().y1) if title.get_text() else whole.y1
    beyond = (panel.x0 - whole.x0, whole.x1 - panel.x1, top - panel.y1, panel.y0 - whole.y0)
    return Rims(*(pixels / frame.root.dpi for pixels in beyond))


class Frame(Artist):
    """The axes of a panel in the place of matplotlib's, which it hides; they lie below what the panel shows.

    What the panel has been told of its ticks, labels, grid and limits holds; what it is told later is not seen. Minor
    ticks have no label. With a `pad` below 0 the labels of y stand inside the panel, above their places.
    """

    zorder = 0.5
    around: Bbox
    """What the panel and its texts cover when they are made, in pixels."""

    def __init__(self, ax: Axes) -> None:
        super().__init__()
        root = ax.get_figure(root=True)
        assert root is not None
        self.root, self._ax, self._parts = root, ax, list[Artist]()
        self.around = ax.bbox.frozen()
        for axis in (ax.xaxis, ax.yaxis):
            self._draw_axis(axis)
            axis.set_visible(False)

    def get_children(self) -> list[Artist]:
        """Its lines and texts."""
        return self._parts

    def draw(self, renderer: RendererBase) -> None:
        """Draw them."""
        for part in self._parts:
            part.draw(renderer)

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        """What its texts cover, in pixels."""
        texts = [part.get_window_extent(renderer) for part in self._parts if isinstance(part, Text)]
        return Bbox.union(texts) if texts else Bbox.null()

    def _draw_axis(self, axis: Axis) -> None:
        """The grid is one line with gaps, ticks are a row of markers, each label is a text."""
        told, labels = axis.get_tick_params(), _labels(axis)
        minor = _inside(axis, axis.get_minorticklocs())
        length = float(told.get("length", style.TICK_POINTS))
        if told["gridOn"]:
            self._line(axis, np.repeat(list(labels), 3), np.tile([0, 1, np.nan], len(labels)), **style.GRID)
        self._ticks(axis, list(labels), length, 0.8)
        self._ticks(axis, minor, MINOR_POINTS, 0.6)
        if told.get("labelbottom", told.get("labelleft")):
            self._write(axis, labels, length + float(told.get("pad", PAD_POINTS)))
        self._name(axis)

    def _ticks(self, axis: Axis, places: list[float], length: float, width: float) -> None:
        if places and length:
            mark = TICKDOWN if axis is self._ax.xaxis else TICKLEFT
            look = {"color": style.INK, "linestyle": "none", "markersize": length, "markeredgewidth": width}
            self._line(axis, places, [0.0] * len(places), marker=mark, **look)

    def _write(self, axis: Axis, labels: dict[float, str], pad: float) -> None:
        """Write the ticks' labels, `pad` points outside the panel."""
        align: dict[str, Any] = {"ha": "center", "va": "top"}
        if axis is self._ax.yaxis:
            align = {"ha": "right", "va": "center_baseline"} if pad > 0 else {"ha": "left", "va": "bottom"}
        where = self._along(axis) + self._outwards(axis, pad)
        for place, label in labels.items():
            at = (place, 0.0) if axis is self._ax.xaxis else (0.0, place)
            self._add(Text(*at, label, fontsize=style.FONT, color=style.INK, **align), where)

    def _name(self, axis: Axis) -> None:
        """The axis's name outside of what is there already, and what its labels leave out, such as 1e-6."""
        along_x, box, around = axis is self._ax.xaxis, self._ax.bbox, self.around
        beyond = (box.y0 - around.y0 if along_x else box.x0 - around.x0) * 72 / self.root.dpi
        name, left_out = axis.get_label(), axis.get_offset_text()
        if name.get_text():
            x, y = name.get_position()
            place = self._ax.transAxes + self._outwards(axis, beyond + NAME_POINTS)
            name.set_position((x, 0) if along_x else (0, y))
            self._add(name, place)
        if power := axis.get_major_formatter().get_offset():
            left_out.set(text=power, position=(1, 0) if along_x else (0, 1))
            down = beyond + POWER_POINTS if along_x else -POWER_POINTS
            self._add(left_out, self._ax.transAxes + self._outwards(self._ax.xaxis, down))

    def _line(self, axis: Axis, along: Any, across: Any, **look: Any) -> None:
        """A line through places along an axis and, from 0 to 1, across the panel."""
        ends = (along, across) if axis is self._ax.xaxis else (across, along)
        self._add(Line2D(*ends, clip_on=False, **look), self._along(axis))

    def _along(self, axis: Axis) -> Transform:
        return self._ax.get_xaxis_transform() if axis is self._ax.xaxis else self._ax.get_yaxis_transform()

    def _outwards(self, axis: Axis, points: float) -> Transform:
        """Away from the panel, at the side where the axis is."""
        x, y = (0.0, -points / 72) if axis is self._ax.xaxis else (-points / 72, 0.0)
        return ScaledTranslation(x, y, self.root.dpi_scale_trans)

    def _add(self, part: Artist, transform: Transform) -> None:
        part.set_figure(self.root)
        part.set_transform(transform)
        self._parts.append(part)
        if isinstance(part, Text):
            self.around = Bbox.union([self.around, part.get_window_extent()])


def _labels(axis: Axis) -> dict[float, str]:
    """The labels of the axis's ticks inside the panel, by their places."""
    places = [float(place) for place in axis.get_majorticklocs()]
    labels = dict(zip(places, axis.get_major_formatter().format_ticks(places), strict=True))
    return {place: labels[place] for place in _inside(axis, places)}


def _inside(axis: Axis, places: Iterable[float]) -> list[float]:
    """Those of some places that lie in the panel."""
    low, high = sorted(axis.get_view_interval())
    near = 1e-9 * (high - low)  # what rounding may take a tick out of the panel
    return [float(place) for place in places if low - near <= place <= high + near]

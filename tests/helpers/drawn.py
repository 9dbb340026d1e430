"""What a figure shows: its texts, and whether they can be read."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text


def assert_readable(figure: Figure) -> None:
    """No text of the figure overlaps another or leaves it."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn_texts(figure)]
    for name, box in boxes:
        assert box.x0 >= -1, name
        assert box.y0 >= -1, name
        assert box.x1 <= figure.bbox.width + 1, name
        assert box.y1 <= figure.bbox.height + 1, name
    for i, (name, box) in enumerate(boxes):
        for other, other_box in boxes[i + 1 :]:
            assert not box.shrunk(0.95, 0.85).overlaps(other_box.shrunk(0.95, 0.85)), (name, other)


def drawn_texts(figure: Figure) -> list[Text]:
    """The texts that a figure shows: of its ticks' labels those inside the axis."""
    figure.draw_without_rendering()
    hidden = set()
    for axis in [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            shown = axis.get_visible() and low <= tick.get_loc() <= high  # what a frame draws is no part of the axis
            hidden |= set() if shown else {tick.label1}
            hidden |= {tick.label2}
    found = dict.fromkeys(figure.findobj(Text))  # an axis and its frame both have its name
    texts = [text for text in found if isinstance(text, Text) and text not in hidden]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]

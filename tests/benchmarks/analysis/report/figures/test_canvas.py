"""The files of a figure: what a PNG keeps, and how few bytes it takes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D
from PIL import Image

from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas


def test_a_png_has_a_palette_and_looks_as_it_was_drawn(tmp_path: Path) -> None:
    marks = [Line2D([], [], color="#0072B2", label="ppo"), Line2D([], [], color="#D55E00", label="grpo")]
    with canvas.grid([(2.0, 2)], "Held-out pass rate", marks, "report 01234567") as (figure, ((left, right),)):
        for ax in (left, right):
            for place, mark in enumerate(marks):
                ax.barh(place, 1 + place, color=mark.get_color())
                ax.plot([0, 2], [place, 1 - place], color=mark.get_color(), alpha=0.3)
    canvas.save(figure, tmp_path / "bars")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=160)
    with Image.open(tmp_path / "bars.png") as png, Image.open(drawn) as full:
        assert png.mode == "P"
        assert png.size == full.size
        kept, had = (np.asarray(image.convert("RGB")).astype(int) for image in (png, full))
    white = (had == 255).all(axis=2)
    assert (kept[white] == 255).all()
    assert np.abs(kept - had).mean() < 0.5
    assert (tmp_path / "bars.png").stat().st_size < 0.6 * len(drawn.getvalue())


def test_a_grid_without_rows_has_its_title_alone(tmp_path: Path) -> None:
    with canvas.grid([], "Nothing here", caption="report 01234567") as (figure, axes):
        assert axes == []
    canvas.save(figure, tmp_path / "none")
    assert [text.get_text() for text in figure.texts] == ["Nothing here", "report 01234567"]

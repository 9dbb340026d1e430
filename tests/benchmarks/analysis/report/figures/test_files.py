"""A figure as a file: what a PNG keeps, how few bytes it takes, and that no file has a date."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas, files, style


def test_a_png_has_a_palette_and_looks_as_it_was_drawn(tmp_path: Path) -> None:
    marks = [Line2D([], [], color="#0072B2", label="ppo"), Line2D([], [], color="#D55E00", label="grpo")]
    with canvas.grid([(2.0, 2)], "Held-out pass rate", marks, "report 01234567") as (figure, ((left, right),)):
        for ax in (left, right):
            for place, mark in enumerate(marks):
                ax.barh(place, 1 + place, color=mark.get_color())
                ax.plot([0, 2], [place, 1 - place], color=mark.get_color(), alpha=0.3)
    files.save(figure, tmp_path / "bars.png")
    drawn = io.BytesIO()
    with matplotlib.rc_context(style.STYLE):
        figure.savefig(drawn, format="png", dpi=160)
    with Image.open(tmp_path / "bars.png") as png, Image.open(drawn) as full:
        assert png.mode == "P"
        assert png.size == full.size
        kept, had = (np.asarray(image.convert("RGB")).astype(int) for image in (png, full))
    white = (had == 255).all(axis=2)
    assert (kept[white] == 255).all()
    assert np.abs(kept - had).mean() < 0.5
    assert (tmp_path / "bars.png").stat().st_size < 0.6 * len(drawn.getvalue())


@pytest.mark.parametrize("kind", files.UNDATED)
def test_a_file_is_what_its_suffix_says_and_has_no_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with canvas.grid([(1.0, 1)], "Held-out pass rate") as (figure, _):
        pass
    for day in ("1", "100000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)
        files.save(figure, tmp_path / f"{day}.{kind}")
    one, other = ((tmp_path / f"{day}.{kind}").read_bytes() for day in ("1", "100000000"))
    assert one == other
    assert {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<?xml"}[kind] == one[: 4 + (kind == "svg")]

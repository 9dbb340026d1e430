"""A figure as a file, for a paper or for slides."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from ppo_vs_grpo.benchmarks.analysis.report.figures import style

DPI = 160
"""Pixels an inch of a PNG."""

UNDATED = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
"""The kinds of file that a figure can be, and what matplotlib would write of itself and of the day.

Without it the same figure gives the same bytes.
"""


def save(figure: Figure, path: Path) -> None:
    """Write a figure as the kind of file that its suffix names, one of `UNDATED`."""
    kind = path.suffix[1:]
    with matplotlib.rc_context(style.STYLE):
        if kind == "png":
            pixels = io.BytesIO()
            figure.savefig(pixels, format=kind, dpi=DPI, metadata=UNDATED[kind], pil_kwargs={"compress_level": 1})
            paletted(pixels).save(path, dpi=(DPI, DPI))
        else:
            figure.savefig(path, format=kind, metadata=UNDATED[kind])


def paletted(png: BinaryIO) -> Image.Image:
    """A drawing in 256 colours, a third of the bytes: flat colours and the edges of lines need no more."""
    with Image.open(png) as drawn:
        return drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE)

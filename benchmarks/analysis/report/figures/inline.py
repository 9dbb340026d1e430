"""A figure as a part of a page: an SVG element whose text is text, and the letters that all figures of the page share.

A reader can search and copy such text. Letters as outlines, in each figure anew, took half of a page's bytes.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape, unescape
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont

from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.files import UNDATED

WEIGHTS = ("normal", "bold")
"""Of the letters in figures."""


def element(figure: Figure, name: str, says: str) -> str:
    """A figure as an SVG element that takes the width it is given.

    `name` tells its parts from those of other figures; `says` is for those who cannot see it.
    """
    drawn = io.StringIO()
    with matplotlib.rc_context(style.STYLE | {"svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg", metadata=UNDATED["svg"])
    svg = drawn.getvalue()
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box
    inside = shortened(svg[svg.index("</metadata>") + len("</metadata>") :], name)
    return f'<svg role="img" aria-label="{escape(says)}" {box[0]}>{inside}'


def shortened(svg: str, name: str) -> str:
    """What a drawing shows, without what no reader sees; `name` stands before the ids that are left.

    Places have two decimals, a hundredth of a point.
    """
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^<]*</style>", "", svg)  # it would hold for the whole page: report.css has it
    svg = re.sub(r"\s*\n\s*", " ", svg)
    places = r'\b(?:d|x|y)="[^"]*"|translate\([^)]*\)'
    svg = re.sub(places, lambda place: re.sub(r"(\.\d\d)\d+", r"\1", place[0]), svg)
    svg = re.sub(r' d="([^"]*)"', lambda path: ' d="' + re.sub(r" ?([A-Za-z]) ?", r"\1", path[1]).strip() + '"', svg)
    svg = re.sub(r'style="[^"]*"', lambda given: given[0].replace(": ", ":").replace("; ", ";"), svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"|(?<=>) (?=<)', "", svg)
    svg = re.sub(r"<defs></defs>", "", _ungrouped(_renamed(svg, name)))
    return svg.replace("xlink:href", "href").strip()


def _renamed(svg: str, name: str) -> str:
    """A drawing with the ids that it refers to, and no others: `name` and a number."""
    asked = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    short = {one: f"{name}-{i}" for i, one in enumerate(asked)}
    svg = re.sub(r' id="([^"]*)"', lambda given: f' id="{short[given[1]]}"' if given[1] in short else "", svg)
    return re.sub(r'(url\(#|href="#)([^")]+)', lambda given: given[1] + short[given[2]], svg)


def _ungrouped(svg: str) -> str:
    """A drawing without the groups that have no attribute."""
    kept: list[bool] = []
    parts = []
    for part in re.split(r"(<g\b[^>]*>|</g>)", svg):
        if part.startswith("<g"):
            kept.append(part != "<g>")
            parts.append(part if kept[-1] else "")
        else:
            parts.append("" if part == "</g>" and not kept.pop() else part)
    return "".join(parts)


def shared(elements: Sequence[str]) -> tuple[list[str], str]:
    """The elements with a class for each style, and the page's rules for them: what a class stands for, the letters."""
    styles = dict.fromkeys(style for one in elements for style in re.findall(r' style="([^"]*)"', one))
    classes = {style: f"f{i}" for i, style in enumerate(styles)}
    classed = [re.sub(r' style="([^"]*)"', lambda given: f" class={classes[given[1]]} ", one) for one in elements]
    rules = [f".{name} {{ {style} }}" for style, name in classes.items()]
    return classed, "\n".join([*rules, *letters(elements)])


def letters(elements: Iterable[str]) -> list[str]:
    """The rules that give a page the letters of its figures, cut to those that occur."""
    text = "".join(unescape(part) for one in elements for part in re.findall(r">([^<>]+)<", one))
    used = "".join(sorted(set(text)))
    face = '@font-face {{ font-family: "DejaVu Sans"; font-weight: {}; src: url(data:font/woff;base64,{}); }}'
    return [face.format(weight, _font(weight, used)) for weight in WEIGHTS]


@cache
def _font(weight: str, used: str) -> str:
    """matplotlib's own font, cut to some letters, as base64."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    font = TTFont(Path(findfont(f"DejaVu Sans:{weight}")), recalcTimestamp=False)
    # no kerning, ligatures and formulas: cutting those tables to size takes longer than all the letters
    options = Options(hinting=False, drop_tables=[*Options().drop_tables, "FFTM", "GSUB", "GPOS", "GDEF", "MATH"])
    subset = Subsetter(options)
    subset.populate(text=used)
    subset.subset(font)
    font.flavor = "woff"
    whole = io.BytesIO()
    font.save(whole)
    return base64.b64encode(whole.getvalue()).decode()

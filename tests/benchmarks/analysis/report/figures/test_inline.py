"""A figure as a part of a page: nothing is lost but bytes, and no figure meets another one's parts."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

from fontTools.ttLib import TTFont
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas, inline


def drawn(title: str = "A < B & C") -> Figure:
    with canvas.grid([(1.5, 1)], title) as (figure, ((ax,),)):
        ax.plot([0, 1, 2], [0, 1, 0], marker="o")
    return figure


def test_a_drawing_is_shortened_to_hundredths_of_a_point_and_never_scaled_anew() -> None:
    svg = (
        '<g id="figure_1">\n   <path d="M 1.2399 2 \nL 30.125 4"/>\n <!-- 1.0 -->\n'
        '  <use xlink:href="#m1" x="5.6789" transform="translate(3.14159 2) scale(0.015625)"/>\n'
        '<path id="m1" style="fill: none; stroke: #333333" clip-path="url(#p1)"/>'
        ' <text transform="rotate(-0 1 2)">1</text></g>'
    )
    assert inline.shortened(svg, "probes") == (
        '<path d="M1.23 2L30.12 4"/>'
        '<use href="#probes-0" x="5.67" transform="translate(3.14 2) scale(0.015625)"/>'
        '<path id="probes-0" style="fill:none;stroke:#333333" clip-path="url(#probes-1)"/><text>1</text>'
    )


def test_groups_that_say_something_stay_with_their_ends() -> None:
    svg = '<g id="a"><g style="opacity: 0.5"><g><path/></g></g><g clip-path="url(#c)"/></g><clipPath id="c"></clipPath>'
    shown = '<g style="opacity:0.5"><path/></g><g clip-path="url(#x-0)"/><clipPath id="x-0"></clipPath>'
    assert inline.shortened(svg.replace('"/>', '"></g>'), "x") == shown.replace('"/>', '"></g>')


def test_a_style_is_written_once_for_the_page() -> None:
    one, other = '<svg><path style="fill:none"/><path style="fill:red"/></svg>', '<svg><use style="fill:none"/></svg>'
    elements, rules = inline.shared([one, other])
    assert elements == ["<svg><path class=f0 /><path class=f1 /></svg>", "<svg><use class=f0 /></svg>"]
    assert rules.splitlines()[:2] == [".f0 { fill:none }", ".f1 { fill:red }"]


def test_an_element_has_its_text_as_text_and_says_what_it_is() -> None:
    tree = ElementTree.fromstring(inline.element(drawn(), "overview", 'the "answer" & more'))
    assert (tree.tag, tree.get("role"), tree.get("aria-label")) == ("svg", "img", 'the "answer" & more')
    assert (tree.get("viewBox") or "").startswith("0 0 324 ")
    assert tree.get("width") is None
    assert "A < B & C" in [text.text for text in tree.iter("text")]
    assert list(tree.iter("style")) == []


def test_two_figures_share_no_id_and_what_is_referred_to_is_there() -> None:
    one, other = (inline.element(drawn(), name, name) for name in ("one", "other"))
    ids = [set(re.findall(r' id="([^"]*)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])
    for svg, there in zip((one, other), ids, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg)) == there


def test_a_pages_letters_are_those_of_its_figures_in_both_weights() -> None:
    drawing = inline.element(drawn("A < B"), "one", "one")
    css = "\n".join(inline.letters([drawing]))
    faces = re.findall(r"font-weight: (\w+); src: url\(data:font/woff;base64,([^)]+)\)", css)
    assert [weight for weight, _ in faces] == ["normal", "bold"]
    for _, data in faces:
        have = set(map(chr, TTFont(io.BytesIO(base64.b64decode(data))).getBestCmap()))
        assert set("A<B 0.25") <= have
        assert not set("Z&;") & have

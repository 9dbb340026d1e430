"""Colours, lines and signs that all figures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ppo_vs_grpo.algorithms.shared.config import PHASES

SOLID, DASHED, DOTTED = "-", (0, (3.2, 1.2)), (0, (1, 1))

FAMILIES: dict[str, tuple[tuple[str, Any], ...]] = {
    "ppo": (
        *(("#0072B2", SOLID), ("#0B2E59", SOLID), ("#5FB2E8", SOLID)),
        *(("#1F7FBF", DASHED), ("#123A66", DASHED), ("#74BDEB", DASHED)),
        *(("#0065A0", DOTTED), ("#1B2F4A", DOTTED), ("#55A5DB", DOTTED)),
    ),
    "grpo": (
        *(("#D55E00", SOLID), ("#7A2E00", SOLID), ("#F2A04E", SOLID)),
        *(("#E06A10", DASHED), ("#8A3A0A", DASHED), ("#F4AD66", DASHED)),
        *(("#C95500", DOTTED), ("#6B3010", DOTTED), ("#E8983F", DOTTED)),
    ),
    "other": (
        *(("#009E73", SOLID), ("#C77BB0", SOLID), ("#4A4A4A", SOLID)),
        *(("#2E8B57", DASHED), ("#D17FA8", DASHED), ("#5E5E5E", DASHED)),
        *(("#2FB58C", DOTTED), ("#A65985", DOTTED), ("#3A3A3A", DOTTED)),
    ),
}
"""Colours and lines of a family's arms, in their order: the hue is the family, shade and line are the variant.

Those with the same line are told apart by people who see no red or no green; the tests say how well.
"""

PHASE_COLOURS = dict(zip(PHASES, ("#46566E", "#D9D2C2", "#93A5BE", "#B79AC8", "#CDB45A"), strict=True))


INK, FAINT, ALERT = "#333333", "#767676", "#9A3412"
MINUS = "\N{MINUS SIGN}"


FONT, HEADING, TITLE = 9.2, 9.6, 11.5
"""Sizes in points: of every text, of a panel's title, of a figure's. On a phone 390 pixels wide 9.2 points are 11."""

GRID: dict[str, Any] = {"color": "#E7E7E7", "linewidth": 0.6}
TICK_POINTS = 2.5
"""How long a tick is."""

STYLE: dict[Any, Any] = {
    **dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), FONT),
    **{"axes.titlesize": HEADING, "axes.titleweight": "bold", "axes.titlelocation": "left"},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999", "axes.linewidth": 0.7},
    **{"axes.grid": True, "grid.color": GRID["color"], "grid.linewidth": GRID["linewidth"], "axes.axisbelow": True},
    **{"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.titlecolor": INK},
    **{"xtick.major.size": TICK_POINTS, "ytick.major.size": TICK_POINTS},
    **{"legend.frameon": False, "font.family": "DejaVu Sans"},
    **{"figure.facecolor": "white", "axes.facecolor": "white", "svg.hashsalt": "ppo-vs-grpo", "svg.fonttype": "path"},
    **{"pdf.fonttype": 3, "text.hinting": "no_hinting"},
}
"""Settings of a figure: fonts that come with matplotlib, and SVG ids from its content: a rebuild is the same bytes.

Text is measured as it is drawn in a vector format, without hinting, which takes a third less time. A PDF has its glyphs
as drawings (type 3), whose text can be searched: cutting TrueType fonts to size took 0.2 s a font.
"""


def family(algorithm: str) -> str:
    """The family whose hue an algorithm has: a peer and a variant have that of what they do."""
    parts = algorithm.split("-")
    return next((name for name in ("grpo", "ppo") if name in parts), "other")


def arm_colours(algorithms: Mapping[str, str]) -> dict[str, str]:
    """A colour for each arm, given its algorithm: an arm named after its family has the first, the others follow.

    So `ppo` and `grpo` look the same in every suite. The order of the arms stays.
    """
    members: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for arm in sorted(algorithms, key=lambda arm: arm not in FAMILIES):
        members[family(algorithms[arm])].append(arm)
    colours = {}
    for arm, algorithm in algorithms.items():
        looks = FAMILIES[family(algorithm)]
        colours[arm] = looks[members[family(algorithm)].index(arm) % len(looks)][0]
    return colours


LINES = {colour: line for looks in FAMILIES.values() for colour, line in looks}


def line(colour: str) -> dict[str, Any]:
    """How a line of an arm's colour is drawn."""
    return {"color": colour, "linestyle": LINES.get(colour, SOLID)}


def fill(colour: str, shared: bool) -> dict[str, Any]:
    """How a bar is filled: hatched and pale when the measured runs shared the machine."""
    if shared:
        return {"facecolor": colour, "alpha": 0.45, "hatch": "////", "edgecolor": "white", "linewidth": 0}
    return {"facecolor": colour}


def signed(number: float, digits: int, plus: bool = False) -> str:
    """A number with a real minus sign, and a plus where asked for; what rounds to nothing has neither."""
    text = f"{abs(number):.{digits}f}"
    if float(text) == 0:
        return text
    return (MINUS if number < 0 else "+" if plus else "") + text

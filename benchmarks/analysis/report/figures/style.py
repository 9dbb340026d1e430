"""Colours, lines and signs that all figures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ppo_vs_grpo.algorithms.shared.config import PHASES

ALGORITHM_COLOURS = {"ppo": "#0072B2", "grpo": "#D55E00"}


OTHER_COLOURS = (
    *("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#882255", "#999933", "#44AA99", "#6B4C3B", "#777777"),
    *("#117733", "#AA4499", "#8C6BB1", "#B15928", "#FF7F7F", "#A6761D"),
)


PHASE_COLOURS = dict(zip(PHASES, ("#46566E", "#D9D2C2", "#93A5BE", "#B79AC8", "#CDB45A"), strict=True))


INK, FAINT, ALERT = "#333333", "#767676", "#9A3412"
MINUS = "\N{MINUS SIGN}"


STYLE: dict[Any, Any] = {
    **{"font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left"},
    **{"axes.labelsize": 9.5, "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9.5},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999", "axes.linewidth": 0.7},
    **{"axes.grid": True, "grid.color": "#E7E7E7", "grid.linewidth": 0.6, "axes.axisbelow": True},
    **{"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.titlecolor": INK},
    **{"xtick.major.size": 2.5, "ytick.major.size": 2.5, "legend.frameon": False, "font.family": "DejaVu Sans"},
    **{"figure.facecolor": "white", "axes.facecolor": "white", "svg.hashsalt": "ppo-vs-grpo", "svg.fonttype": "path"},
    "pdf.fonttype": 42,
}
"""Settings of a figure: fonts that come with matplotlib, and SVG ids from its content: a rebuild is the same bytes."""


def arm_colours(algorithms: Mapping[str, str]) -> dict[str, str]:
    """A colour for each arm, given its algorithm: the first PPO and the first GRPO arm always have their own."""
    colours: dict[str, str] = {}
    others = 0
    for arm, algorithm in algorithms.items():
        own = ALGORITHM_COLOURS.get(algorithm)
        if own and own not in colours.values():
            colours[arm] = own
        else:
            colours[arm] = OTHER_COLOURS[others % len(OTHER_COLOURS)]
            others += 1
    return colours


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

"""The figure of the claims' dials: each claim's measure over a setting, and the side on which the claim would hold."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.claim_measures import MEASURES
from ppo_vs_grpo.benchmarks.analysis.judge.claims import dials
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import grid

COLUMNS = 2
POINT, HOLDS = "#332288", "#E3F1EA"
EDGE: dict[str, Any] = {"color": style.INK, "linewidth": 0.9, "linestyle": (0, (4, 2))}
TITLE_CHARACTERS, LABEL_CHARACTERS = 20, 26
"""How long a line of a panel's title may be, which is bold, and of its label."""


def dial_figure(results: Results, caption: str = "") -> Figure:
    """A panel for each claim with a dial; an empty figure where there is none."""
    table = dials(results)
    claims = {name: claim for name, claim in (results.suite.get("claims") or {}).items() if claim.get("dial")}
    titles = [textwrap.fill(_title(*one), TITLE_CHARACTERS, break_on_hyphens=False) for one in claims.items()]
    lines = max((title.count("\n") for title in titles), default=0)
    rows = [(2.0 + 0.17 * lines, len(titles[at : at + COLUMNS])) for at in range(0, len(titles), COLUMNS)]
    marks = [
        Patch(color=HOLDS, label="where the claim would hold"),
        Line2D([], [], **EDGE, label="its edge"),
        Line2D([], [], color=POINT, marker="o", markersize=4.5, label="mean, 95% interval"),
    ]
    title = f"{results.name}: claims by setting" if claims else ""
    with grid(rows, title, marks, caption, **{"axes.grid.axis": "y"}) as (figure, axes):
        panels = [ax for row in axes for ax in row]
        for (name, claim), title, ax in zip(claims.items(), titles, panels, strict=True):
            dial(table[table["claim"] == name], claim, ax).set_title(title)
            ax.set_xlabel(textwrap.fill(ax.get_xlabel(), LABEL_CHARACTERS))
    return figure


def dial(points: pd.DataFrame, claim: Mapping[str, Any], ax: Axes) -> Axes:
    """Points with their intervals at equal steps; a line at `than`, and the claim's side of it shaded.

    Where the points are of one arm and the claim compares two, no side is the claim's: nothing is shaded. Points
    without a value are left out and named.
    """
    points = points.assign(x=range(len(points)))
    ax.plot(points["x"], points["estimate"], color=POINT, linewidth=1, alpha=0.5)
    there = points[points["estimate"].notna()]
    ends = [(there["estimate"] - there["low"]).fillna(0), (there["high"] - there["estimate"]).fillna(0)]
    ax.errorbar(there["x"], there["estimate"], ends, color=POINT, fmt="o", markersize=4.5, elinewidth=1.2, capsize=2.5)
    for x in points.loc[points["estimate"].isna(), "x"]:
        ax.annotate("none", (x, 0.04), xycoords=("data", "axes fraction"), ha="center", color=style.ALERT)
    ax.set_xticks(range(len(points)), [f"{point}" for point in points["point"]])
    ax.set(xlim=(-0.5, len(points) - 0.5), xlabel=claim["dial"]["setting"])
    if MEASURES[claim["measure"]].ratio:
        _factors(ax, [*there[["estimate", "low", "high"]].stack(), claim["than"]])
    else:
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if comparable(claim):
        _claimed_side(ax, claim)
    return ax


def comparable(claim: Mapping[str, Any]) -> bool:
    """Whether the dial's points measure what the claim does: as many arms against each other."""
    return all(len(point["arms"]) == len(claim["arms"]) for point in claim["dial"]["points"].values())


def _title(name: str, claim: Mapping[str, Any]) -> str:
    """The claim's name and what the panel measures."""
    arms = claim["arms"] if comparable(claim) else ["one arm"]
    return f"{name}: {MEASURES[claim['measure']].words(arms)}"


def _claimed_side(ax: Axes, claim: Mapping[str, Any]) -> None:
    """The line at `than` and the claim's side of it, both inside the axis."""
    low, high = ax.get_ylim()
    log, than = ax.get_yscale() == "log", claim["than"]
    room = 1.15 if log else 0.08 * (high - low)
    low, high = min(low, than / room if log else than - room), max(high, than * room if log else than + room)
    ax.axhspan(*((than, high) if claim["side"] == "above" else (low, than)), color=HOLDS, linewidth=0, zorder=0)
    ax.axhline(than, **EDGE, zorder=1)
    ax.set_ylim(low, high)


def _factors(ax: Axes, values: list[float]) -> None:
    """A logarithmic axis of ratios that holds the values, with plain numbers."""
    ax.set_yscale("log")
    low, high = min(values), max(values)
    ax.set_ylim(min(low / 1.15, 0.8), max(high * 1.15, 1.25))
    factor = max(high, 1) / min(low, 1)
    subs: tuple[float, ...] = (1,) if factor > 200 else (1, 2, 5) if factor > 5 else (1, 1.5, 2, 3, 5, 7)
    ax.yaxis.set_major_locator(LogLocator(10, subs=subs))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_locator(NullLocator())

"""The figure of theory/variance.csv: the policy gradient's exact variance, by lambda, group size and baseline."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import grid
from ppo_vs_grpo.benchmarks.analysis.report.figures.panels import thin

BASELINES: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none (V = 0)", {"color": "#777777"}),
    "value_prompt": ("true V(prompt)", {"color": "#009E73"}),
    "value": ("true V(prefix)", {"color": "#0072B2"}),
    "value_error_half": ("V(prefix), error 0.5 sd", {"color": "#0072B2", "linestyle": (0, (4, 1.5))}),
    "value_error_one": ("V(prefix), error 1 sd", {"color": "#0072B2", "linestyle": (0, (1, 1.2))}),
    "leave_one_out": ("mean of the others", {"color": "#D55E00"}),
    "group_relative": (
        "group's mean and sd",
        {"color": "#D55E00", "linestyle": "none", "marker": "D", "markersize": 4.5, "markerfacecolor": "white"},
    ),
}
"""What each baseline of the file is called and how it is drawn; an error's sd is in that of a reward."""
BIAS = (1e-3, 10)
"""Ends of the bias's logarithmic axis: at lambda 1, and with the true V(prefix), it is 0."""


def theory_figure(caption: str = "") -> Figure:
    """Variance and bias against lambda, variance within a prompt and in all against the group size."""
    frame = read()
    frame["total"] = frame["within"] + frame["between"]
    lam, size = (frame[frame["panel"] == panel] for panel in ("lambda", "size"))
    marks = [Line2D([], [], **{"linewidth": 1.8} | look, label=label) for label, look in BASELINES.values()]
    rows, title = [(2.1, 2), (2.3, 2)], "Policy gradient: exact variance by baseline"
    with grid(rows, title, marks, caption) as (figure, ((variance, within), (bias, total))):
        lines(lam, "total", variance).set(title="Of one completion", ylabel="variance, none = 1")
        lines(lam[lam["bias"] > 0], "bias", bias).set(title="Squared bias", ylabel="relative to |grad J|²")
        bias.set(yscale="log", ylim=BIAS, xlim=variance.get_xlim(), xlabel="lambda of GAE")
        lines(size, "within", within).set(title="Within a prompt")
        lines(size, "total", total).set(title="Within and between")
        total.set(yscale="log", ylim=(0.1, 10), xlabel="group size G")
        for ax in (variance, within):
            ax.set_ylim(0, 1.05)
            ax.tick_params(labelbottom=False)
        for ax in (variance, bias):
            ax.set_xticks([0, 0.5, 1])
        for ax in (within, total):
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(FixedLocator([2, 4, 8, 16, 32, 64]))
            ax.xaxis.set_minor_locator(NullLocator())
        for axis in (variance.xaxis, bias.xaxis, within.xaxis, total.xaxis, total.yaxis, bias.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        unbiased, look = BASELINES["value"]
        bias.annotate(f"{unbiased}: 0", (0.04, 0.04), xycoords="axes fraction", color=look["color"])
    return figure


def read() -> pd.DataFrame:
    """The table as `theory.variance.variance_table` makes it."""
    with files("ppo_vs_grpo.benchmarks.theory").joinpath("variance.csv").open() as file:
        return pd.read_csv(file)


def lines(table: pd.DataFrame, column: str, ax: Axes) -> Axes:
    """A line a baseline: the mean over worlds bold, each world thin."""
    for name, (_, look) in BASELINES.items():
        by_world = table[table["baseline"] == name].pivot(index="x", columns="world", values=column)
        if "marker" not in look:
            curves = [np.column_stack([by_world.index, world]) for world in by_world.to_numpy(float).T]
            thin(ax, curves, color=look["color"], linewidth=0.5, alpha=0.15)
        ax.plot(by_world.mean(axis=1), **{"linewidth": 1.8} | look)
    return ax

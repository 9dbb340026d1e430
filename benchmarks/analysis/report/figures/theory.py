"""The figure of theory/variance.csv: the policy gradient's exact variance, by lambda, group size and baseline."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import add_caption, blank

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
    height = 5.9
    with matplotlib.rc_context(style.STYLE | {"axes.titlesize": 9.5, "axes.labelsize": 9, "legend.fontsize": 8.5}):
        figure = blank(height)
        figure.text(
            0.012, 1 - 0.08 / height, "Exact variance of the policy gradient, by baseline", va="top", fontsize=13,
            fontweight="bold",
        )  # fmt: skip
        figure.legend(
            [Line2D([], [], **{"linewidth": 1.8} | style) for _, style in BASELINES.values()],
            [label for label, _ in BASELINES.values()], loc="upper left", bbox_to_anchor=(0.0, 1 - 0.32 / height),
            ncols=3, borderaxespad=0.2, handlelength=2, columnspacing=1.6,
        )  # fmt: skip
        grid = figure.add_gridspec(
            2, 2, left=0.105, right=0.98, top=1 - 1.28 / height, bottom=0.72 / height, wspace=0.32, hspace=0.26
        )
        variance, bias, within, total = (figure.add_subplot(grid[row, column]) for column in (0, 1) for row in (0, 1))
        lines(lam, "total", variance).set(title="Variance of one completion", ylabel="relative to none")
        lines(lam[lam["bias"] > 0], "bias", bias).set(title="Squared bias", ylabel="relative to |grad J|²")
        bias.set(yscale="log", ylim=BIAS, xlim=variance.get_xlim(), xlabel="lambda of GAE")
        lines(size, "within", within).set(title="Variance within a prompt", ylabel="per completion, relative")
        lines(size, "total", total).set(title="Within and between prompts", ylabel="per completion, relative")
        total.set(yscale="log", ylim=(0.1, 10), xlabel="group size G")
        for ax in (variance, within):
            ax.set_ylim(0, 1.05)
        for ax in (within, total):
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(FixedLocator([2, 4, 8, 16, 32, 64]))
            ax.xaxis.set_minor_locator(NullLocator())
        for axis in (within.xaxis, total.xaxis, total.yaxis, bias.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        for ax in (variance, within):
            ax.tick_params(labelbottom=False)
        unbiased, look = BASELINES["value"]
        bias.annotate(f"{unbiased}: 0", (0.04, 0.04), xycoords="axes fraction", fontsize=8.5, color=look["color"])
        figure.align_ylabels()
        add_caption(figure, caption, height)
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
            ax.plot(by_world, color=look["color"], linewidth=0.5, alpha=0.15)
        ax.plot(by_world.mean(axis=1), **{"linewidth": 1.8} | look)
    return ax

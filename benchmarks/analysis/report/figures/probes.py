"""The figure of the probes: what baselines leave of the variance, whose gradient is cleaner, where V is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks.analysis.frames import probes
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import add_caption, algorithms, blank, legend, legend_rows

MOMENT = "middle"
"""Of a run: at its start a critic knows nothing, and at its end there may be little left to learn."""
PHRASES = {"middle": "in mid-run", "end": "at the end"}


def probe_figure(results: Results, caption: str = "") -> Figure:
    """A row a task: residual variance by baseline, cosine by estimator, value error by position; in mid-run."""
    colours = style.arm_colours(algorithms(results))
    moment = MOMENT if MOMENT in set(probes.at_moments(results)["moment"]) else "end"
    left, middle, right, critics = (
        table(results)[lambda frame: frame["moment"] == moment]
        for table in (probes.baselines, probes.gradient_noise, probes.value_error, probes.critic)
    )
    tasks = [task for task in results.tasks if task in set(left["task"])]
    head_in, row_in, foot_in = 0.75 + 0.2 * legend_rows(colours), 1.75, 0.7
    height = head_in + row_in * max(len(tasks), 1) + foot_in
    with matplotlib.rc_context(style.STYLE | {"axes.titlesize": 8.5, "ytick.labelsize": 7.5, "xtick.labelsize": 8}):
        figure = blank(height)
        legend(figure, results, None, colours, f"{results.name}: probes {PHRASES[moment]}", height)
        grid = figure.add_gridspec(
            max(len(tasks), 1), 3, left=0.205, right=0.97, top=1 - head_in / height, bottom=foot_in / height,
            width_ratios=[1, 1, 1], wspace=0.58, hspace=0.38,
        )  # fmt: skip
        for row, task in enumerate(tasks):
            residual, cosine, error = (figure.add_subplot(grid[row, column]) for column in range(3))
            names = list(probes.BASELINES)
            dots(left[left["task"] == task], "baseline", "residual_variance", "se", residual, colours, names)
            residual.set_yticklabels(list(probes.BASELINES.values()))
            residual.axvline(1, color=style.FAINT, linewidth=0.9)
            residual.set_xlim(left=0)
            estimators = [name for name in middle["estimator"].unique() if name != "own"]
            dots(middle[middle["task"] == task], "estimator", "cosine", "cosine_se", cosine, colours, estimators)
            cosine.axvline(0, color=style.FAINT, linewidth=0.9)
            by_position(right[right["task"] == task], error, colours)
            break_even(critics[critics["task"] == task], error, colours)
            residual.text(
                -0.98, 1.06, task, transform=residual.transAxes, fontsize=9, fontweight="bold", va="bottom"
            )  # fmt: skip
            if row == 0:
                residual.set_title("variance left")
                cosine.set_title("cosine")
                error.set_title("critic's error")
            if row == len(tasks) - 1:
                error.set_xlabel("place in the completion", fontsize=8.5)
        add_caption(figure, caption, height)
    return figure


def dots(
    table: pd.DataFrame, name: str, value: str, se: str, ax: Axes, colours: Mapping[str, str], names: Sequence[str]
) -> Axes:
    """A row a name: a dot an arm with twice its standard error to both sides."""
    arms = [arm for arm in colours if arm in set(table["arm"])]
    apart = min(0.16, 0.8 / max(len(arms), 1))
    for i, arm in enumerate(arms):
        here = table[table["arm"] == arm].set_index(name)
        shown = [(place, here.loc[n]) for place, n in enumerate(names) if n in here.index]
        at = [place + apart * (i - (len(arms) - 1) / 2) for place, _ in shown]
        values = np.array([row[value] for _, row in shown], dtype=float)
        spread = 2 * np.nan_to_num(np.array([row[se] for _, row in shown], dtype=float))
        ax.errorbar(values, at, xerr=spread, fmt="o", markersize=3.2, linewidth=1.1, color=colours[arm])
    ax.set_yticks(range(len(names)), list(names))
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return ax


def by_position(table: pd.DataFrame, ax: Axes, colours: Mapping[str, str]) -> Axes:
    """A line an arm with a critic: its error in each tenth of the completion, a band of twice the standard error."""
    shown = table[table["position"].notna() & (table["n"] > 0)]
    for arm in [arm for arm in colours if arm in set(shown["arm"])]:
        line = shown[shown["arm"] == arm].sort_values("position")
        x, y = line["position"] + 0.05, line["mse"].astype(float)
        se = line["se"].astype(float).fillna(0.0)
        ax.fill_between(x, y - 2 * se, y + 2 * se, color=colours[arm], alpha=0.2, linewidth=0)
        ax.plot(x, y, color=colours[arm], linewidth=1.6, marker="o", markersize=3)
    if shown.empty:
        ax.text(0.5, 0.5, "no critic", transform=ax.transAxes, ha="center", color=style.FAINT, fontsize=9)
    ax.set_xlim(0, 1)
    if not ax.dataLim.y0 < 0:
        ax.set_ylim(bottom=0)
    return ax


def break_even(table: pd.DataFrame, ax: Axes, colours: Mapping[str, str]) -> Axes:
    """Write each critic's break-even group size into its panel, above the curves."""
    shown = table[table["arm"].isin(colours)]
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.16 * len(shown) * (high - low))
    for place, (arm, size) in enumerate(zip(shown["arm"], shown["break_even_group_size"], strict=True)):
        text = f"break-even G {size:.1f}" if np.isfinite(size) else "no break-even G"
        ax.annotate(
            text, (0.97, 1 - 0.11 * place), xycoords="axes fraction", ha="right", va="top", fontsize=7.5,
            color=colours[arm],
        )  # fmt: skip
    return ax

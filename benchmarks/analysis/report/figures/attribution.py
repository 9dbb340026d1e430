"""The attribution figure."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppo_vs_grpo.benchmarks.analysis.frames.attribution import EFFECTS, attribution_table, effects_by_seed
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import add_caption, blank
from ppo_vs_grpo.benchmarks.analysis.report.figures.style import FAINT, INK


def effect(seeds: pd.DataFrame, table: pd.DataFrame, name: str, ax: Axes, tasks: Sequence[str]) -> Axes:
    """One effect on every task as rows: a faint dot a seed, the mean with its interval, 0 marked."""
    ax.axvline(0, color=FAINT, linewidth=0.9)
    for place, task in enumerate(tasks):
        values = seeds.loc[seeds["task"] == task, name].to_numpy(float)
        spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(len(values))
        ax.scatter(values, place + spread, s=9, color=FAINT, alpha=0.45, linewidths=0, zorder=2)
        here = table.loc[(table["task"] == task) & (table["effect"] == name), ["mean", "low", "high"]]
        for mean, low, high in here.to_numpy(float):
            ax.hlines(place, low, high, color=INK, linewidth=1.8, zorder=3)
            ax.plot([mean], [place], marker="D", markersize=4.5, color=INK, zorder=4)
    ax.set_ylim(len(tasks) - 0.5, -0.5)
    ax.set_yticks(range(len(tasks)), list(tasks))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    return ax


def attribution_figure(results: Results, caption: str = "") -> Figure:
    """The total difference between GRPO and PPO, and the effects into which it splits, a panel each, on one scale."""
    seeds, table = effects_by_seed(results), attribution_table(results)
    tasks = [task for task in (*results.tasks, ALL_TASKS) if task in set(table["task"])]
    height = 1.25 + 0.36 * max(len(tasks), 2)
    titles = {"total": "GRPO less PPO", "baseline": "= baseline", "everything else": "+ everything else"}
    with matplotlib.rc_context(style.STYLE | {"axes.titlesize": 8.5, "xtick.labelsize": 8.5}):
        figure = blank(height)
        grid = figure.add_gridspec(
            1, len(EFFECTS), left=0.135, right=0.985, top=1 - 0.42 / height, bottom=0.72 / height, wspace=0.1
        )
        first = None
        for column, name in enumerate(EFFECTS):
            ax = first = figure.add_subplot(grid[0, column], sharex=first)
            effect(seeds, table, name, ax, tasks).set_title(titles.get(name, name))
            ax.tick_params(labelleft=column == 0)
        figure.text(0.56, 0.3 / height, "difference of the final held-out pass rate", ha="center", fontsize=9)
        add_caption(figure, caption, height)
    return figure

"""The attribution figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppo_vs_grpo.benchmarks.analysis.frames.attribution import (
    EFFECTS,
    attribution_table,
    crossings,
    difference_of,
    effects_by_seed,
)
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import grid
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
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    return ax


def attribution_figure(results: Results, caption: str = "") -> Figure:
    """Each difference between two arms, and the effects into which it splits, a panel each, all on one scale."""
    seeds, table = effects_by_seed(results), attribution_table(results)
    tasks = [task for task in (*results.tasks, ALL_TASKS) if task in set(table["task"])]
    names = [(four, name) for four in map(difference_of, crossings(results.suite)) for name in EFFECTS]
    row_in = 0.62 + 0.26 * max(len(tasks), 2)
    rows = [(row_in, len(names[at : at + 2])) for at in range(0, len(names), 2)]
    with grid(rows, "Final held-out pass rate: baseline or everything else", caption=caption) as (figure, axes):
        for row, beside in enumerate(axes):
            for column, (ax, (four, name)) in enumerate(zip(beside, names[2 * row :], strict=False)):
                titles = {"total": four, "baseline": "= baseline", "everything else": "+ everything else"}
                dots, means = (frame[frame["difference"] == four] for frame in (seeds, table))
                effect(dots, means, name, ax, tasks).set_title(titles.get(name, name))
                ax.tick_params(labelleft=column == 0)
        shown = [ax for row in axes for ax in row]
        ends = [ax.get_xlim() for ax in shown]
        for ax in shown:
            ax.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))
    return figure

"""The figure of the probes: what baselines leave of the variance, whose gradient is cleaner, where V is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppo_vs_grpo.benchmarks.analysis.frames import probes
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import LINE_IN, algorithms, arm_marks, grid, unmatched_words
from ppo_vs_grpo.benchmarks.analysis.report.figures.panels import name_rows

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
    written = {task: break_even(critics[critics["task"] == task], colours) for task in tasks}
    with_critic = {task: len(_at_positions(right[right["task"] == task], colours)) > 0 for task in tasks}
    title = f"{results.name}: probes {PHRASES[moment]}{unmatched_words(results, results.tasks)}"
    dense = max(1.0, len(colours) / 4)
    estimators = [name for name in middle["estimator"].unique() if name != "own"]
    cosines_in = max(1.3, 0.55 + 0.19 * len(estimators) * dense)
    rows = [
        row
        for task in tasks
        for row in (
            (0.55 + 0.19 * len(probes.BASELINES) * dense, 1),
            (cosines_in + LINE_IN * written[task].count("\n"), 2 if with_critic[task] else 1),
        )
    ]
    with grid(rows, title, arm_marks(results, None, colours), caption) as (figure, axes):
        for task, (residual,), later in zip(tasks, axes[::2], axes[1::2], strict=True):
            names = list(probes.BASELINES)
            dots(left[left["task"] == task], "baseline", "residual_variance", "se", residual, colours, names)
            name_rows(residual, list(probes.BASELINES.values()))
            residual.axvline(1, color=style.FAINT, linewidth=0.9)
            residual.set_xlim(left=0)
            residual.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
            residual.set_title(f"{task}: variance left by a baseline")
            dots(middle[middle["task"] == task], "estimator", "cosine", "cosine_se", later[0], colours, estimators)
            later[0].axvline(0, color=style.FAINT, linewidth=0.9)
            later[0].xaxis.set_major_locator(MaxNLocator(3))
            later[0].set_title("cosine")
            if with_critic[task]:
                by_position(right[right["task"] == task], later[1], colours).set_title("critic's error")
                later[1].set_xlabel("\n".join(["place in the completion", written[task]]).rstrip(), loc="right")
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
        ax.errorbar(values, at, xerr=spread, fmt="o", markersize=3.2, elinewidth=1.1, color=colours[arm])
    name_rows(ax, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    return ax


def by_position(table: pd.DataFrame, ax: Axes, colours: Mapping[str, str]) -> Axes:
    """A line an arm with a critic: its error in each tenth of the completion, a band of twice the standard error."""
    shown = _at_positions(table, colours)
    for arm in [arm for arm in colours if arm in set(shown["arm"])]:
        curve = shown[shown["arm"] == arm].sort_values("position")
        x, y = curve["position"] + 0.05, curve["mse"].astype(float)
        se = curve["se"].astype(float).fillna(0.0)
        ax.fill_between(x, y - 2 * se, y + 2 * se, color=colours[arm], alpha=0.2, linewidth=0)
        ax.plot(x, y, **style.line(colours[arm]), linewidth=1.6, marker="o", markersize=2.5)
    if shown.empty:
        ax.text(0.5, 0.5, "no critic", transform=ax.transAxes, ha="center", color=style.FAINT)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    if not ax.dataLim.y0 < 0:
        ax.set_ylim(bottom=0)
    return ax


def _at_positions(table: pd.DataFrame, colours: Mapping[str, str]) -> pd.DataFrame:
    """The rows that a panel of the critic's error shows."""
    return table[table["position"].notna() & (table["n"] > 0) & table["arm"].isin(colours)]


def break_even(table: pd.DataFrame, colours: Mapping[str, str]) -> str:
    """Each critic's break-even group size, a line an arm: they stand below the panel, where no curve is."""
    shown = table[table["arm"].isin(colours)]
    sizes = [
        f"{arm}: {size:.1f}" if np.isfinite(size) else f"{arm}: none"
        for arm, size in zip(shown["arm"], shown["break_even_group_size"], strict=True)
    ]
    return "\n".join(["break-even G", *sizes]) if sizes else ""

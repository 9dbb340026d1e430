"""Whole figures of a suite's results: four panels for a task, and all tasks at a glance."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppo_vs_grpo.benchmarks import plots
from ppo_vs_grpo.benchmarks.analysis.frames.attribution import EFFECTS, attribution, effects_by_seed
from ppo_vs_grpo.benchmarks.analysis.frames.costs import peak_memory, phase_seconds
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results, unmatched

WIDTH_IN = 6.3


def task_figure(results: Results, task: str, caption: str = "") -> Figure:
    """Reward, variance, memory and wall-clock of every arm that runs on one task."""
    colours = arms_on(results, task)
    memory = timed(results, _of(peak_memory(results), task))
    seconds = timed(results, _of(phase_seconds(results), task))
    scores, metrics = _of(results.scores, task), _of(results.metrics, task)
    metrics = metrics[metrics["key"].isin(results.complete)]
    bars = max(memory.groupby("phase")["arm"].nunique().sum(), 4)
    low = max(1.7, 0.3 * len(colours), min(0.14 * bars, 0.8 + 0.07 * bars))
    legend_in = 0.66 + 0.2 * legend_rows(colours)
    height = legend_in + 3.3 + 0.85 + low + 1.05
    with matplotlib.rc_context(plots.STYLE):
        figure = blank(height)
        legend(figure, results, task, colours, task, height)
        top, middle = 1 - legend_in / height, 1 - (legend_in + 3.3) / height
        upper = {"top": top, "bottom": middle}
        left = figure.add_gridspec(2, 1, left=0.12, right=0.475, height_ratios=[2.1, 1], hspace=0.16, **upper)
        right = figure.add_gridspec(3, 1, left=0.63, right=0.965, hspace=0.2, **upper)
        curve, reward = (figure.add_subplot(left[row]) for row in range(2))
        within, silent, spread = (figure.add_subplot(right[row]) for row in range(3))
        plots.learning_curve(scores, curve, colours).set(title="Reward", ylabel="held-out pass rate")
        plots.trace(metrics, "reward_mean", reward, colours).set(xlabel="completions", ylabel="training\nreward")
        plots.trace(metrics, "reward_std_within_group", within, colours).set(ylabel="reward sd\nin a group")
        within.set_title("Variance")
        plots.trace(metrics, "silent_group_fraction", silent, colours).set(ylabel="silent\ngroups")
        plots.seed_spread(scores, spread, colours).set(xlabel="completions", ylabel="pass-rate sd\nover seeds")
        for ax in (curve, within, silent):
            ax.tick_params(labelbottom=False)
        figure.align_ylabels([curve, reward])
        figure.align_ylabels([within, silent, spread])
        bottom_top, bottom = 1 - (legend_in + 3.3 + 0.85) / height, 1.05 / height
        box = {"top": bottom_top, "bottom": bottom}
        bytes_ax = figure.add_subplot(figure.add_gridspec(1, 1, left=0.15, right=0.475, **box)[0])
        time_ax = figure.add_subplot(figure.add_gridspec(1, 1, left=0.63, right=0.965, **box)[0])
        plots.memory_by_phase(memory, bytes_ax, colours).set_title("Memory", pad=15)
        plots.seconds_by_phase(seconds, time_ax, list(colours)).set_title("Wall-clock", pad=15)
        if len(seconds):
            _phase_legend(figure, time_ax, height)
        sign(figure, caption, height)
    return figure


def overview_figure(results: Results, caption: str = "") -> Figure:
    """A row a task: learning curves, final scores by seed, seconds, peak memory."""
    colours = plots.arm_colours(algorithms(results))
    memory, seconds = (timed(results, frame) for frame in (peak_memory(results), phase_seconds(results)))
    memory = memory[memory["phase"] == "process"]
    legend_in, row_in, foot_in = 0.75 + 0.2 * legend_rows(colours), 1.35, 0.65
    height = legend_in + row_in * len(results.tasks) + foot_in
    with matplotlib.rc_context(plots.STYLE | {"axes.titlesize": 9, "ytick.labelsize": 8.5, "xtick.labelsize": 8.5}):
        figure = blank(height)
        legend(figure, results, None, colours, results.name, height)
        grid = figure.add_gridspec(
            len(results.tasks), 4, left=0.115, right=0.985, top=1 - legend_in / height, bottom=foot_in / height,
            width_ratios=[1.75, 1, 1, 1], wspace=0.46, hspace=0.24,
        )  # fmt: skip
        for row, task in enumerate(results.tasks):
            curve, final, time_ax, bytes_ax = (figure.add_subplot(grid[row, column]) for column in range(4))
            here = arms_on(results, task)
            plots.learning_curve(_of(results.scores, task), curve, here)
            curve.set_ylabel(textwrap.fill(task, 15), fontweight="bold")
            plots.final_scores(_of(results.finals, task), final, here)
            final.set_ylim(curve.get_ylim())
            plots.totals(_of(seconds, task), "total_s", time_ax, here)
            plots.totals(_of(memory, task), "mb", bytes_ax, here, digits=0)
            last = row == len(results.tasks) - 1
            curve.tick_params(labelbottom=last)
            if row == 0:
                curve.set_title("held-out pass rate")
                final.set_title("at the end")
                time_ax.set_title("seconds/1,000\ncompletions")
                bytes_ax.set_title("memory,\npeak MB")
            if last:
                curve.set_xlabel("completions")
        sign(figure, caption, height)
    return figure


def attribution_figure(results: Results, caption: str = "") -> Figure:
    """The total difference between GRPO and PPO, and the effects into which it splits, a panel each, on one scale."""
    seeds, table = effects_by_seed(results), attribution(results)
    tasks = [task for task in (*results.tasks, ALL_TASKS) if task in set(table["task"])]
    height = 1.25 + 0.36 * max(len(tasks), 2)
    titles = {"total": "GRPO less PPO", "baseline": "= baseline", "everything else": "+ everything else"}
    with matplotlib.rc_context(plots.STYLE | {"axes.titlesize": 8.5, "xtick.labelsize": 8.5}):
        figure = blank(height)
        grid = figure.add_gridspec(
            1, len(EFFECTS), left=0.135, right=0.985, top=1 - 0.42 / height, bottom=0.72 / height, wspace=0.1
        )
        first = None
        for column, name in enumerate(EFFECTS):
            ax = first = figure.add_subplot(grid[0, column], sharex=first)
            plots.effect(seeds, table, name, ax, tasks).set_title(titles.get(name, name))
            ax.tick_params(labelleft=column == 0)
        figure.text(0.56, 0.3 / height, "difference of the final held-out pass rate", ha="center", fontsize=9)
        sign(figure, caption, height)
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write STEM.svg, STEM.png and STEM.pdf, without dates: the same figure gives the same bytes."""
    with matplotlib.rc_context(plots.STYLE):
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        stem.with_suffix(".svg").write_text(_shortened(drawn.getvalue()), encoding="utf-8", newline="\n")
        figure.savefig(stem.with_suffix(".png"), dpi=160, metadata={"Software": None})
        figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Creator": None, "Producer": None})


def _shortened(svg: str) -> str:
    """A drawing without indentation, whose places have two decimals, a hundredth of a point: a page carries many."""
    places = r'\b(?:d|x|y)="[^"]*"|translate\([^)]*\)'
    svg = re.sub(places, lambda place: re.sub(r"(\.\d\d)\d+", r"\1", place[0]), svg)
    return re.sub(r"\n +", "\n", svg)


def algorithms(results: Results) -> dict[str, str]:
    """Each arm's algorithm, in the order of the suite."""
    return {arm: str(results.suite["arms"][arm]["algorithm"]) for arm in results.arms}


def arms_on(results: Results, task: str) -> dict[str, str]:
    """The colours of the arms that run on a task; an arm has the same one on all its tasks."""
    colours = plots.arm_colours(algorithms(results))
    return {arm: colour for arm, colour in colours.items() if task in results.runs_on(arm)}


def timed(results: Results, costs: pd.DataFrame) -> pd.DataFrame:
    """The rows of costs without arms that the suite's timing pass leaves out: training runs are no match for it."""
    arms = (results.suite.get("timing") or {}).get("arms")
    return costs[costs["arm"].isin(arms)] if arms else costs


def _of(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of one task."""
    return frame[frame["task"] == task]


def blank(height_in: float) -> Figure:
    """An empty figure of the report's width, drawn without a window system."""
    figure = Figure(figsize=(WIDTH_IN, height_in))
    FigureCanvasAgg(figure)
    return figure


def legend(
    figure: Figure, results: Results, task: str | None, colours: Mapping[str, str], title: str, height: float
) -> None:
    """The figure's title, and under it the arms with their numbers of runs and whether their budgets match."""
    complete = results.finals[results.finals["key"].isin(results.complete)]
    labels = []
    for arm in colours:
        runs = complete[complete["arm"] == arm].groupby("task")["key"].count()
        counts = {int(runs.get(name, 0)) for name in ([task] if task else results.runs_on(arm))}
        number = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        labels.append(f"{arm} (n = {number})")
    if any(unmatched(results, name) for name in ([task] if task else results.tasks)):
        title += "   ·   budgets unmatched"
    figure.text(0.012, 1 - 0.08 / height, title, va="top", fontsize=13, fontweight="bold")
    lines = [Line2D([], [], color=colour, linewidth=2.4) for colour in colours.values()]
    figure.legend(
        lines, labels, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.3 / height), ncols=side_by_side(_longest(colours)),
        borderaxespad=0.2, handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip


def side_by_side(labels: Collection[str]) -> int:
    """How many entries of a legend fit beside each other, if all are as long as the longest."""
    return max(1, int(WIDTH_IN / (0.6 + 0.075 * max(len(label) for label in labels))))


def legend_rows(colours: Mapping[str, str]) -> int:
    """Rows that the legend of the arms takes."""
    return rows_of(_longest(colours))


def rows_of(labels: Collection[str]) -> int:
    """Rows that a legend of these labels takes."""
    return -(-len(labels) // side_by_side(labels))


def _longest(arms: Iterable[str]) -> list[str]:
    """The arms' labels at their longest."""
    return [f"{arm} (n = 8 to 8)" for arm in arms]


def _phase_legend(figure: Figure, ax: Axes, height: float) -> None:
    """Name the phases' colours under the axis."""
    box = ax.get_position()
    figure.legend(
        *ax.get_legend_handles_labels(), loc="upper center", ncols=3, fontsize=8.5, handlelength=1, columnspacing=1,
        bbox_to_anchor=((box.x0 + box.x1) / 2, box.y0 - 0.42 / height), borderaxespad=0, handleheight=0.8,
    )  # fmt: skip


def sign(figure: Figure, caption: str, height: float) -> None:
    """Write the caption, which ends with the report's id, into the lower right corner."""
    figure.text(0.98, 0.06 / height, caption, ha="right", va="bottom", fontsize=7.5, color=plots.FAINT)

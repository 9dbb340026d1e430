"""Whole figures of a suite's results: four panels for a task, and all tasks at a glance."""

from __future__ import annotations

import textwrap

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks.analysis.frames.costs import peak_memory, phase_seconds
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.figures import panels, style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import (
    add_caption,
    algorithms,
    arms_on,
    blank,
    legend,
    legend_rows,
    of_task,
    timed,
)


def task_figure(results: Results, task: str, caption: str = "") -> Figure:
    """Reward, variance, memory and wall-clock of every arm that runs on one task."""
    colours = arms_on(results, task)
    memory = timed(results, of_task(peak_memory(results), task))
    seconds = timed(results, of_task(phase_seconds(results), task))
    scores, metrics = of_task(results.scores, task), of_task(results.metrics, task)
    metrics = metrics[metrics["key"].isin(results.complete)]
    bars = max(memory.groupby("phase")["arm"].nunique().sum(), 4)
    low = max(1.7, 0.3 * len(colours), min(0.14 * bars, 0.8 + 0.07 * bars))
    legend_in = 0.66 + 0.2 * legend_rows(colours)
    height = legend_in + 3.3 + 0.85 + low + 1.05
    with matplotlib.rc_context(style.STYLE):
        figure = blank(height)
        legend(figure, results, task, colours, task, height)
        top, middle = 1 - legend_in / height, 1 - (legend_in + 3.3) / height
        upper = {"top": top, "bottom": middle}
        left = figure.add_gridspec(2, 1, left=0.12, right=0.475, height_ratios=[2.1, 1], hspace=0.16, **upper)
        right = figure.add_gridspec(3, 1, left=0.63, right=0.965, hspace=0.2, **upper)
        curve, reward = (figure.add_subplot(left[row]) for row in range(2))
        within, silent, spread = (figure.add_subplot(right[row]) for row in range(3))
        panels.learning_curve(scores, curve, colours).set(title="Reward", ylabel="held-out pass rate")
        panels.trace(metrics, "reward_mean", reward, colours).set(xlabel="completions", ylabel="training\nreward")
        panels.trace(metrics, "reward_std_within_group", within, colours).set(ylabel="reward sd\nin a group")
        within.set_title("Variance")
        panels.trace(metrics, "silent_group_fraction", silent, colours).set(ylabel="silent\ngroups")
        panels.seed_spread(scores, spread, colours).set(xlabel="completions", ylabel="pass-rate sd\nover seeds")
        for ax in (curve, within, silent):
            ax.tick_params(labelbottom=False)
        figure.align_ylabels([curve, reward])
        figure.align_ylabels([within, silent, spread])
        bottom_top, bottom = 1 - (legend_in + 3.3 + 0.85) / height, 1.05 / height
        box = {"top": bottom_top, "bottom": bottom}
        bytes_ax = figure.add_subplot(figure.add_gridspec(1, 1, left=0.15, right=0.475, **box)[0])
        time_ax = figure.add_subplot(figure.add_gridspec(1, 1, left=0.63, right=0.965, **box)[0])
        panels.memory_by_phase(memory, bytes_ax, colours).set_title("Memory", pad=15)
        panels.seconds_by_phase(seconds, time_ax, list(colours)).set_title("Wall-clock", pad=15)
        if len(seconds):
            _phase_legend(figure, time_ax, height)
        add_caption(figure, caption, height)
    return figure


def overview_figure(results: Results, caption: str = "") -> Figure:
    """A row a task: learning curves, final scores by seed, seconds, peak memory."""
    colours = style.arm_colours(algorithms(results))
    memory, seconds = (timed(results, frame) for frame in (peak_memory(results), phase_seconds(results)))
    memory = memory[memory["phase"] == "process"]
    legend_in, row_in, foot_in = 0.75 + 0.2 * legend_rows(colours), 1.35, 0.65
    height = legend_in + row_in * len(results.tasks) + foot_in
    with matplotlib.rc_context(style.STYLE | {"axes.titlesize": 9, "ytick.labelsize": 8.5, "xtick.labelsize": 8.5}):
        figure = blank(height)
        legend(figure, results, None, colours, results.name, height)
        grid = figure.add_gridspec(
            len(results.tasks), 4, left=0.115, right=0.985, top=1 - legend_in / height, bottom=foot_in / height,
            width_ratios=[1.75, 1, 1, 1], wspace=0.46, hspace=0.24,
        )  # fmt: skip
        for row, task in enumerate(results.tasks):
            curve, final, time_ax, bytes_ax = (figure.add_subplot(grid[row, column]) for column in range(4))
            here = arms_on(results, task)
            panels.learning_curve(of_task(results.scores, task), curve, here)
            curve.set_ylabel(textwrap.fill(task, 15), fontweight="bold")
            panels.final_scores(of_task(results.finals, task), final, here)
            final.set_ylim(curve.get_ylim())
            panels.totals(of_task(seconds, task), "total_s", time_ax, here)
            panels.totals(of_task(memory, task), "mb", bytes_ax, here, digits=0)
            last = row == len(results.tasks) - 1
            curve.tick_params(labelbottom=last)
            if row == 0:
                curve.set_title("held-out pass rate")
                final.set_title("at the end")
                time_ax.set_title("seconds/1,000\ncompletions")
                bytes_ax.set_title("memory,\npeak MB")
            if last:
                curve.set_xlabel("completions")
        add_caption(figure, caption, height)
    return figure


def _phase_legend(figure: Figure, ax: Axes, height: float) -> None:
    """Name the phases' colours under the axis."""
    box = ax.get_position()
    figure.legend(
        *ax.get_legend_handles_labels(), loc="upper center", ncols=3, fontsize=8.5, handlelength=1, columnspacing=1,
        bbox_to_anchor=((box.x0 + box.x1) / 2, box.y0 - 0.42 / height), borderaxespad=0, handleheight=0.8,
    )  # fmt: skip

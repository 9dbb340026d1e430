"""Whole figures of a suite's results: all tasks at a glance, and each task in full."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair, shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.costs import memory_by_role, peak_memory, phase_seconds
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge_primary
from ppo_vs_grpo.benchmarks.analysis.report.answer import interval, points
from ppo_vs_grpo.benchmarks.analysis.report.figures import panels, style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import (
    algorithms,
    arm_marks,
    arms_on,
    grid,
    legend_below,
    legend_in,
    of_task,
    timed,
    title_across,
    unmatched_words,
)
from ppo_vs_grpo.benchmarks.analysis.report.figures.costs import predictions, role_marks, roles, stack

ACCELERATOR = "accelerator_allocated"


def finding(results: Results, task: str) -> str:
    """How the task's two arms end, such as `grpo ends 4.1 points higher; interval 1.8 to 6.4`; empty without two arms.

    An arm ends higher where the task's verdict names it. Points are hundredths of the held-out pass rate; the interval
    is the verdict's, not adjusted.
    """
    one = next((one for one in judge_primary(results) if one.task == task), None)
    if one is None:
        return ""
    if one.estimate is None or one.low is None:
        return f"{one.n} finished pair{'s' * (one.n != 1)} of seeds: no interval"
    if one.winner is None:
        gap = points(one.estimate, plus=True)
        return f"{one.second} minus {one.first} {gap} points; interval {interval(one.low, one.high)}"
    ends = interval(one.low, one.high, turned=one.estimate < 0)
    return f"{one.winner} ends {points(abs(one.estimate))} points higher; interval {ends}"


def titled(task: str, words: str) -> str:
    """A task with what was found on it."""
    return f"{task}: {words}" if words else task


def overview_figure(results: Results, caption: str = "") -> Figure:
    """A row a task: learning curves, and beside them how far the two arms are apart, or each arm's end."""
    colours = style.arm_colours(algorithms(results))
    pair = choose_pair(results)
    compared = shared_tasks(results, pair) if pair else []
    title = f"{results.name}: held-out pass rate{unmatched_words(results, results.tasks)}"
    rows = [(1.75, 2)] * len(results.tasks)
    with grid(rows, title, arm_marks(results, None, colours), caption) as (figure, axes):
        for task, (curve, beside) in zip(results.tasks, axes, strict=True):
            here, scores = arms_on(results, task), of_task(results.scores, task)
            title_across(panels.learning_curve(scores, curve, here), titled(task, finding(results, task)))
            if pair and task in compared:
                panels.difference(scores, pair, beside).set_ylabel(
                    textwrap.fill(f"{pair[1]} minus {pair[0]}, points", 18)
                )
            else:
                panels.final_scores(of_task(results.finals, task), beside, here).set_ylim(curve.get_ylim())
                beside.set_ylabel("at the end")
        for ax in axes[-1] if axes else ():
            ax.set_xlabel("completions" if ax.get_xticks().size else "arms")
    return figure


def task_figure(results: Results, task: str, caption: str = "") -> Figure:
    """Reward, difference, variance, wall-clock and memory of every arm that runs on one task."""
    colours, pair = arms_on(results, task), choose_pair(results)
    seconds = timed(results, of_task(phase_seconds(results), task))
    scores, metrics = of_task(results.scores, task), of_task(results.metrics, task)
    metrics = metrics[metrics["key"].isin(results.complete)]
    timed_arms = [arm for arm in colours if arm in set(seconds["arm"])]
    held = _held(results, task, colours)
    rows = [(2.2, 1), (1.55, 2), (1.55, 2), *([(1.2 + panels.bars_in(timed_arms), 1)] if timed_arms else [])]
    rows += [(held[0], 1)] if held else []
    title = titled(task, finding(results, task)) + unmatched_words(results, [task])
    with grid(rows, title, arm_marks(results, task, colours), caption) as (figure, axes):
        (curve,), (reward, spread), (within, silent), *bars = axes
        panels.learning_curve(scores, curve, colours).set_title("Held-out pass rate")
        if pair and set(pair) <= set(colours):
            panels.difference(scores, pair, reward).set_title(textwrap.fill(f"{pair[1]} minus {pair[0]}, points", 24))
        else:
            panels.trace(metrics, "reward_mean", reward, colours).set_title("Training reward")
        panels.seed_spread(scores, spread, colours).set_title("Its sd over seeds")
        panels.trace(metrics, "reward_std_within_group", within, colours).set_title("Reward sd in a group")
        panels.trace(metrics, "silent_group_fraction", silent, colours).set_title("Silent groups")
        for ax in (within, silent):
            ax.set_xlabel("completions")
        if timed_arms:
            ax = panels.seconds_by_phase(seconds, bars[0][0], timed_arms)
            legend_below(ax, ax.get_legend_handles_labels()[0]).set_title("Wall-clock")
        if held:
            held[1](bars[-1][0])
    return figure


def _held(results: Results, task: str, colours: Mapping[str, str]) -> tuple[float, Callable[[Axes], Axes]] | None:
    """The height in inches of the panel of memory, and what draws it; None where nothing but whole processes was seen.

    A process's resident memory is mostly the libraries, the same for every arm: it stands in the tables alone.
    """
    roles_held = memory_by_role(results)
    roles_held = of_task(roles_held[roles_held["phase"] == "total"], task)
    arms = [arm for arm in colours if arm in set(roles_held["arm"])]
    if arms:

        def by_role(ax: Axes) -> Axes:
            stack(ax, arms, roles(roles_held), predictions(roles_held)).set_title("Memory at an update's peak, MB")
            return legend_below(ax, role_marks(roles_held))

        return 0.8 + panels.bars_in(arms) + legend_in(role_marks(roles_held)), by_role
    memory = timed(results, of_task(peak_memory(results), task))
    if not len(memory) or memory["source"].iloc[0] != ACCELERATOR:
        return None
    bars = int(memory.groupby("phase")["arm"].nunique().sum())

    def by_phase(ax: Axes) -> Axes:
        panels.memory_by_phase(memory, ax, colours).set_title("Memory")
        return ax

    return max(1.4, 0.7 + 0.14 * bars), by_phase

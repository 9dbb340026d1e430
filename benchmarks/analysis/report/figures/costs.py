"""Figures of what learning costs: memory by role, seconds and operations by phase, and curves against each budget."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator
from matplotlib.transforms import blended_transform_factory

from ppo_vs_grpo.algorithms.shared.config import PHASES
from ppo_vs_grpo.benchmarks.analysis.frames.costs import (
    BUDGETS,
    flops_by_phase,
    memory_by_role,
    phase_seconds,
    scores_by_cost,
)
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.figures import panels, style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import (
    add_caption,
    algorithms,
    arms_on,
    blank,
    legend,
    legend_rows,
    timed,
)

ROLE_COLOURS = {
    **{"policy.params": "#0B3C5D", "policy.grads": "#328CC1", "optimizer.policy": "#9CC9E3"},
    **{"value.params": "#4A1942", "value.grads": "#893168", "optimizer.value": "#C79BB8"},
    **{"reference.params": "#6B705C", "kv_cache": "#B8A35A"},
    **{"activations.policy": "#E07A5F", "activations.value": "#F2B5A0", "batch": "#A7A7A7", "temporary": "#DDDDDD"},
}
"""A hue an owner: blue the policy's, purple the critic's, red the activations."""

CRITIC: dict[str, Any] = {"hatch": "//////", "edgecolor": "white", "linewidth": 0}

FLOP_COLOURS = {
    **{name: style.PHASE_COLOURS[name] for name in PHASES},
    **{"forward": "#7B8A61", "backward": "#4F5D3A"},
}


Segments = Mapping[str, Sequence[tuple[float, dict[str, Any]]]]
"""Widths of an arm's bar and how each is filled, from 0 on."""


def cost_figure(results: Results, caption: str = "") -> Figure:
    """A row a task: memory by role with its prediction, seconds by phase, operations by phase; a bar an arm."""
    memory, seconds, flops = memory_by_role(results), timed(results, phase_seconds(results)), flops_by_phase(results)
    memory = memory[memory["phase"] == "total"]
    arms = {task: list(arms_on(results, task)) for task in results.tasks if task in set(memory["task"])}
    rows_in = [0.4 + 0.22 * max(len(here), 2) for here in arms.values()] or [0.84]
    head_in, foot_in = 0.82, 1.4
    height = head_in + sum(rows_in) + foot_in
    with matplotlib.rc_context(style.STYLE | {"axes.titlesize": 8.5, "ytick.labelsize": 8, "xtick.labelsize": 8}):
        figure = blank(height)
        title = f"{results.name}: what an update costs"
        figure.text(0.012, 1 - 0.08 / height, title, va="top", fontsize=13, fontweight="bold")
        grid = figure.add_gridspec(
            len(rows_in), 3, left=0.24, right=0.975, top=1 - head_in / height, bottom=foot_in / height,
            wspace=0.12, hspace=0.4, height_ratios=rows_in,
        )  # fmt: skip
        for row, (task, names) in enumerate(arms.items()):
            held, took, computed = (figure.add_subplot(grid[row, column]) for column in range(3))
            here = memory[memory["task"] == task]
            stack(held, names, roles(here), predictions(here))
            measured = seconds[seconds["task"] == task]
            stack(took, names, seconds_segments(measured))
            stack(computed, names, flop_segments(flops[flops["task"] == task]))
            beside = blended_transform_factory(figure.transFigure, held.transAxes)
            held.text(0.012, 1, textwrap.fill(task, 16), transform=beside, fontsize=9, fontweight="bold", va="bottom")
            if measured["contended"].any():
                took.annotate("contended", (1, 1), xycoords="axes fraction", ha="right", va="top", fontsize=7.5,
                              color=style.ALERT)  # fmt: skip
            for ax, column in zip((held, took, computed), COLUMNS, strict=True):
                ax.tick_params(labelleft=ax is held)
                ax.set_title("" if row else column)
        _legends(figure, memory, flops, height)
        add_caption(figure, caption, height)
    return figure


COLUMNS = ("memory at the\npeak, MB", "seconds per\n1,000 completions", "10⁶ operations\na completion")


def roles(memory: pd.DataFrame) -> Segments:
    """What each role held at the update's peak."""
    held = memory.groupby(["arm", "role"])["tracked_mb"].sum()
    return {
        arm: [(float(held.get((arm, role), 0.0)), {"facecolor": colour}) for role, colour in ROLE_COLOURS.items()]
        for arm in memory["arm"].unique()
    }


def predictions(memory: pd.DataFrame) -> dict[str, float]:
    """The predicted peak of each arm's update."""
    return {arm: float(memory.loc[memory["arm"] == arm, "predicted_mb"].sum()) for arm in memory["arm"].unique()}


def seconds_segments(seconds: pd.DataFrame) -> Segments:
    """Mean seconds of each phase."""
    segments = {}
    for arm in seconds["arm"].unique():
        rows = seconds[seconds["arm"] == arm]
        shared = bool(rows["contended"].any())
        segments[arm] = [
            (float(rows[f"{phase}_s"].mean()), style.fill(style.PHASE_COLOURS[phase], shared)) for phase in PHASES
        ]
    return segments


def flop_segments(flops: pd.DataFrame) -> Segments:
    """Operations of each phase, a mean over runs and moments; the critic's part is hatched."""
    means = flops.groupby(["arm", "phase"])[["mflops", "critic_mflops"]].mean()
    segments: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for arm in means.index.unique("arm"):
        segments[arm] = []
        for phase, colour in FLOP_COLOURS.items():
            if (arm, phase) in means.index:
                total, critic = means.loc[(arm, phase)].to_numpy(float)
                segments[arm] += [(total - critic, {"facecolor": colour}), (critic, {"facecolor": colour} | CRITIC)]
    return segments


def stack(ax: Axes, arms: Sequence[str], segments: Segments, outlines: Mapping[str, float] | None = None) -> Axes:
    """A stacked bar an arm with its total; an outline where there is a prediction."""
    widest = 0.0
    for place, arm in enumerate(arms):
        left = 0.0
        for width, look in segments.get(arm, ()):
            ax.barh(place, width, 0.64, left=left, **look)
            left += width
        end = max(left, float((outlines or {}).get(arm, 0.0)))
        if end > 0 and outlines is not None:
            ax.barh(place, outlines[arm], 0.8, fill=False, edgecolor=style.INK, linewidth=0.9, linestyle=(0, (2, 1)))
        if end > 0:
            ax.annotate(
                f"{left:,.0f}" if left >= 1000 else f"{left:.3g}",
                (end, place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        widest = max(widest, end)
    ax.set_yticks(range(len(arms)), list(arms))
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.set_xlim(0, widest * 1.28 or 1)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    if not widest:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color=style.FAINT)
    return ax


def _legends(figure: Figure, memory: pd.DataFrame, flops: pd.DataFrame, height: float) -> None:
    """Roles under the memory column, phases under the other two."""
    held = set(memory.loc[memory["tracked_mb"] > 0, "role"])
    patches = [Patch(facecolor=colour, label=role) for role, colour in ROLE_COLOURS.items() if role in held]
    patches.append(Patch(fill=False, edgecolor=style.INK, linestyle=(0, (2, 1)), label="predicted"))
    phases = [phase for phase in FLOP_COLOURS if phase in {*PHASES, *flops["phase"]}]
    others = [Patch(facecolor=FLOP_COLOURS[phase], label=phase) for phase in phases]
    others.append(Patch(facecolor=style.FAINT, label="critic's part", **CRITIC))
    for handles, x, columns in ((patches, 0.01, 3), (others, 0.68, 2)):
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(x, 1.02 / height), ncols=columns, fontsize=8,
            handlelength=1, handleheight=0.8, columnspacing=1.0, labelspacing=0.3, borderaxespad=0,
        )  # fmt: skip


def budget_figure(results: Results, caption: str = "") -> Figure:
    """A row a task: the held-out curves against optimizer steps, tokens, operations and seconds."""
    colours = style.arm_colours(algorithms(results))
    scores = scores_by_cost(results)
    budgets = [name for name in BUDGETS if name != "completions"]
    head_in, row_in, foot_in = 0.75 + 0.2 * legend_rows(colours), 1.2, 0.65
    height = head_in + row_in * len(results.tasks) + foot_in
    with matplotlib.rc_context(style.STYLE | {"axes.titlesize": 9, "ytick.labelsize": 8, "xtick.labelsize": 8}):
        figure = blank(height)
        legend(figure, results, None, colours, f"{results.name}: the same curves by cost", height)
        grid = figure.add_gridspec(
            len(results.tasks), len(budgets), left=0.115, right=0.975, top=1 - head_in / height,
            bottom=foot_in / height, wspace=0.16, hspace=0.3,
        )  # fmt: skip
        for row, task in enumerate(results.tasks):
            here = scores[scores["task"] == task]
            for column, budget in enumerate(budgets):
                ax = figure.add_subplot(grid[row, column])
                _curve(timed(results, here) if budget == "seconds" else here, budget, ax, arms_on(results, task))
                ax.tick_params(labelleft=column == 0)
                if column == 0:
                    ax.set_ylabel(task, fontweight="bold")
                if row == 0:
                    ax.set_title(BUDGETS[budget])
        add_caption(figure, caption, height)
    return figure


def _curve(scores: pd.DataFrame, budget: str, ax: Axes, colours: Mapping[str, str]) -> None:
    """One panel: the curve, or why there is none; seconds of a shared machine are labelled."""
    if not scores[budget].notna().any():
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", fontsize=8, color=style.FAINT)
        ax.set_xticks([])
        return
    panels.learning_curve(scores, ax, colours, x=budget)
    ax.set_xlabel("")
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    if budget == "seconds" and scores["contended"].any():
        ax.annotate("contended", (0.98, 0.04), xycoords="axes fraction", ha="right", fontsize=7.5, color=style.ALERT)

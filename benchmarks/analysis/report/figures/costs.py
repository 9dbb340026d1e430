"""Figures of what learning costs: memory by role, seconds and operations by phase, and curves against each budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

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
    algorithms,
    arm_marks,
    arms_on,
    grid,
    timed,
    unmatched_words,
)

ROLE_COLOURS = {
    **{"policy.params": "#0B3C5D", "policy.grads": "#328CC1", "optimizer.policy": "#9CC9E3"},
    **{"value.params": "#4A1942", "value.grads": "#893168", "optimizer.value": "#C79BB8"},
    **{"reference.params": "#6B705C", "kv_cache": "#B8A35A"},
    **{"activations.policy": "#E07A5F", "activations.value": "#F2B5A0", "batch": "#A7A7A7", "temporary": "#DDDDDD"},
}
"""A hue an owner: blue the policy's, purple the critic's, red the activations."""

OUTLINE: dict[str, Any] = {"fill": False, "edgecolor": style.INK, "linewidth": 0.9, "linestyle": (0, (2, 1))}
CRITIC: dict[str, Any] = {"hatch": "//////", "edgecolor": "white", "linewidth": 0}

FLOP_COLOURS = {
    **{name: style.PHASE_COLOURS[name] for name in PHASES},
    **{"forward": "#7B8A61", "backward": "#4F5D3A"},
}


Segments = Mapping[str, Sequence[tuple[float, dict[str, Any]]]]
"""Widths of an arm's bar and how each is filled, from 0 on."""


COLUMNS = ("memory at the peak, MB", "seconds per\n1,000 completions", "10⁶ operations\na completion")


def cost_figure(results: Results, caption: str = "") -> Figure:
    """A row a task: memory by role with its prediction, seconds by phase, operations by phase; a bar an arm."""
    memory, seconds, flops = memory_by_role(results), timed(results, phase_seconds(results)), flops_by_phase(results)
    memory = memory[memory["phase"] == "total"]
    arms = {task: list(arms_on(results, task)) for task in results.tasks if task in set(memory["task"])}
    timed_on = {task: set(seconds.loc[seconds["task"] == task, "arm"]) & set(here) for task, here in arms.items()}
    rows = [row for task in arms for row in (bars_row(arms[task], 1), bars_row(arms[task], 2 if timed_on[task] else 1))]
    marks = [*role_marks(memory), *phase_marks(flops)]
    with grid(rows, f"{results.name}: what an update costs", marks, caption) as (figure, axes):
        for (task, names), (held,), later in zip(arms.items(), axes[::2], axes[1::2], strict=True):
            here, measured = memory[memory["task"] == task], seconds[seconds["task"] == task]
            stack(held, names, roles(here), predictions(here)).set_title(f"{task}: {COLUMNS[0]}")
            if timed_on[task]:
                stack(later[0], names, seconds_segments(measured)).set_title(COLUMNS[1])
                if measured["contended"].any():
                    later[0].set_xlabel("contended", color=style.ALERT)
            stack(later[-1], names, flop_segments(flops[flops["task"] == task])).set_title(COLUMNS[2])
            later[-1].tick_params(labelleft=len(later) == 1)
    return figure


def bars_row(arms: Sequence[str], panels_beside: int) -> tuple[float, int]:
    """A row of `canvas.grid` that holds a bar an arm."""
    return 0.55 + 0.17 * (panels_beside == 2) + panels.bars_in(arms), panels_beside


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
    means = flops.groupby(["arm", "phase"])[["mflops", "critic_mflops"]].mean().fillna(0.0)
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
    ends = {}
    for place, arm in enumerate(arms):
        left = 0.0
        for width, look in segments.get(arm, ()):
            panels.segment(ax, left, width, panels.bar(place, arms), **look)
            left += width
        ends[place] = left, max(left, float((outlines or {}).get(arm, 0.0)))
        if ends[place][1] > 0 and outlines is not None:
            panels.segment(ax, 0, outlines[arm], panels.bar(place, arms, 0.8), **OUTLINE)
    widest = max((end for _, end in ends.values()), default=0.0)
    digits = decimals([total for total, _ in ends.values()])
    for place, (total, end) in ends.items():
        if end > 0:
            at: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points"}
            ax.annotate(f"{total:,.{digits}f}", (end, panels.bar(place, arms)["y"]), va="center", **at)
    panels.name_bars(ax, arms)
    ax.set_xlim(0, widest * 1.4 or 1)
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    if not widest:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color=style.FAINT)
    return ax


def decimals(totals: Sequence[float]) -> int:
    """Decimals of every total of a panel: three digits of the largest, none more than two."""
    largest = max(totals, default=0.0)
    return 0 if largest >= 100 else 1 if largest >= 10 else 2


def role_marks(memory: pd.DataFrame) -> list[Patch]:
    """A legend's marks of the roles that held anything, and of the prediction."""
    held = set(memory.loc[memory["tracked_mb"] > 0, "role"])
    patches = [Patch(facecolor=colour, label=role) for role, colour in ROLE_COLOURS.items() if role in held]
    return [*patches, Patch(**OUTLINE, label="predicted")]


def phase_marks(flops: pd.DataFrame) -> list[Patch]:
    """A legend's marks of the phases, and of the critic's part of them."""
    phases = [phase for phase in FLOP_COLOURS if phase in {*PHASES, *flops["phase"]}]
    patches = [Patch(facecolor=FLOP_COLOURS[phase], label=phase) for phase in phases]
    return [*patches, Patch(facecolor=style.FAINT, label="critic's part", **CRITIC)]


def budget_figure(results: Results, caption: str = "") -> Figure:
    """A panel a task and budget that was measured: the held-out curves by steps, tokens, operations and seconds."""
    colours, scores = style.arm_colours(algorithms(results)), scores_by_cost(results)
    shown = {task: _measured(results, scores[scores["task"] == task]) for task in results.tasks}
    rows = [(1.7, len(row)) for budgets in shown.values() for row in _pairs(list(budgets))]
    title = f"{results.name}: the same curves by cost{unmatched_words(results, results.tasks)}"
    with grid(rows, title, arm_marks(results, None, colours), caption) as (figure, axes):
        free = iter([ax for row in axes for ax in row])
        for task, budgets in shown.items():
            for budget, here in budgets.items():
                ax = next(free)
                _curve(here, budget, ax, arms_on(results, task))
                ax.set_title(task if budget == next(iter(budgets)) else "")
    return figure


def _measured(results: Results, scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A task's curves by each budget that any of them has; seconds are those of the arms that were timed."""
    curves = {name: timed(results, scores) if name == "seconds" else scores for name in BUDGETS}
    return {name: here for name, here in curves.items() if name != "completions" and here[name].notna().any()}


def _pairs(names: Sequence[str]) -> list[Sequence[str]]:
    """Names in rows of two."""
    return [names[at : at + 2] for at in range(0, len(names), 2)]


def _curve(scores: pd.DataFrame, budget: str, ax: Axes, colours: Mapping[str, str]) -> None:
    """One panel; seconds of a shared machine are labelled."""
    panels.learning_curve(scores, ax, colours, x=budget)
    shared = budget == "seconds" and bool(scores["contended"].any())
    ax.set_xlabel(BUDGETS[budget] + (",\ncontended" if shared else ""), color=style.ALERT if shared else style.INK)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))

"""How long completions are that passed, and those that failed, over a run."""

from __future__ import annotations

from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks.analysis.frames.lengths import KINDS, length_curves, tasks_that_move
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.figures import panels, style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import (
    algorithms,
    arm_marks,
    arms_on,
    grid,
    of_task,
    title_across,
)


def length_figure(results: Results, caption: str = "") -> Figure:
    """A row a task on which they move: mean tokens of completions that passed, beside them of those that failed."""
    colours = style.arm_colours(algorithms(results))
    curves = length_curves(results)
    tasks = tasks_that_move(results)
    rows = [(1.45, 2)] * len(tasks)
    title = f"{results.name}: tokens of completions that passed, and of those that failed"
    with grid(rows, title, arm_marks(results, None, colours), caption) as (figure, axes):
        for task, beside in zip(tasks, axes, strict=True):
            here = of_task(curves, task)
            for kind, ax in zip(KINDS, beside, strict=True):
                panels.trace(here, f"{kind}_tokens", ax, arms_on(results, task))
            top = max(ax.get_ylim()[1] for ax in beside)
            for ax in beside:
                ax.set_ylim(0, top)
            title_across(beside[0], task)
            beside[0].set_ylabel("tokens")
        for kind, ax in zip(KINDS, axes[-1] if axes else (), strict=False):
            ax.set_xlabel(f"completions ({kind})")
    return figure

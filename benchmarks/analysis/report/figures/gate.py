"""When an arm that may take either baseline (`evpo`) takes the critic's."""

from __future__ import annotations

from matplotlib.figure import Figure

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

EXPLAINED, GATE = "monte_carlo_explained_variance", "baseline_by_critic"
"""What such an arm says of each update."""


def tasks_gated(results: Results) -> list[str]:
    """The tasks on which some arm chose between two baselines."""
    if GATE not in results.metrics:
        return []
    there = set(results.metrics.loc[results.metrics[GATE].notna(), "task"])
    return [task for task in results.tasks if task in there]


def gate_figure(results: Results, caption: str = "") -> Figure:
    """A row a task: the explained variance that decides, and beside it the share of updates in which the critic won."""
    tasks, metrics = tasks_gated(results), results.metrics[results.metrics[GATE].notna()]
    gated = {
        arm: colour for arm, colour in style.arm_colours(algorithms(results)).items() if arm in set(metrics["arm"])
    }
    title = f"{results.name}: when the critic is the baseline"
    with grid([(1.45, 2)] * len(tasks), title, arm_marks(results, None, gated), caption) as (figure, axes):
        for task, (explained, gate) in zip(tasks, axes, strict=True):
            here = of_task(metrics, task)
            colours = {arm: colour for arm, colour in arms_on(results, task).items() if arm in gated}
            panels.trace(here, EXPLAINED, explained, colours).set_ylabel("explained")
            explained.axhline(0, color=style.FAINT, linewidth=0.9)
            panels.trace(here, GATE, gate, colours).set_ylabel("updates")
            gate.set_ylim(-0.04, 1.04)
            title_across(explained, task)
        for ax in axes[-1] if axes else ():
            ax.set_xlabel("completions")
    return figure

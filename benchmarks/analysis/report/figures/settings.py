"""What a search for settings says: how scores spread over settings, what finding good ones takes, the learning rate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks.analysis.frames import tuning
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import algorithms, grid

OWN, BEST = "D", "^"


def settings_figure(results: Results, caption: str = "") -> Figure:
    """Scores of random trials by arm, over all tasks; the expected best by completions; the score by learning rate."""
    table = tuning.trials(results)
    place = tuning.places(results)[-1]
    table = table[table["task"] == place]
    colours = {
        arm: colour for arm, colour in style.arm_colours(algorithms(results)).items() if arm in set(table["arm"])
    }
    rows = [(0.75 + 0.32 * len(colours), 1), (1.9, 2)]
    with grid(rows, f"{results.name}: how much settings matter", caption=caption) as (figure, axes):
        (spread,), (search, rate) = axes
        _spread(results, spread, colours, place).set_title(f"Final pass rate of other settings, {place}")
        _search(results, search, colours, place).set_title("Best to be expected")
        drawn = table[table["random"].astype(bool)].dropna(subset=["score", "learning_rate"])
        for arm, colour in colours.items():
            here = drawn[drawn["arm"] == arm]
            rate.scatter(here["learning_rate"], here["score"], s=14, color=colour, alpha=0.8, linewidths=0)
        rate.set_xscale("log")
        rate.set_xlabel("learning rate")
        rate.set_title("Score by learning rate")
        top = max(ax.get_ylim()[1] for ax in (search, rate))
        for ax in (search, rate):
            ax.set_ylim(0, top)
    return figure


def _spread(results: Results, ax: Axes, colours: Mapping[str, str], place: str) -> Axes:
    """A row an arm: a dot a random trial, their median, the arm's own settings, the best of all trials."""
    table = tuning.sensitivity(results)
    marked = {row.pop("arm"): row for row in table[table["task"] == place].to_dict("records")}
    for row, (arm, colour) in enumerate(colours.items()):
        scores = tuning.drawn(results, arm, place)
        offset = np.linspace(-0.2, 0.2, len(scores)) if len(scores) > 1 else np.zeros(len(scores))
        ax.scatter(scores, row + offset, s=13, color=colour, alpha=0.5, linewidths=0, zorder=2)
        if len(scores):
            ax.vlines(np.median(scores), row - 0.34, row + 0.34, color=colour, linewidth=2.4, zorder=3)
        for column, marker in (("own settings", OWN), ("best of all", BEST)):
            ax.plot([float(marked[arm][column])], [row], marker=marker, markersize=5.5, color=style.INK, zorder=4)
    ax.set_ylim(len(colours) - 0.5, -0.5)
    ax.set_yticks(range(len(colours)), list(colours))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(left=0)
    return ax


def _search(results: Results, ax: Axes, colours: Mapping[str, str], place: str) -> Axes:
    """The expected best of k random trials, by the completions that they take."""
    table = tuning.trials(results)
    for arm, colour in colours.items():
        scores = tuning.drawn(results, arm, place)
        each = float(table.loc[(table["arm"] == arm) & (table["task"] == place), "completions"].mean())
        best = tuning.expected_best(scores)
        ax.plot(
            each * np.arange(1, len(best) + 1), best, **style.line(colour), linewidth=1.6, marker="o", markersize=2.5
        )
    ax.set_xlim(left=0)
    ax.set_xlabel("completions of tuning")
    return ax

"""The difference between two arms against the size of the model."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.sizes import by_size, sized_pairs
from ppo_vs_grpo.benchmarks.analysis.report.answer import POINTS
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import algorithms, grid
from ppo_vs_grpo.benchmarks.analysis.report.figures.forest import BAND
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MARGIN

APART = 0.06
"""Between the marks of two pairs at one size, in powers of ten."""


def size_figure(results: Results, caption: str = "") -> Figure:
    """A mark a size and pair: the mean difference with its interval. No line joins them, since none is fitted there."""
    table, colours = by_size(results), style.arm_colours(algorithms(results))
    pairs = sized_pairs(results)
    marks = [
        Line2D([], [], **style.line(colours[first]), marker="o", label=f"{second} minus {first}")
        for first, second in pairs
    ]
    with grid([(2.3, 1)], f"{results.name}: the difference by size", marks, caption) as (figure, axes):
        ((ax,),) = axes
        ax.axhspan(-POINTS * MARGIN, POINTS * MARGIN, color=BAND, linewidth=0, zorder=0)
        ax.axhline(0, color=style.FAINT, linewidth=0.9)
        for place, (first, second) in enumerate(pairs):
            here = table[(table["first"] == first) & (table["second"] == second)]
            x = here["parameters"] * 10 ** (APART * (place - (len(pairs) - 1) / 2))
            ax.vlines(x, POINTS * here["low"], POINTS * here["high"], color=colours[first], linewidth=1.8)
            ax.plot(x, POINTS * here["difference"], "o", color=colours[first], markersize=5)
        ax.set_xscale("log")
        sizes = dict(zip(table["parameters"].astype(float), table["task"], strict=True))
        ax.set_xticks(list(sizes), [f"{task}\n{_short(count)}" for count, task in sizes.items()])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: style.signed(y, 0, plus=True)))
        ax.set_ylabel("points")
        ax.set_xlabel("parameters")
    return figure


def _short(count: float) -> str:
    """A number of parameters, such as `0.11M` or `135M`."""
    return f"{count / 1e6:.2g}M" if count < 1e8 else f"{count / 1e6:.3g}M"

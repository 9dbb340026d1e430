"""Panels: pure functions that draw frames of `frames.Results` and `costs` on given axes and return these.

`colours` maps each arm to its colour; an arm that the frame lacks is left out, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, FixedFormatter, FixedLocator, MaxNLocator

from ppo_vs_grpo.algorithms.shared.config import PHASES
from ppo_vs_grpo.benchmarks.analysis.frames.costs import MEMORY_PHASES
from ppo_vs_grpo.benchmarks.analysis.report.figures.style import ALERT, FAINT, FONT, INK, PHASE_COLOURS, fill, line
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import paired_differences, t_interval

NAME_CHARACTERS = 12
TRACE_POINTS = 100
"""A training trace longer than this is drawn as means over equal stretches of completions."""


def learning_curve(
    scores: pd.DataFrame, ax: Axes, colours: Mapping[str, str], score: str = "pass_rate", x: str = "completions"
) -> Axes:
    """Held-out score against completions: a thin line a seed, their mean bold, the start's level dotted.

    The mean is over the complete runs; a run that stopped early is a thin line that ends in a cross. Another column `x`
    of `costs.scores_by_cost` may stand for completions: then the mean is of both, at equal completions.
    """
    for arm, frame in _by_arm(scores, colours):
        points, complete = frame[[x, score]].to_numpy(float), frame["complete"].to_numpy(bool)
        seeds = [rows for _, rows in sorted(frame.groupby("key").indices.items())]
        thin(ax, [points[rows] for rows in seeds], color=colours[arm], linewidth=0.6, alpha=0.3)
        for rows in seeds:
            if not complete[rows[0]]:
                ax.plot(*points[rows[-1:]].T, marker="x", markersize=5, color=colours[arm])
        mean = frame[frame["complete"]].assign(x=frame[x]).groupby("completions")[["x", score]].mean()
        if mean.notna().all(axis=1).any():  # an empty line that is not clipped would lie at the figure's corner
            look = line(colours[arm]) | {"linewidth": 2.2, "marker": "o", "markersize": 3}
            ax.plot(mean["x"], mean[score], clip_on=False, **look)
    _over_completions(ax)
    start = scores.loc[scores["completions"] == 0, score].mean()
    if np.isfinite(start):
        bottom, top = ax.get_ylim()
        above = start < bottom + 0.2 * (top - bottom)
        ax.axhline(start, color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        ax.annotate(
            "start",
            xy=(1, start),
            xycoords=("axes fraction", "data"),
            xytext=(-1, 1 if above else -2),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            color=FAINT,
        )
    return ax


def trace(metrics: pd.DataFrame, column: str, ax: Axes, colours: Mapping[str, str]) -> Axes:
    """A training metric against completions: its mean over seeds."""
    for arm, frame in _by_arm(metrics, colours):
        stretch = -(-frame["completions"] * TRACE_POINTS // frame["completions"].max())  # rounded up, in whole numbers
        mean = frame.assign(stretch=stretch).groupby("stretch")[["completions", column]].mean()
        ax.plot(mean["completions"], mean[column].astype(float), **line(colours[arm]), linewidth=1.1)
    return _over_completions(ax)


def seed_spread(scores: pd.DataFrame, ax: Axes, colours: Mapping[str, str], score: str = "pass_rate") -> Axes:
    """Standard deviation over seeds of the held-out score at each evaluation; an arm with one seed has none."""
    drawn = False
    for arm, frame in _by_arm(scores[scores["complete"].astype(bool)], colours):
        sd = frame.groupby("completions")[score].std(ddof=1).dropna()
        if len(sd):
            ax.plot(sd.index, sd, **line(colours[arm]), linewidth=1.4, marker="o", markersize=2.5)
            drawn = True
    return _over_completions(ax) if drawn else _say(ax, "needs two finished seeds")


def final_scores(finals: pd.DataFrame, ax: Axes, colours: Mapping[str, str], score: str = "final_pass_rate") -> Axes:
    """Final held-out score: a faint dot a seed, a bar at their mean, an arm a column."""
    for place, arm in enumerate(colours):
        values = finals.loc[finals["arm"] == arm].sort_values("seed")[score].dropna().to_numpy(float)
        if len(values):
            spread = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(1)
            ax.scatter(place + spread, values, s=11, color=colours[arm], alpha=0.5, linewidths=0, zorder=3)
            ax.hlines(values.mean(), place - 0.36, place + 0.36, color=colours[arm], linewidth=2.4)
    if not ax.dataLim.y0 < 0:
        ax.set_ylim(bottom=0)
    return _columns(ax, len(colours)) if ax.collections else _say(ax, "no finished run")


def difference(scores: pd.DataFrame, pair: tuple[str, str], ax: Axes, score: str = "pass_rate") -> Axes:
    """Second arm less first at each evaluation in points, paired by seed: the mean, and as a band its 95% t interval.

    Only complete runs count. A band needs two pairs.
    """
    whole = scores[scores["complete"].astype(bool)]
    whole = whole[whole[score].notna()]
    first, second = (
        whole[whole["arm"] == arm].pivot(index="completions", columns="seed", values=score) for arm in pair
    )
    first, second = first.align(second, join="inner")
    if first.empty:
        return _say(ax, "no finished pair")
    found = [t_interval(paired_differences(*both)) for both in zip(first.to_numpy(), second.to_numpy(), strict=True)]
    mean, low, high = (100 * np.array([getattr(one, end) for one in found]) for end in ("mean", "low", "high"))
    ax.axhline(0, color=FAINT, linewidth=0.9)
    ax.fill_between(first.index, low, high, color=INK, alpha=0.18, linewidth=0)
    ax.plot(first.index, mean, color=INK, linewidth=1.6, marker="o", markersize=2.5, clip_on=False)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    return ax


def memory_by_phase(memory: pd.DataFrame, ax: Axes, colours: Mapping[str, str]) -> Axes:
    """Peak memory of each phase as bars from 0, an arm a colour; each run is a dot."""
    phases = [phase for phase in MEMORY_PHASES if phase in set(memory["phase"])]
    if not phases:
        return _say(ax, "not measured")
    arms = [arm for arm in colours if arm in set(memory["arm"])]
    thick = 0.8 / len(arms)
    for i, arm in enumerate(arms):
        rows = memory[memory["arm"] == arm]
        for j, phase in enumerate(phases):
            mb = rows.loc[rows["phase"] == phase, "mb"]
            if len(mb):
                shared, y = bool(rows["contended"].any()), j - 0.4 + thick * (i + 0.5)
                ax.barh(y, mb.mean(), thick * 0.92, **fill(colours[arm], shared))
                if len(mb) > 2:
                    ax.scatter(mb, np.full(len(mb), y), s=4, color=INK, linewidths=0, zorder=3)
    names = {"process": "whole\nprocess" if len(phases) > 1 else "process"}
    ax.set_yticks(range(len(phases)), [names.get(phase, phase) for phase in phases])
    ax.set_ylim(len(phases) - 0.45, -0.55)
    source = {"peak_rss": "peak resident memory", "accelerator_allocated": "peak allocated on the accelerator"}
    ax.set_xlabel(f"{source.get(str(memory['source'].iloc[0]), 'peak memory')} (MB)")
    return _bars_along_x(ax, bool(memory["contended"].any()))


def seconds_by_phase(seconds: pd.DataFrame, ax: Axes, arms: Sequence[str]) -> Axes:
    """Seconds per 1,000 completions as one stacked bar an arm, a phase a colour, the total at its end."""
    shown = [arm for arm in arms if arm in set(seconds["arm"])]
    if not shown:
        return _say(ax, "not measured")
    shared = bool(seconds["contended"].any())
    means = seconds.groupby("arm")[[*(f"{phase}_s" for phase in PHASES), "total_s"]].mean()
    digits = 2 if float(means["total_s"].max()) < 100 else 0
    for place, arm in enumerate(shown):
        left = 0.0
        for phase in PHASES:
            width = float(means[f"{phase}_s"][arm])
            label = phase if place == 0 else None
            segment(ax, left, width, bar(place, shown), label=label, **fill(PHASE_COLOURS[phase], shared))
            left += width
        ax.annotate(f" {left:.{digits}f} s", (left, bar(place, shown)["y"]), va="center")
    name_bars(ax, shown)
    ax.set_xlim(0, float(means["total_s"].max()) * 1.22)
    ax.set_xlabel("seconds per 1,000 completions")
    return _bars_along_x(ax, shared)


def thin(ax: Axes, curves: Sequence[np.ndarray], **look: Any) -> None:
    """Draw curves, a row a point, as one artist. What is not finite ends a stretch of its curve."""
    ax.add_collection(LineCollection(curves, **look))


def segment(ax: Axes, left: float, width: float, place: Mapping[str, float], **look: Any) -> None:
    """Draw a part of a horizontal bar that lies where `bar` says; the panel's limits are set by whoever knows all."""
    y, height = place["y"], place["height"]
    ax.add_artist(Rectangle((left, y - height / 2), width, height, **look))


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names at 0, 1 and on along y, without ticks or a grid. `set_yticks` would make a tick for each."""
    ax.yaxis.set_major_locator(FixedLocator(range(len(names))))
    ax.yaxis.set_major_formatter(FixedFormatter(names))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)


def name_bars(ax: Axes, names: Sequence[str]) -> Axes:
    """Name horizontal bars at 0, 1 and on: beside them, and above where a name is long. Bars lie where `bar` says."""
    name_rows(ax, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    if long_names(names):
        ax.tick_params(axis="y", pad=-3)
        for label in ax.get_yticklabels():
            label.set(ha="left", va="bottom")
    return ax


def long_names(names: Sequence[str]) -> bool:
    """Whether bars' names need the room above them."""
    return max((len(name) for name in names), default=0) > NAME_CHARACTERS


def bar(place: int, names: Sequence[str], thick: float = 0.64) -> dict[str, float]:
    """Where a bar lies and how thick it is, of those that `name_bars` names."""
    return {"y": place + 0.26, "height": 0.55 * thick} if long_names(names) else {"y": place, "height": thick}


def bars_in(names: Sequence[str]) -> float:
    """Inches that bars with their names take in height."""
    return (0.4 if long_names(names) else 0.24) * max(len(names), 2)


def _by_arm(frame: pd.DataFrame, colours: Mapping[str, str]) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each arm that has any, in the order of the colours."""
    parts = [(arm, frame[frame["arm"] == arm]) for arm in colours]
    return [(arm, part) for arm, part in parts if len(part)]


def _over_completions(ax: Axes) -> Axes:
    """Completions along x, from 0, as 4k; y from 0, or from below it where there are negative values."""
    if not ax.dataLim.y0 < 0:
        ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 4, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return ax if ax.lines else _say(ax, "no finished run")


def _columns(ax: Axes, count: int) -> Axes:
    """No ticks under the columns: the arms' colours name them."""
    ax.set_xticks([])
    ax.set_xlim(-0.6, count - 0.4)
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return ax


def _bars_along_x(ax: Axes, shared: bool) -> Axes:
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    if shared:
        text = "contended: runs shared the machine"
        ax.annotate(text, (1, 1.01), xycoords="axes fraction", ha="right", va="bottom", fontsize=FONT, color=ALERT)
    return ax


def _say(ax: Axes, text: str) -> Axes:
    """Say in an empty panel why it is empty."""
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=FONT, color=FAINT)
    return ax

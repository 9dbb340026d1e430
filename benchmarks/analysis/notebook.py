"""What `load` gives a notebook: results that show themselves, two arms compared, figures, prompts one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.prompts import prompt_rates
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, judge, table_of
from ppo_vs_grpo.benchmarks.analysis.report import first_page
from ppo_vs_grpo.tasks.errors import UserError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class NotebookResults(Results):
    """Results with what a notebook asks of them; whatever takes `Results` takes these.

    - `compare("ppo", "grpo")`: the verdicts on two arms
    - `plot`: the report's figures, such as `plot.overview()`, and `plot.curves("sorting")`
    - `prompts`: a row a held-out prompt
    """

    @classmethod
    def of(cls, results: Results) -> NotebookResults:
        """The same results."""
        return cls(**{each.name: getattr(results, each.name) for each in fields(results)})

    def compare(self, first: str | None = None, second: str | None = None) -> Comparison:
        """The verdicts on two arms, by default those that the report judges. UserError for a label that is no arm."""
        return Comparison(judge(self, first, second))

    @property
    def plot(self) -> Plot:
        """The figures of these results."""
        return Plot(self)

    @property
    def prompts(self) -> pd.DataFrame:
        """A row a held-out prompt: each arm's pass rate at the end, and the second less the first; `prompt_rates`."""
        return prompt_rates(self).copy()


@dataclass(frozen=True, repr=False)
class Comparison:
    """The verdicts on two arms: shown, the first sentence and the tables of a report's first page."""

    verdicts: tuple[Verdict, ...]

    @property
    def primary(self) -> Verdict:
        """The verdict on the first metric, over all tasks; of a suite of one task, on it."""
        return first_page.over_all_tasks(self.verdicts)[0]

    @property
    def table(self) -> pd.DataFrame:
        """Every verdict: a row per metric and task, a column a field."""
        return table_of(self.verdicts)

    @property
    def sentences(self) -> list[str]:
        """Every verdict as a sentence that can be quoted, the primary one first."""
        return [self.primary.sentence, *(one.sentence for one in self.verdicts if one is not self.primary)]

    def __repr__(self) -> str:
        """The primary verdict's sentence and the tables."""
        return "\n\n".join([self.primary.sentence, *(frame.to_string(index=False) for frame in self._shown())])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        tables = [frame.to_html(index=False, border=0) for frame in self._shown()]
        return "\n".join([f"<p>{escape(self.primary.sentence)}</p>", *tables])

    def _shown(self) -> list[pd.DataFrame]:
        frames = (first_page.verdicts(self.verdicts), first_page.verdicts_by_task(self.verdicts))
        return [frame for frame in frames if len(frame)]


class Plot:
    """A suite's figures, each a function of its own by the name of its file in a report: `plot.overview()`.

    `dir(plot)` lists those that this suite has. They are loaded when they are asked for.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    def __dir__(self) -> list[str]:
        """The figures that the suite has."""
        return ["curves", *_drawings(self._results)]

    def __getattr__(self, name: str) -> Callable[[], Figure]:
        """What draws a figure of the report; AttributeError for one that the suite has not."""
        if name.startswith("_"):  # notebooks ask every object for names of their own
            raise AttributeError(name)
        drawings = _drawings(self._results)
        if name not in drawings:
            raise AttributeError(f"suite {self._results.name} has no figure {name!r}; {nearest(name, drawings)}")
        return lambda: drawings[name](self._results, self._results.name)

    def curves(self, task: str, ax: Axes | None = None) -> Axes:
        """Learning curves on a task: thin lines are seeds, bold ones means. UserError for another suite's task."""
        import matplotlib.pyplot as plt
        from matplotlib.lines import Line2D

        from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas, panels, style

        if task not in self._results.tasks:
            raise UserError(f"suite {self._results.name}: no task {task!r}; {nearest(task, self._results.tasks)}")
        with plt.rc_context(style.STYLE):
            ax = ax or plt.subplots(layout="constrained")[1]
            colours = canvas.arms_on(self._results, task)
            panels.learning_curve(canvas.of_task(self._results.scores, task), ax, colours)
            ax.set(title=task, xlabel="completions", ylabel="held-out pass rate")
            ax.legend([Line2D([], [], color=colour) for colour in colours.values()], list(colours))
        return ax


def _drawings(results: Results) -> dict[str, Callable[[Results, str], Figure]]:
    from ppo_vs_grpo.benchmarks.analysis.report.contents import drawings

    return drawings(results)

"""The metrics of every report: what each is called, what counts as equal, and how two arms are compared by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results, kept
from ppo_vs_grpo.benchmarks.analysis.judge.comparisons import (
    COST_FACTOR,
    FACTOR,
    Compare,
    Pair,
    of_arrivals,
    of_collapses,
    of_memory,
    of_noise,
    of_scores,
    of_seconds,
    of_seconds_to,
    of_spreads,
)
from ppo_vs_grpo.benchmarks.analysis.judge.finding import Finding
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import collapse_count, collapses
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MARGIN


@dataclass(frozen=True)
class Metric:
    """What is compared, and the word for the arm that does better. `margin` is a difference, or a factor above 1.

    One metric is `primary`, the suite's one question; the others are secondary and adjusted together.
    A claim names the metric `claim` and its sentence says `called`; both are empty if no claim may use the metric.
    """

    name: str
    unit: str
    word: str
    margin: float
    compare: Compare
    higher_is_better: bool = False
    pair: str = "paired seed"
    claim: str = ""
    called: str = ""
    primary: bool = False

    def count(self, n: int) -> str:
        """How many pairs, such as `8 paired seeds`."""
        return f"{n} {self.pair}{'s' * (n != 1)}"

    @property
    def ratio(self) -> bool:
        """Whether the margin is a factor, so that arms are compared by a ratio."""
        return self.margin > 1

    @property
    def within(self) -> str:
        """The margin in words."""
        if self.margin == COST_FACTOR:
            return f"{self.margin - 1:.0%}"
        return f"a factor of {self.margin:g}" if self.ratio else f"{self.margin:g}"


FINAL = Metric(
    "final held-out pass rate", "share", "better", MARGIN, of_scores("pass_rate", "final score"),
    higher_is_better=True, primary=True,
)  # fmt: skip
AREA = Metric(
    "area under the curve", "share", "better", MARGIN, of_scores("area_pass_rate", "area"), higher_is_better=True
)
SPREAD = Metric(
    "seed spread of the final pass rate", "share", "steadier", FACTOR, of_spreads,
    claim="seed_spread", called="seed spread of the final pass rate",
)  # fmt: skip
COLLAPSES = Metric(
    "collapsed runs", "share", "better", MARGIN, of_collapses, claim="collapses", called="share of collapsed runs"
)
NOISE = Metric(
    "gradient noise scale at mid-run", "prompt groups", "steadier", FACTOR, of_noise,
    claim="gradient_noise", called="gradient noise scale half-way",
)  # fmt: skip
MEMORY = Metric(
    "peak memory", "MB", "lighter", COST_FACTOR, of_memory, pair="run", claim="peak_memory", called="peak memory"
)
SECONDS = Metric(
    "seconds per 1,000 completions", "s", "faster", COST_FACTOR, of_seconds, pair="paired repeat",
    claim="seconds", called="seconds per 1,000 completions",
)  # fmt: skip
COMPLETIONS_TO = Metric("completions to the threshold", "completions", "needs fewer completions", FACTOR, of_arrivals)
SECONDS_TO = Metric(
    "seconds to the threshold at the measured mean pace", "s", "faster", FACTOR,
    of_seconds_to,
)  # fmt: skip
METRICS = (FINAL, AREA, SPREAD, COLLAPSES, NOISE, MEMORY, SECONDS, COMPLETIONS_TO, SECONDS_TO)


@kept
def compare(results: Results, metric: Metric, pair: Pair, tasks: tuple[str, ...]) -> dict[str, Finding]:
    """A metric's findings by task, the last over all of these where they are several; both arms run on each.

    The one over all is estimated over the tasks that have a comparison, and judged only if all do.
    """
    collapsed = collapses(results, pair)
    found = {task: metric.compare(results, pair, [task]) for task in tasks}
    done = [task for task, one in found.items() if one.evidence.n and not one.evidence.undefined]
    found = {task: replace(one, collapsed=collapse_count([collapsed[task]], pair)) for task, one in found.items()}
    if len(tasks) > 1:
        over = metric.compare(results, pair, done) if done else _no_finding(pair)
        if len(done) < len(tasks):
            gone = ", ".join(task for task in tasks if task not in done)
            note = f"no comparison on {gone}: a mean over tasks needs every task"
            over = replace(over, evidence=replace(over.evidence, n=0), note=note)
        found[ALL_TASKS] = replace(over, collapsed=collapse_count([collapsed[task] for task in tasks], pair))
    return found


def _no_finding(pair: Sequence[str]) -> Finding:
    """What is shown over all tasks where none has a comparison."""
    return Finding(Evidence(DIFFERENCE, 0), ", ".join(f"{arm} unknown" for arm in pair))

"""The pairs that a suite names beside the one that it judges: how far each differs in the primary metric.

Estimates with intervals, not adjusted, and no winner: one pair is the suite's question, and to look through several for
the largest difference is to find one. But a reader should know of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair, shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, kept
from ppo_vs_grpo.benchmarks.analysis.judge.conditions import places_of_beta
from ppo_vs_grpo.benchmarks.analysis.judge.finding import known
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import FINAL, compare
from ppo_vs_grpo.benchmarks.analysis.report.answer import how_sure, interval, lead, points
from ppo_vs_grpo.benchmarks.analysis.report.tables import DASH
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import Evidence


@dataclass(frozen=True)
class Beside:
    """A pair's difference on a task: the second arm's final pass rate minus the first's."""

    pair: tuple[str, str]
    task: str
    values: tuple[float, float]
    evidence: Evidence


@kept
def other_pairs(results: Results) -> tuple[Beside, ...]:
    """Each other pair of the suite on each of its tasks, where there is an estimate."""
    found = []
    for one, other in results.suite.get("pairs") or ():
        pair = (one, other)
        if pair != choose_pair(results) and (tasks := shared_tasks(results, pair)):
            of_tasks = compare(results, FINAL, pair, tuple(tasks))
            found += [Beside(pair, task, of_tasks[task].values, of_tasks[task].evidence) for task in tasks]
    return tuple(one for one in found if known(one.evidence.estimate) is not None)


def largest_sentence(results: Results) -> str:
    """The largest difference among the other pairs, and where their KL penalty stands; empty where none differs."""
    beside = other_pairs(results)
    if not beside:
        return ""
    most = max(beside, key=lambda one: abs(one.evidence.estimate))
    found = most.evidence
    if not float(points(abs(found.estimate))):
        return ""
    sure = how_sure(known(found.low), known(found.high), found.n, turned=found.estimate < 0)
    said = f"{lead(*most.pair, found.estimate)}{f' ({sure})' if sure else ''}"
    aside = places_of_beta(results, most.pair)
    return f"The suite's other pairs differ most on {most.task}: {said}.{f' {aside}' if aside else ''}"


def pairs_table(results: Results) -> pd.DataFrame:
    """A row per other pair and task, as text: both final pass rates, the difference in points with its interval, n."""
    rows = [
        {
            "pair": " and ".join(one.pair),
            "task": one.task,
            "first": f"{one.values[0]:.3f}",
            "second": f"{one.values[1]:.3f}",
            "second minus first, points": points(one.evidence.estimate, plus=True),
            "95% interval": interval(known(one.evidence.low), known(one.evidence.high)) or DASH,
            "n": str(one.evidence.n),
        }
        for one in other_pairs(results)
    ]
    return pd.DataFrame(rows, dtype=object)

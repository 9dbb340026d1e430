"""What a report says of sizes: does the difference between two arms grow with the model, shrink or turn?"""

from __future__ import annotations

import math

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.sizes import by_size, sized_pairs, slope
from ppo_vs_grpo.benchmarks.analysis.judge.finding import known
from ppo_vs_grpo.benchmarks.analysis.report.answer import interval, points
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import MeanInterval
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MIN_SEEDS


def size_sentences(results: Results) -> list[str]:
    """A sentence a pair of arms; none where all tasks have one size."""
    return [said for pair in sized_pairs(results) if (said := _sentence(results, pair))]


def _sentence(results: Results, pair: tuple[str, str]) -> str:
    table = by_size(results)
    here = table[(table["first"] == pair[0]) & (table["second"] == pair[1])]
    found = slope(results, pair)
    if math.isnan(found.mean) or here.empty:
        return ""
    smallest, largest = here["task"].iloc[0], here["task"].iloc[-1]
    what = f"From {smallest} to {largest}, {pair[1]} minus {pair[0]}"
    if found.n >= MIN_SEEDS and found.low > 0:
        return f"{what} rises by {_change(found)}."
    if found.n >= MIN_SEEDS and found.high < 0:
        return f"{what} falls by {_change(found, turned=True)}."
    why = "too few seeds to say more" if found.n < MIN_SEEDS else "these runs cannot tell whether it rises or falls"
    return f"{what} changes by {_change(found)}: {why}."


def _change(found: MeanInterval, *, turned: bool = False) -> str:
    """A slope in points with its interval; of a fall if `turned`."""
    ends = interval(known(found.low), known(found.high), turned=turned)
    sure = f" (95% interval {ends}, {found.n} paired seeds)" if ends else ""
    return f"{points(-found.mean if turned else found.mean)} points for ten times the parameters{sure}"

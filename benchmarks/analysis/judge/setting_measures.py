"""What a claim can measure of other settings than an arm's own: of the trials that a tuned suite carries.

Only trials that were drawn at random count, and of each its score over all of the claim's tasks. Two arms' trials are
paired in the order in which they were drawn: draws are independent, so any pairing is as good as another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.tuning import COLLAPSED, searched, trials
from ppo_vs_grpo.benchmarks.analysis.judge.finding import Finding, Read, nothing
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import shifted_evidence, spread_evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import Array, paired_differences
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import show

NO_TRIALS = "no trials of other settings: run the suite that `tune` writes"

Number = Callable[[Array, float], Array]
"""A number of each trial, given their scores and the score at their start."""


def score(scores: Array, start: float) -> Array:
    """The score itself."""
    return scores


def collapsed(scores: Array, start: float) -> Array:
    """Whether each trial ended below half of its start."""
    return (scores < COLLAPSED * start).astype(float)


def of_trials(number: Number) -> Read:
    """A number of each random trial: its mean, or the second arm's less the first's."""

    def read(results: Results, arms: Sequence[str], tasks: Sequence[str], than: float, margin: float) -> Finding:
        if not searched(results):
            return nothing(NO_TRIALS)
        numbers = [number(*_drawn(results, arm, tasks)) for arm in arms]
        means = [float(row.mean()) if len(row) else float("nan") for row in numbers]
        count = min(map(len, numbers))
        cut = [row[:count] for row in numbers]
        sample = cut[0] if len(arms) == 1 else paired_differences(*cut)
        shown = ", ".join(f"{arm} {show(mean)}" for arm, mean in zip(arms, means, strict=True)) if len(arms) > 1 else ""
        evidence = shifted_evidence([sample], than, margin)
        test = "t test over trials" if len(arms) == 1 else "paired t test over trials"
        return Finding(replace(evidence, test=test), shown)

    return read


def spread(results: Results, arms: Sequence[str], tasks: Sequence[str], than: float, margin: float) -> Finding:
    """The ratio of the arms' mean distances of scores from their median: the larger, the more settings matter."""
    if not searched(results):
        return nothing(NO_TRIALS)
    scores = [_drawn(results, arm, tasks)[0] for arm in arms]
    count = min(map(len, scores))
    evidence = spread_evidence([(scores[0][:count], scores[1][:count])], margin)
    spreads = [float(np.abs(row - np.median(row)).mean()) if len(row) else float("nan") for row in scores]
    shown = ", ".join(f"{arm} {show(mean)}" for arm, mean in zip(arms, spreads, strict=True))
    undefined = evidence.undefined.replace("seeds", "trials")
    return Finding(replace(evidence, test=f"{evidence.test} over trials", undefined=undefined), shown)


def _drawn(results: Results, arm: str, tasks: Sequence[str]) -> tuple[Array, float]:
    """The scores of an arm's random trials, means over tasks, and the start's; trials that lack a task are left out."""
    table = trials(results)
    here = table[(table["arm"] == arm) & table["task"].isin(tasks) & table["random"].astype(bool)]
    whole = here.groupby("place").filter(lambda trial: bool(trial["score"].notna().all()))
    if whole.empty:
        return np.zeros(0), 0.0
    means = whole.groupby("place")[["score", "start"]].mean()
    return means["score"].to_numpy(float), float(means["start"].iloc[0])

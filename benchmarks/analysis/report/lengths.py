"""What the lengths of right and wrong completions say, in sentences: only where there is something to say."""

from __future__ import annotations

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair, task_arms
from ppo_vs_grpo.benchmarks.analysis.frames.lengths import GROWN, length_changes, length_table
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import t_interval

CUT = 0.05
"""A limit that cuts off less than this share of what passed, and of what failed, is not worth a sentence."""


def length_sentences(results: Results) -> list[str]:
    """A sentence where an arm's wrong completions alone grow longer, and one where the limit cuts many off.

    Of the two judged arms, or of all where there are no two.
    """
    table, changes = length_table(results), length_changes(results)
    shown = choose_pair(results) or tuple(results.arms)
    found = []
    for task, arm in task_arms(results):
        if arm in shown:
            rows = table[(table["task"] == task) & (table["arm"] == arm)].set_index("moment")
            runs = changes[(changes["task"] == task) & (changes["arm"] == arm)]
            found += [growth(task, arm, rows, runs), cut(task, arm, rows)]
    return [sentence for sentence in found if sentence]


def growth(task: str, arm: str, rows: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Whether completions grow longer only when they are wrong; empty where they do not, or nobody can tell.

    They do if over runs the interval of the failed ones' change lies above 0 and above that of the passed ones, which
    does not lie above 0. `rows` are the arm's of `length_table` by moment, `runs` those of `length_changes`.
    """
    both = runs[["failed_tokens", "passed_tokens"]].dropna().to_numpy(float)
    failed, passed = (t_interval(changes) for changes in both.T)
    if not (failed.low > max(0, passed.high) and passed.low <= 0):
        return ""
    before = rows["failed_tokens"].to_dict()["start"]
    if failed.mean < GROWN * before:
        return ""
    return (
        f"On {task}, {arm}'s completions grow longer only when they are wrong: over {failed.n} runs those that fail by "
        f"{failed.mean:.1f} tokens ({failed.low:.1f} to {failed.high:.1f}) from {before:.1f}, those that pass by "
        f"{passed.mean:.1f} ({passed.low:.1f} to {passed.high:.1f})."
    )


def cut(task: str, arm: str, rows: pd.DataFrame) -> str:
    """What the limit cuts off at the end: of the completions that failed, and of those that passed."""
    if "end" not in rows.index:
        return ""
    end = rows.loc["end"]
    shares = {kind: end[f"{kind}_cut"] / end[kind] if end[kind] else 0.0 for kind in ("failed", "passed")}
    if max(shares.values()) < CUT:
        return ""
    found = (
        f"On {task}, the limit cuts off {shares['failed']:.0%} of {arm}'s completions that fail at the end and "
        f"{shares['passed']:.0%} of those that pass"
    )
    return f"{found}: some may fail because they are cut off." if shares["failed"] >= CUT else f"{found}."

"""Claims and the rows behind them, for results made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from handmade import Cells, made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results

MIDDLE = 50
"""Where the runs' middle is; they end at 100."""


def claim(measure: str, arms: Sequence[str], tasks: Sequence[str] = ("a",), **more: Any) -> dict[str, Any]:
    """A claim as the lock file has it: above 0 with a margin of 0.05 unless told otherwise."""
    base = {"says": "A source says so.", "here": "It is so.", "side": "above", "than": 0.0, "margin": 0.05}
    return {**base, "measure": measure, "arms": list(arms), "tasks": list(tasks), "dial": None, **more}


def claiming(results: Results, claims: Mapping[str, Any], **suite: Any) -> Results:
    """The results of a suite that makes these claims."""
    return replace(results, suite={**results.suite, "claims": dict(claims), **suite})


def scored(finals: Cells, **more: Any) -> Results:
    """Runs with these final pass rates; all start at 0.2."""
    curves = {
        arm: {task: [None if x is None else (0.2, float(x)) for x in row] for task, row in tasks.items()}
        for arm, tasks in finals.items()
    }
    return made(curves, **more)


def probed(
    results: Results,
    values: Cells,
    probe: str,
    subject: str,
    quantity: str,
    at: int = MIDDLE,
    position: float | None = None,
) -> Results:
    """With a probe's number of every run at a place of the run; None where there is no number."""
    rows = [
        {"arm": arm, "task": task, "seed": seed, "key": f"{arm}.{task}.s{seed}", "completions": at, "probe": probe}
        | {"subject": subject, "quantity": quantity, "position": position, "value": value}
        for arm, tasks in values.items()
        for task, row in tasks.items()
        for seed, value in enumerate(row)
    ]
    known = [row for row in results.probes.to_dict("records") if row]
    frame = pd.DataFrame([*known, *rows], columns=results.probes.columns)
    return replace(results, probes=frame.astype({"value": float, "position": float}))


def rewarded(results: Results, ahead: Cells) -> Results:
    """With 20 updates a run: a run's (update 19, update 20) are how far the reward is ahead of the gold one, 0.5."""
    rows = []
    for arm, tasks in ahead.items():
        for task, row in tasks.items():
            for seed, (before, last) in enumerate(row):
                who = {"arm": arm, "task": task, "seed": seed, "key": f"{arm}.{task}.s{seed}", "warmup": False}
                for update in range(1, 21):
                    over = {19: before, 20: last}.get(update, 70.0)
                    point = {"update": update, "completions": 5 * update, "reward_gold": 0.5}
                    rows.append(who | point | {"reward_mean": 0.5 + over})
    columns = [*results.metrics.columns, "reward_gold"]
    return replace(results, metrics=pd.DataFrame(rows, columns=columns))

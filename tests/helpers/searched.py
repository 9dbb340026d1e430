"""Results of a tuned suite whose trials are written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from handmade import made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.suites.sections import TrialRecord, Tuned

START = 0.2
RATES = (4e-4, 1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3, 5e-5)

Scores = Sequence[float | None]
"""Of an arm's trials, the first with its own settings, then one drawn at random and one sought in turn."""


def tuned(scores: Mapping[str, Mapping[str, Scores]], importances: Mapping[str, Any] | None = None) -> Results:
    """Scores of trials by arm and task; None where a run failed. The k-th trial has the k-th of `RATES`, and so on."""
    arms = {
        arm: [
            TrialRecord(
                trial=f"{arm}-t{place:02}",
                random=place % 2 == 1,
                settings={"train.learning_rate": RATES[place % len(RATES)]},
                status="failed" if None in each else "ok",
                scores={} if None in each else dict(zip(tasks, each, strict=True)),  # type: ignore[arg-type]
                completions=100,
            )
            for place, each in enumerate(zip(*tasks.values(), strict=True))
        ]
        for arm, tasks in scores.items()
    }
    names = list(dict.fromkeys(task for tasks in scores.values() for task in tasks))
    section = Tuned(
        trials=max(map(len, arms.values())), completions=1, train_s=1.0, sha256="0",
        starts=dict.fromkeys(names, START), arms=arms, importances=dict(importances or {}),
    )  # fmt: skip
    results = made({arm: {task: [(START, 0.5)] * 2 for task in tasks} for arm, tasks in scores.items()})
    return replace(results, suite={**results.suite, "tuned": section.model_dump(mode="json")})

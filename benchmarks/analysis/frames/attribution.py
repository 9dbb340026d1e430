"""What makes the difference between PPO and GRPO: the baseline, or everything else, or the two together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results, kept
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import satterthwaite_interval

EFFECTS = {
    "total": {"grpo": 1.0, "ppo": -1.0},
    "baseline": {"ppo_group": 0.5, "ppo": -0.5, "grpo": 0.5, "grpo_value": -0.5},
    "everything else": {"grpo_value": 0.5, "ppo": -0.5, "grpo": 0.5, "ppo_group": -0.5},
    "interaction": {"grpo": 1.0, "grpo_value": -1.0, "ppo_group": -1.0, "ppo": 1.0},
}
"""Each effect as weights of the four arms. The baseline's is the group's mean instead of the learned value, that of
everything else GRPO's details instead of PPO's, each averaged over the other factor: the two add up to the total, GRPO
less PPO. The interaction is the baseline's effect under GRPO's details less that under PPO's."""


@kept
def effects_by_seed(results: Results) -> pd.DataFrame:
    """Each effect on the final held-out pass rate: task, seed and a column an effect.

    Only seeds with a final score of all four arms are there. Empty where the suite states no attribution.
    """
    arms = results.suite.get("attribution")
    columns = ["task", "seed", *EFFECTS]
    if not arms:
        return pd.DataFrame(columns=columns)
    scores = results.score_matrix()
    rows = []
    for task in results.tasks:
        four = pd.DataFrame({role: scores[arm][task] for role, arm in arms.items()}).dropna()
        for seed, row in four.iterrows():
            sums = {name: sum(w * row[role] for role, w in weights.items()) for name, weights in EFFECTS.items()}
            rows.append({"task": task, "seed": seed} | sums)
    return pd.DataFrame(rows, columns=columns)


@kept
def attribution_table(results: Results) -> pd.DataFrame:
    """A row per task and effect: n seeds, mean, and the ends of its 95% t interval; then the mean over tasks.

    The last rows weigh the tasks that have seeds equally, with Satterthwaite's degrees of freedom. One seed has no
    interval.
    """
    seeds = effects_by_seed(results)
    rows = []
    for name in EFFECTS:
        samples = {task: group[name].to_numpy(float) for task, group in seeds.groupby("task", sort=False)}
        for task, values in samples.items():
            rows.append({"task": task, "effect": name} | _ends([values]))
        if len(samples) > 1:
            rows.append({"task": ALL_TASKS, "effect": name} | _ends(list(samples.values())))
    table = pd.DataFrame(rows, columns=["task", "effect", "n", "mean", "low", "high"])
    order = {task: i for i, task in enumerate([*results.tasks, ALL_TASKS])}
    return table.sort_values("task", key=lambda tasks: tasks.map(order), kind="stable").reset_index(drop=True)


def _ends(samples: list[np.ndarray]) -> dict[str, Any]:
    interval = satterthwaite_interval(samples)
    return {"n": interval.n, "mean": interval.mean, "low": interval.low, "high": interval.high}

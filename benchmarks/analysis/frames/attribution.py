"""What makes the difference between PPO and GRPO: the baseline, or everything else, or the two together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


Four = Mapping[str, str]
"""The arm of each cell: `ppo`, `ppo_group`, `grpo_value` and `grpo`."""


def crossings(suite: Mapping[str, Any]) -> Sequence[Four]:
    """The fours of arms that a suite crosses, as its lock has it; a lock of before there could be several has one."""
    stated = suite.get("attribution") or []
    return [stated] if isinstance(stated, Mapping) else list(stated)


def difference_of(four: Four) -> str:
    """What four arms split, such as `grpo minus ppo`."""
    return f"{four['grpo']} minus {four['ppo']}"


@kept
def effects_by_seed(results: Results) -> pd.DataFrame:
    """Each effect on the final held-out pass rate: the difference that it is of, task, seed and a column an effect.

    Only seeds with a final score of all four arms are there. Empty where the suite states no attribution.
    """
    scores = results.score_matrix()
    rows = []
    for arms in crossings(results.suite):
        for task in results.tasks:
            four = pd.DataFrame({role: scores[arm][task] for role, arm in arms.items()}).dropna()
            for seed, row in four.iterrows():
                sums = {name: sum(w * row[role] for role, w in weights.items()) for name, weights in EFFECTS.items()}
                rows.append({"difference": difference_of(arms), "task": task, "seed": seed} | sums)
    return pd.DataFrame(rows, columns=["difference", "task", "seed", *EFFECTS])


@kept
def attribution_table(results: Results) -> pd.DataFrame:
    """A row per difference, task and effect: n seeds, mean, the ends of its 95% t interval; then the mean over tasks.

    A difference's last rows weigh the tasks that have seeds equally, with Satterthwaite's degrees of freedom. One seed
    has no interval.
    """
    rows = []
    for difference, seeds in effects_by_seed(results).groupby("difference", sort=False):
        samples = dict(iter(seeds.groupby("task", sort=False)))
        places = {task: [group] for task, group in samples.items()}
        if len(samples) > 1:
            places[ALL_TASKS] = list(samples.values())
        for task, groups in places.items():
            for name in EFFECTS:
                ends = _ends([group[name].to_numpy(float) for group in groups])
                rows.append({"difference": difference, "task": task, "effect": name} | ends)
    return pd.DataFrame(rows, columns=["difference", "task", "effect", "n", "mean", "low", "high"])


def _ends(samples: list[np.ndarray]) -> dict[str, Any]:
    interval = satterthwaite_interval(samples)
    return {"n": interval.n, "mean": interval.mean, "low": interval.low, "high": interval.high}

"""What two arms cost, as the first screen shows it, with the suite's other arms of the same kind beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames import costs
from ppo_vs_grpo.benchmarks.analysis.frames.arms import shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.claim_measures import explained_variance
from ppo_vs_grpo.benchmarks.analysis.judge.finding import amount, known
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import COMPLETIONS_TO, MEMORY, SECONDS, compare
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict
from ppo_vs_grpo.benchmarks.analysis.report.first_page import effect, over_all_tasks, pair_of, value
from ppo_vs_grpo.benchmarks.analysis.report.tables import DASH
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import RATIO
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import show

COSTS = {
    MEMORY.name: "peak memory, MB",
    SECONDS.name: "seconds per 1,000 completions",
    COMPLETIONS_TO.name: "completions to half of the best gain",
}
"""The metrics that are costs, and what the first screen calls them."""

OF_AN_ARM = (MEMORY, SECONDS)
"""The costs that an arm has by itself: how far half of the best gain is hangs on the other arm."""


def costs_table(results: Results, judged: Sequence[Verdict]) -> pd.DataFrame:
    """A row a cost, over all tasks, as text: both arms' values, how they compare, and the verdict.

    Between the two stands the other form of the first arm where the suite pairs it with the second too. After the
    memory comes the critic's part of a tracked update, where one was tracked; last how much the critics explain.
    """
    pair = pair_of(judged)
    if pair is None:
        over = [one for one in over_all_tasks(judged) if one.metric in COSTS]
        arms = {one.metric: {one.first: value(one.first_value)} if one.first else {} for one in over}
        rows = [{"cost": COSTS[one.metric], **arms[one.metric], "compared": one.verdict} for one in over]
        return pd.DataFrame(rows, dtype=object)
    tasks = tuple(dict.fromkeys(one.task for one in judged if one.task != ALL_TASKS))
    forms = other_forms(results, pair, tasks)
    compared, rows = f"{pair[1]} ÷ {pair[0]} (95% interval)", []
    for one in over_all_tasks(judged):
        if one.metric not in COSTS:
            continue
        found = amount(one.estimate, one.low, one.high) if one.effect == RATIO else effect(one)
        held = {pair[0]: value(one.first_value)}
        held |= {arm: _by_itself(results, one.metric, (arm, pair[1]), tasks) for arm in forms}
        held[pair[1]] = value(one.second_value)
        said = f"{found}, {one.verdict}" if found.strip(DASH) else one.verdict
        rows.append({"cost": COSTS[one.metric]} | held | {compared: said})
        if one.metric == MEMORY.name and (part := critic_megabytes(results, (pair[0], *forms, pair[1]))):
            rows.append({"cost": "of which the critic, MB"} | part | {compared: DASH})
    if explained := critic_explains(results, (pair[0], *forms, pair[1]), tasks):
        rows.append({"cost": "true values' variance that the critic explains half-way"} | explained | {compared: DASH})
    return pd.DataFrame(rows, dtype=object)


def other_forms(results: Results, pair: tuple[str, str], tasks: Sequence[str]) -> list[str]:
    """The arms that the suite also pairs with the second and that run on all of these tasks."""
    others = [one for one, other in results.suite.get("pairs") or () if other == pair[1] and one != pair[0]]
    return [arm for arm in others if set(tasks) <= set(shared_tasks(results, (arm, pair[1])))]


def critic_megabytes(results: Results, arms: Sequence[str]) -> dict[str, str]:
    """What the roles of a critic hold at the peak of an update, a mean over tasks; empty where there is none."""
    table = costs.memory_by_role(results)
    table = table[table["phase"] == "total"]
    if not set(arms) <= set(table["arm"]):
        return {}
    mine, tasks = table[table["role"].str.contains("value|critic")], table.groupby("arm")["task"].nunique()
    held = mine.groupby("arm")["tracked_mb"].sum()
    if held.empty:
        return {}
    return {arm: show(float(held[arm]) / tasks[arm]) if arm in held else "none" for arm in arms}


def critic_explains(results: Results, arms: Sequence[str], tasks: Sequence[str]) -> dict[str, str]:
    """The measure `explained_variance` of claims, a mean over seeds and tasks; empty where no critic was probed."""
    found = explained_variance(results)
    by_arm = {arm: [x for (of, task, _), x in found.items() if of == arm and task in tasks] for arm in arms}
    if not any(by_arm.values()):
        return {}
    return {arm: f"{np.mean(numbers):.0%}" if numbers else "none" for arm, numbers in by_arm.items()}


def _by_itself(results: Results, metric: str, pair: tuple[str, str], tasks: tuple[str, ...]) -> str:
    """A cost of the first of two arms over the tasks; a dash where it is not its own."""
    cost = next((one for one in OF_AN_ARM if one.name == metric), None)
    if cost is None:
        return DASH
    found = compare(results, cost, pair, tasks)
    return value(known(found[ALL_TASKS if len(tasks) > 1 else tasks[0]].values[0]))

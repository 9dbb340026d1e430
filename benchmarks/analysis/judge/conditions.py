"""Under which conditions two arms were compared: what stands beside every verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results, kept
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import collapses

COUNTS = ("runs", "collapsed", "diverged", "failed")
SHARES = {"ended": "ended_fraction", "silent_groups": "silent_group_fraction", "parsed": "reward_parsed"}
"""The shares that stand beside a verdict, and the metrics that they are means of."""

COLUMNS = ("task", "arm", *COUNTS, *SHARES)


@kept
def conditions(results: Results, pair: tuple[str, str], tasks: tuple[str, ...]) -> pd.DataFrame:
    """A row per task and arm, then over all tasks where they are several.

    `runs` are the training runs that are there, `collapsed`, `diverged` and `failed` how many of them were so. `ended`
    is the share of sampled completions that came to an end token before the limit, `silent_groups` that of prompt
    groups whose rewards were all equal, `parsed` that of completions whose answer could be read: means over updates of
    each run, then over runs; NaN where none is known.
    """
    fell = collapses(results, pair)
    rows = []
    for task in tasks:
        for arm, collapsed in zip(pair, (fell[task].first_S, fell[task].second_S), strict=True):
            status = _of(results.runs[results.runs["purpose"] == "train"], task, arm)["status"]
            metrics = _of(results.metrics, task, arm)
            row: dict[str, Any] = {"task": task, "arm": arm, "runs": len(status), "collapsed": np.nansum(collapsed)}
            row |= {state: int((status == state).sum()) for state in ("diverged", "failed")}
            of_runs = metrics.reindex(columns=["key", *SHARES.values()]).groupby("key").mean().astype(float).mean()
            rows.append(row | {share: of_runs[metric] for share, metric in SHARES.items()})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if len(tasks) > 1:
        of_arms = table.groupby("arm", sort=False)
        over = of_arms[list(COUNTS)].sum().join(of_arms[list(SHARES)].mean())
        table = pd.concat([table, over.reset_index().assign(task=ALL_TASKS)[list(COLUMNS)]], ignore_index=True)
    return table.astype(dict.fromkeys(COUNTS, int))


def differing_settings(results: Results, pair: tuple[str, str]) -> list[str]:
    """Settings of training whose values the arms do not share, such as `learning_rate (ppo 0.0001, grpo 0.0004)`."""
    found: dict[str, dict[str, set[str]]] = {}
    for spec in results.specs.values():
        if spec.get("purpose") == "train" and spec["arm"] in pair:
            for name, value in spec["train"].items():
                found.setdefault(name, {arm: set() for arm in pair})[spec["arm"]].add(str(value))
    return [
        f"{name} ({', '.join(f'{arm} {_listed(of[arm])}' for arm in pair)})"
        for name, of in found.items()
        if of[pair[0]] != of[pair[1]]
    ]


def critics(results: Results, pair: Sequence[str]) -> dict[str, str]:
    """The form of each arm's critic, `head` or `model`; an arm without one is not in it."""
    configs: Mapping[str, Any] = {spec.get("arm", ""): spec.get("config") or {} for spec in results.specs.values()}
    stated = {arm: configs.get(arm, {}).get("critic") for arm in pair}
    forms = {arm: critic.get("kind") if isinstance(critic, Mapping) else None for arm, critic in stated.items()}
    return {arm: form for arm, form in forms.items() if form in ("head", "model")}


def learnt_before(results: Results, pair: Sequence[str]) -> str:
    """A sentence on the arms whose critic set out from saved values; empty where none did."""
    configs: Mapping[str, Any] = {spec.get("arm", ""): spec.get("config") or {} for spec in results.specs.values()}
    critics = {arm: configs.get(arm, {}).get("critic") for arm in pair}
    arms = [arm for arm, critic in critics.items() if isinstance(critic, Mapping) and critic.get("start")]
    if not arms:
        return ""
    return f"The critic of {' and '.join(arms)} had learnt before, on completions that this budget does not count."


def places_of_beta(results: Results, pair: tuple[str, str]) -> str:
    """A sentence where both arms have a KL penalty, one in its rewards and one in its loss; else empty.

    The same coefficient weighs differently there: whitening and the critic see what stands in the rewards.
    """
    specs = {spec["arm"]: spec for spec in results.specs.values() if spec.get("purpose") == "train"}
    betas = {arm: specs[arm]["train"].get("beta") for arm in pair if arm in specs}
    if len(betas) < 2 or not all(betas.values()):
        return ""
    in_loss = {arm: "kl" in (specs[arm].get("config") or {}) for arm in pair}
    if len(set(in_loss.values())) < 2:
        return ""
    where = [f"{arm} has beta {betas[arm]:g} in its {'loss' if in_loss[arm] else 'rewards'}" for arm in pair]
    return f"The KL penalty acts differently by its place: {', '.join(where)}."


def _of(frame: pd.DataFrame, task: str, arm: str) -> pd.DataFrame:
    return frame[(frame["task"] == task) & (frame["arm"] == arm)]


def _listed(values: set[str]) -> str:
    return " and ".join(sorted(values)) or "none"

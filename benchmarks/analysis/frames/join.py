"""Results of several folders as one: more seeds, arms or tasks of one question.

Sound only where the folders asked the same: one protocol, one specification of an arm on a task but for its seed, and
on each task one set of held-out prompts and one start model for all arms. Whatever else differs is one message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.records.lock import differences
from ppo_vs_grpo.tasks.errors import UserError

STACKED = ("runs", "metrics", "evals", "memory", "probes", "samples")
"""Frames that are put under one another. Those of the timing pass are the first folder's."""

OWN = ("suite", "seed", "start")
"""Fields in which specs of one arm on one task may differ: `start` is a name, `start_hash` says which model it is."""

OF_TASK = ("protocol", "task_choice", "task_data", "start_hash", "tuning", "eval")
"""Fields that the specs of all arms on a task share: else their scores answer different questions."""


Named = Sequence[tuple[str, Results]]
"""Results, each with the name of its folder."""


def join(named: Named) -> Results:
    """The training runs of all folders, with the timing pass, the claims and the other settings of the first.

    Timing runs of the others are in `ignored`: seconds of two machines are no repeats of each other. A run that is
    missing in one folder and finished in another is finished. Raises UserError where two cannot be joined.
    """
    _check_keys(named)
    _check_specs(named)
    parts = [part for _, part in named]
    first, *others = parts
    trained = [first, *[_training(other) for other in others]]
    fields: dict[str, Any] = {name: _stack([getattr(part, name) for part in trained]) for name in STACKED}
    finished = set(fields["runs"]["key"])
    missing = pd.concat([part.missing for part in trained]).drop_duplicates("key")
    for name in ("specs", "environments", "hashes"):
        fields[name] = {key: one for part in trained for key, one in getattr(part, name).items() if key in finished}
    timed = {key for other in others for key in other.runs.loc[other.runs["purpose"] != "train", "key"]}
    return replace(
        first,
        suite=_suite(parts),
        **fields,
        missing=missing[~missing["key"].isin(finished)].reset_index(drop=True),
        ignored=tuple(sorted({name for part in parts for name in part.ignored} | timed)),
    )


def _training(part: Results) -> Results:
    """Results without their timing pass."""
    ours = {name: getattr(part, name) for name in ("runs", "memory", "missing")}
    return replace(part, **{name: frame[frame["purpose"] == "train"] for name, frame in ours.items()})


def _stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Frames under one another; one without rows would change the types of columns."""
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def _suite(parts: Sequence[Results]) -> dict[str, Any]:
    """The first suite, with the arms, tasks and seeds of all; an arm runs on the tasks on which a folder has it."""
    suites = [part.suite for part in parts]
    arms: dict[str, dict[str, Any]] = {}
    tasks: dict[str, Any] = {}
    for suite in suites:
        arms, tasks = suite["arms"] | arms, suite["tasks"] | tasks
    arms = {arm: arms[arm] for suite in suites for arm in suite["arms"]}
    tasks = {task: tasks[task] for suite in suites for task in suite["tasks"]}
    for arm, choice in arms.items():
        ran = {task for part in parts if arm in part.arms for task in part.runs_on(arm)}
        arms[arm] = choice | {"tasks": None if ran == set(tasks) else [task for task in tasks if task in ran]}
    names = dict.fromkeys(suite["name"] for suite in suites)
    seeds = sorted({seed for suite in suites for seed in suite["seeds"]})
    return {**suites[0], "name": "+".join(names), "arms": arms, "tasks": tasks, "seeds": seeds}


def _check_keys(named: Named) -> None:
    """Raise a UserError for a run that two folders have."""
    places: dict[str, str] = {}
    for name, part in named:
        for key in part.runs.loc[part.runs["purpose"] == "train", "key"]:
            if key in places:
                raise UserError(f"{places[key]} and {name} both have the run {key}; join folders of different seeds")
            places[key] = name


def _check_specs(named: Named) -> None:
    """Raise a UserError for the first field in which two runs of one arm on a task, or of one task, differ.

    And for results without any run, such as an export of wandb: nobody knows what they were asked.
    """
    seen: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}
    for name, part in named:
        if part.runs.empty:
            raise UserError(f"{name}: no finished run there; only folders with runs can be joined")
        for spec in part.specs.values():
            if spec["purpose"] != "train":
                continue
            whole = {field: value for field, value in spec.items() if field not in OWN}
            shared = {field: spec[field] for field in OF_TASK}
            for place, fields in (((spec["arm"], spec["task"]), whole), ((spec["task"],), shared)):
                where, other = seen.setdefault(place, (name, fields))
                if other != fields:
                    found = differences(other, fields) or {"the names of fields": [sorted(other), sorted(fields)]}
                    field, (one, two) = next(iter(found.items()))
                    raise UserError(
                        f"{' on '.join(place)}: {field} is {one!r} in {where} and {two!r} in {name}; "
                        "runs that differ in more than the seed cannot be joined"
                    )

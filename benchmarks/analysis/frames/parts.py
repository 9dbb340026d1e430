"""A part of a suite's results: some of its arms and tasks, or all but some seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.attribution import crossings
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.tasks.errors import UserError, nearest

LONGEST = 60
"""Letters up to which a part's folder is called by what is in it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What to keep of a suite: these arms, the first two of which are judged, these tasks, all but these seeds."""

    arms: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    without_seeds: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether it is less than the whole."""
        return bool(self.arms or self.tasks or self.without_seeds)

    @property
    def folder(self) -> str:
        """The name of its report's folder."""
        words = [self.arms, ("on",) * bool(self.tasks), self.tasks, ("without",) * bool(self.without_seeds)]
        name = "-".join(str(word) for group in (*words, self.without_seeds) for word in group)
        return f"report-{name if len(name) <= LONGEST else hashlib.sha256(name.encode()).hexdigest()[:8]}"

    @property
    def words(self) -> str:
        """What it is, as a page says it."""
        named = {"arms": self.arms, "tasks": self.tasks, "without seeds": self.without_seeds}
        return "; ".join(f"{what} {', '.join(map(str, some))}" for what, some in named.items() if some)


def narrowed(
    results: Results, arms: Sequence[str] = (), tasks: Sequence[str] = (), without_seeds: Sequence[int] = ()
) -> Results:
    """The results of a part of a suite: of these arms, on these tasks, without these seeds; of all that is not named.

    The suite's `part` says which it is, and its `pairs` that the first two of `arms` are judged. Claims and
    attribution that need more than the part are left out. Raises UserError for a name that the suite does not have,
    and where nothing would be left.
    """
    part = Part(tuple(arms), tuple(tasks), tuple(without_seeds))
    if not part:
        return results
    _check(results, part)
    arms = part.arms or tuple(results.arms)
    tasks = [task for task in part.tasks or results.tasks if any(task in results.runs_on(arm) for arm in arms)]
    seeds = [seed for seed in results.seeds if seed not in without_seeds]
    if not tasks or not seeds:
        raise UserError(f"suite {results.name}: {part.words}: no run is left")
    cells = [] if part.tasks else [cell for cell in results.cells if any(a in arms for a in results.timed_in(cell))]
    suite = _suite(results.suite, part, arms, tasks, seeds, cells)

    def of(frame: pd.DataFrame, seeded: bool | pd.Series) -> pd.DataFrame:
        here = frame["arm"].isin(arms) & frame["task"].isin([*tasks, *cells])
        return frame[here & ~(frame["seed"].isin(without_seeds) & seeded)].reset_index(drop=True)

    trained = results.runs["purpose"] == "train"
    runs = of(results.runs, trained)
    keys = set(runs["key"])
    return replace(
        results,
        suite=suite,
        runs=runs,
        metrics=of(results.metrics, True),
        evals=of(results.evals, True),
        probes=of(results.probes, True),
        timing=of(results.timing, False),
        speed=of(results.speed, False),
        speed_memory=of(results.speed_memory, False),
        memory=of(results.memory, results.memory["key"].isin(results.runs.loc[trained, "key"])),
        missing=of(results.missing, results.missing["purpose"] == "train"),
        specs=_of_keys(results.specs, keys),
        environments=_of_keys(results.environments, keys),
        hashes=_of_keys(results.hashes, keys),
        throughput=results.throughput if suite.get("throughput") else (),
        samples=of(results.samples, True),
        unsealed=tuple(name for name in results.unsealed if name in keys or name not in results.specs),
    )


def _check(results: Results, part: Part) -> None:
    known = {"arm": (part.arms, results.arms), "task": (part.tasks, results.tasks)}
    for what, (named, there) in known.items():
        for label in named:
            if label not in there:
                raise UserError(f"suite {results.name}: no {what} {label!r}; {nearest(label, there)}")
            if named.count(label) > 1:
                raise UserError(f"suite {results.name}: {what} {label!r} twice")
    for seed in part.without_seeds:
        if seed not in results.seeds:
            raise UserError(f"suite {results.name}: no seed {seed}; its seeds are {', '.join(map(str, results.seeds))}")


def _suite(
    suite: Mapping[str, Any],
    part: Part,
    arms: Sequence[str],
    tasks: Sequence[str],
    seeds: Sequence[int],
    cells: Sequence[str],
) -> dict[str, Any]:
    """The suite as if it had asked for the part alone."""
    throughput = suite.get("throughput")
    pairs = [list(arms[:2])] if len(part.arms) > 1 else suite.get("pairs")
    return {
        **suite,
        "description": f"A part of the suite: {part.words}. {suite.get('description') or ''}".strip(),
        "part": {"arms": list(part.arms), "tasks": list(part.tasks), "without_seeds": list(part.without_seeds)},
        "arms": {arm: suite["arms"][arm] | {"tasks": _some(suite["arms"][arm].get("tasks"), tasks)} for arm in arms},
        "tasks": {task: suite["tasks"][task] for task in tasks},
        "seeds": list(seeds),
        "pairs": [pair for pair in pairs or () if set(pair) <= set(arms)] or None,
        "claims": {
            name: claim
            for name, claim in (suite.get("claims") or {}).items()
            if all(
                set(scope["arms"]) <= set(arms) and set(scope["tasks"]) <= set(tasks)
                for scope in (claim, *((claim.get("dial") or {}).get("points") or {}).values())
            )
        },
        "attribution": [four for four in crossings(suite) if set(four.values()) <= set(arms)],
        "throughput": throughput if throughput and throughput["arm"] in arms and not part.tasks else None,
        "timing": _timing(suite.get("timing"), arms, cells),
    }


def _timing(timing: Mapping[str, Any] | None, arms: Sequence[str], cells: Sequence[str]) -> dict[str, Any] | None:
    if timing is None or _some(timing.get("arms"), arms) == []:
        return None
    kept = {cell: timing["cells"][cell] | {"arms": _some(timing["cells"][cell].get("arms"), arms)} for cell in cells}
    return {**timing, "arms": _some(timing.get("arms"), arms), "cells": kept}


def _some(named: Sequence[str] | None, kept: Collection[str]) -> list[str] | None:
    """Those of the named that are kept; None stands for all."""
    return None if named is None else [label for label in named if label in kept]


def _of_keys(by_key: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in by_key.items() if key in keys}

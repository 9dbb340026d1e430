"""A suite's results made by hand, without files: every number is what a test says it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, MISSING_COLUMNS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.comparisons import means
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import FINAL
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import Paired
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, verdicts
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import MARGIN
from ppo_vs_grpo.benchmarks.records.schema import (
    EVAL_COLUMNS,
    MEMORY_COLUMNS,
    METRIC_COLUMNS,
    PHASES,
    PROBE_COLUMNS,
    RUN_COLUMNS,
)

WAVE = np.array([1.0, -1.0, 0.5, -0.5, 1.0, -1.0, 0.5, -0.5])
OTHER_WAVE = np.array([1.0, 1.0, 0.5, 0.5, -1.0, -1.0, -0.5, -0.5])
"""Eight values of mean 0 and sample variance 5/7 each, not correlated."""

Cells = Mapping[str, Mapping[str, Sequence[Any]]]
"""By arm and task a value per seed; None where there is no run."""


def made(
    curves: Cells,
    *,
    completions: Sequence[int] = (0, 100),
    diverged: Sequence[tuple[str, str, int]] = (),
    failed: Sequence[tuple[str, str, int]] = (),
    noise: Cells | None = None,
    tracked: Cells | None = None,
    seconds: Cells | None = None,
    contended: bool = False,
) -> Results:
    """Runs of a suite whose arms are named after their algorithm up to the first dash.

    `curves` has a run's pass rates at `completions`; a diverged run's are shorter. `noise` has (trace, signal) of a
    run at its middle, `tracked` a run's peak bytes by role, `seconds` the timing pass's seconds per 1,000 completions.
    """
    tasks = list(next(iter(curves.values())))
    seeds = max(len(values) for arm in curves.values() for values in arm.values())
    runs, evals, metrics, memory = [], [], [], []
    for arm, task, seed, curve in _cells(curves):
        who = _who(arm, task, seed)
        status = "failed" if (arm, task, seed) in failed else "diverged" if (arm, task, seed) in diverged else "ok"
        runs.append(_run(who, "train", status, completions[len(curve) - 1], True))
        if status == "failed":
            continue
        for update, (at, score) in enumerate(zip(completions, curve, strict=False)):
            point = who | {"update": update, "completions": at}
            evals.append(point | {"prompt": 0, "passes": score, "samples": 1})
            if at:
                metrics.append(point | _seconds(float(at)))
    probes = _noise_rows(noise or {})
    for arm, task, seed, roles in _cells(tracked or {}):
        for role, size in roles.items():
            row = _who(arm, task, seed) | {"role": role, "source": "tracked", "purpose": "train"}
            memory += [row | {"phase": "total", "bytes": size}, row | {"phase": "rollout", "bytes": 9 * size}]
    timing = []
    for arm, task, repeat, value in _cells(seconds or {}):
        who = _who(arm, task, repeat, "r")
        runs.append(_run(who, "timing", "ok", 1000, contended))
        timing.append(who | {"update": 1, "completions": 500} | _seconds(99.0) | {"warmup": True})
        timing.append(who | {"update": 2, "completions": 2500} | _seconds(2 * value))
    arms = {arm: {"algorithm": arm.split("-")[0]} for arm in curves}
    suite = {"name": "handmade", "arms": arms, "tasks": {task: {} for task in tasks}, "seeds": list(range(seeds))}
    train = {"prompts_per_update": 1, "group_size": 1, "completions": completions[-1]}
    return Results(
        suite=suite,
        runs=pd.DataFrame(runs, columns=list(RUN_COLUMNS)),
        metrics=_frame(metrics, METRIC_COLUMNS),
        evals=_frame(evals, EVAL_COLUMNS),
        memory=_frame(memory, (*MEMORY_COLUMNS, "purpose")),
        probes=_frame(probes, PROBE_COLUMNS),
        timing=_frame(timing, METRIC_COLUMNS),
        missing=pd.DataFrame(columns=list(MISSING_COLUMNS)),
        specs={run["key"]: {"train": train} for run in runs},
        environments={},
        hashes={},
        ignored=(),
    )


def verdicts_on(
    differences: Mapping[str, ArrayLike], *, arms: tuple[str, str] = ("A", "B"), margin: float = MARGIN
) -> dict[str, Verdict]:
    """What a report says of the final score on each task, from differences of seeds: second arm less first."""
    samples = {task: np.asarray(values, float) for task, values in differences.items()}
    pairs = {task: Paired(tuple(range(len(sample))), np.zeros(len(sample)), sample) for task, sample in samples.items()}
    found = {task: means([pair], arms, "score", margin) for task, pair in pairs.items()}
    return {one.task: one for one in verdicts({replace(FINAL, margin=margin): found}, arms)}


def _noise_rows(noise: Cells) -> list[dict[str, Any]]:
    """Probes at start, middle and end, of the run's own estimator and another; the true ones are the middle's own."""
    rows = []
    for arm, task, seed, (trace, signal) in _cells(noise):
        for at, factor in ((0, 3.0), (50, 1.0), (100, 7.0)):
            for subject, own in (("own", 1.0), ("grpo", 11.0)):
                point = _who(arm, task, seed) | {"completions": at, "probe": "gradient", "subject": subject}
                rows += [point | {"quantity": "trace", "value": trace * factor * own}]
                rows += [point | {"quantity": "signal", "value": signal}]
    return rows


def _cells(cells: Cells) -> list[tuple[str, str, int, Any]]:
    return [
        (arm, task, seed, value)
        for arm, tasks in cells.items()
        for task, values in tasks.items()
        for seed, value in enumerate(values)
        if value is not None
    ]


def _who(arm: str, task: str, seed: int, letter: str = "s") -> dict[str, Any]:
    return {"arm": arm, "task": task, "seed": seed, "key": f"{arm}.{task}.{letter}{seed}"}


def _run(who: dict[str, Any], purpose: str, status: str, completions: int, contended: bool) -> dict[str, Any]:
    run = {"purpose": purpose, "status": status, "completions": completions, "contended": contended}
    return dict.fromkeys(RUN_COLUMNS, 0) | who | run


def _seconds(value: float) -> dict[str, float | bool]:
    return {"warmup": False} | {f"{phase}_s": 0.0 for phase in PHASES} | {"rollout_s": value, "train_s": value}


def _frame(rows: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*IDENTITY, *columns])

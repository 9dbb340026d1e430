"""The results of a suite as pandas frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.curves import area_under_curve
from ppo_vs_grpo.benchmarks.records.folder import PARTS, read_lock, run_folder, run_names
from ppo_vs_grpo.benchmarks.records.manifest import is_complete, is_finished
from ppo_vs_grpo.benchmarks.records.read import RunFiles, read_run
from ppo_vs_grpo.benchmarks.records.schema import (
    EVAL_COLUMNS,
    MEMORY_COLUMNS,
    METRIC_COLUMNS,
    PROBE_COLUMNS,
    RUN_COLUMNS,
)
from ppo_vs_grpo.benchmarks.records.throughput import read as read_throughput
from ppo_vs_grpo.tasks.errors import UserError, nearest

IDENTITY = ("arm", "task", "seed", "key")
SCORES = ("pass_rate", "greedy_pass", "reward_mean")
"""What one evaluation says, each a mean over the held-out prompts."""

MISSING_COLUMNS = ("purpose", *IDENTITY, "state", "message")
AGAIN = "run the suite again: it goes on with what is missing"

SUMMARIES = ("start", "final", "gain", "area")


@dataclass(frozen=True)
class Results:
    """One suite's results. Every frame but `runs` and `missing` starts with arm, task, seed, key.

    - `runs`: a row per finished run, failed and diverged ones and the timing pass included;
    - `metrics`: a row per update of the training runs; `timing`: the same of the timing pass,
      where `seed` is the repeat and `warmup` marks rows that are not to be measured;
    - `evals`: a row per held-out prompt and evaluation of the training runs;
    - `probes`: a row per run, moment, probe, subject and quantity, where the suite has probes;
    - `memory`: bytes per run (with its purpose), phase, role and source;
    - `speed`, `speed_memory`: as `timing` and `memory`, of the timing pass's cells, which are no tasks of the suite;
    - `throughput`: the passes of short runs side by side, where the suite has them;
    - `missing`: cells that the suite names and that have no finished run, their state, and what can be done;
    - `specs`, `environments`: each run's input and surroundings, by key.

    A failed run is a row of `runs` and appears in no other frame.
    """

    suite: Mapping[str, Any]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    evals: pd.DataFrame
    memory: pd.DataFrame
    probes: pd.DataFrame
    timing: pd.DataFrame
    missing: pd.DataFrame
    specs: Mapping[str, dict[str, Any]]
    environments: Mapping[str, dict[str, Any]]
    hashes: Mapping[str, dict[str, str]]
    ignored: tuple[str, ...]
    speed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*IDENTITY, *METRIC_COLUMNS]))
    speed_memory: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*IDENTITY, *MEMORY_COLUMNS]))
    throughput: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The suite's name."""
        return str(self.suite["name"])

    @property
    def arms(self) -> list[str]:
        """The suite's arms, in its order."""
        return list(self.suite["arms"])

    @property
    def tasks(self) -> list[str]:
        """The suite's tasks, in its order."""
        return list(self.suite["tasks"])

    @property
    def seeds(self) -> list[int]:
        """The suite's seeds, in its order."""
        return list(self.suite["seeds"])

    @property
    def cells(self) -> list[str]:
        """The cells that only the timing pass runs, in the suite's order."""
        return list((self.suite.get("timing") or {}).get("cells") or {})

    def timed_in(self, cell: str) -> list[str]:
        """The arms that a cell asks for, in the suite's order."""
        timing = self.suite["timing"]
        chosen = timing["cells"][cell].get("arms") or timing.get("arms") or self.arms
        return [arm for arm in self.arms if arm in chosen]

    def runs_on(self, arm: str) -> list[str]:
        """The tasks on which an arm runs, in the suite's order."""
        chosen = self.suite["arms"][arm].get("tasks")
        return [task for task in self.tasks if chosen is None or task in chosen]

    @cached_property
    def complete(self) -> frozenset[str]:
        """Keys of the training runs with a final score: all but the failed, and the diverged that stopped early."""
        training = self.runs[self.runs["purpose"] == "train"]
        ends = zip(training["key"], training["status"], training["completions"], strict=True)
        return frozenset(key for key, status, n in ends if is_complete(status, n, self.specs[key]))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row per training run and evaluation: pass_rate (of all samples), greedy_pass, reward_mean, tokens.

        `complete` says whether the run has a final score.
        """
        frame = self.evals.assign(pass_rate=self.evals["passes"] / self.evals["samples"])
        columns = [*SCORES, "completion_tokens_mean"]
        frame = frame.groupby([*IDENTITY, "update", "completions"], as_index=False, sort=True)[columns].mean()
        return frame.assign(complete=frame["key"].isin(self.complete))

    @cached_property
    def finals(self) -> pd.DataFrame:
        """A row per training run: start, final, gain and area of each score, as in `final_pass_rate`.

        `area` is the area under the curve over completions, divided by its width: a mean height.
        What a run that is not complete lacks is NaN.
        """
        rows = []
        for identity, curve in self.scores.groupby(list(IDENTITY), sort=True):
            x, complete = curve["completions"].to_numpy(float), bool(curve["complete"].iloc[0])
            row: dict[str, Any] = dict(zip(IDENTITY, identity, strict=True))
            for name in SCORES:
                y = curve[name].to_numpy(float)
                start = y[0] if x[0] == 0 else np.nan
                final = y[-1] if complete else np.nan
                area = area_under_curve(x, y) if complete else np.nan
                row |= {f"start_{name}": start, f"final_{name}": final, f"gain_{name}": final - start}
                row[f"area_{name}"] = area
            rows.append(row)
        return pd.DataFrame(rows, columns=[*IDENTITY, *[f"{part}_{name}" for name in SCORES for part in SUMMARIES]])

    def score_matrix(self, metric: str = "pass_rate") -> dict[str, pd.DataFrame]:
        """Per arm, a frame of seeds x tasks with the final held-out score; NaN where there is none.

        `metric` is pass_rate, greedy_pass or reward_mean; with a prefix `start_`, `gain_` or `area_`, that instead.
        """
        column = metric if metric.startswith(tuple(f"{part}_" for part in SUMMARIES)) else f"final_{metric}"
        if column not in self.finals or column in IDENTITY:
            raise UserError(f"score_matrix: no metric {metric!r}; {nearest(metric, SCORES)}")
        table = self.finals.set_index(["arm", "seed", "task"])[column]
        return {
            arm: pd.DataFrame(
                [[table.get((arm, seed, task), np.nan) for task in self.tasks] for seed in self.seeds],
                index=pd.Index(self.seeds, name="seed"),
                columns=pd.Index(self.tasks, name="task"),
                dtype=float,
            )
            for arm in self.arms
        }


def load(path: str | Path, *, whole: bool = True) -> Results:
    """Open a suite's results folder, such as `results/core`.

    Only the runs that suite.lock.yaml names are read: folders left by an earlier configuration are
    listed in `ignored`. Raises UserError for a folder without results, and for a run whose files do not fit its
    manifest or whose protocol version is not that of the others; unless `whole`, such a run is `missing` as unreadable.
    """
    folder = Path(path)
    suite, keys = read_lock(folder)
    runs: dict[str, RunFiles] = {}
    missing = []
    for name in run_names(folder):
        place = run_folder(folder, name.purpose, name.key)
        if not is_finished(place):
            missing.append((*name, "unfinished" if place.exists() else "not started", AGAIN))
            continue
        try:
            runs[name.key] = read_run(place)
        except UserError as error:
            if whole:
                raise
            missing.append((*name, "unreadable", str(error).replace(f"{folder}/", "")))
    if whole:
        _one_protocol(folder, runs)
    else:
        missing += _take_older_protocols(runs)
    found = [p.name for part in PARTS.values() if (folder / part).is_dir() for p in (folder / part).iterdir()]
    cells = set((suite.get("timing") or {}).get("cells") or {})
    speed = {key: run for key, run in runs.items() if run.manifest["task"] in cells}
    of_tasks = {key: run for key, run in runs.items() if key not in speed}
    training = {key: run for key, run in of_tasks.items() if run.manifest["purpose"] == "train"}
    timing = {key: run for key, run in of_tasks.items() if run.manifest["purpose"] == "timing"}
    return Results(
        suite=suite,
        runs=pd.DataFrame([run.manifest for run in runs.values()], columns=list(RUN_COLUMNS)),
        metrics=_stack({key: run.metrics for key, run in training.items()}, training, METRIC_COLUMNS),
        evals=_stack({key: run.evals for key, run in training.items()}, training, EVAL_COLUMNS),
        memory=_memory(of_tasks),
        probes=_stack({key: run.probes for key, run in training.items()}, training, PROBE_COLUMNS),
        timing=_stack({key: run.metrics for key, run in timing.items()}, timing, METRIC_COLUMNS),
        missing=pd.DataFrame(missing, columns=list(MISSING_COLUMNS)),
        specs={key: run.spec for key, run in runs.items()},
        environments={key: run.environment for key, run in runs.items()},
        hashes={key: run.manifest["files"] for key, run in runs.items()},
        ignored=tuple(sorted(set(found) - set(keys))),
        speed=_stack({key: run.metrics for key, run in speed.items()}, speed, METRIC_COLUMNS),
        speed_memory=_memory(speed),
        throughput=tuple(read_throughput(folder)),
    )


def _memory(runs: Mapping[str, RunFiles]) -> pd.DataFrame:
    """Bytes of every run, with its purpose."""
    frames = {key: run.memory.assign(purpose=run.manifest["purpose"]) for key, run in runs.items()}
    return _stack(frames, runs, (*MEMORY_COLUMNS, "purpose"))


def _take_older_protocols(runs: dict[str, RunFiles]) -> list[tuple[Any, ...]]:
    """Take the runs out that are not of the newest protocol version; their rows of `missing`."""
    newest = max((run.manifest["protocol"] for run in runs.values()), default=None)
    older = [runs.pop(key).manifest for key in list(runs) if runs[key].manifest["protocol"] != newest]
    return [
        (*(run[name] for name in ("purpose", *IDENTITY)), "unreadable",
         f"{run['key']}: protocol version {run['protocol']}, others have {newest}")
        for run in older
    ]  # fmt: skip


def _one_protocol(folder: Path, runs: Mapping[str, RunFiles]) -> None:
    """Raise a UserError unless every run was measured by one version of the protocol."""
    versions: dict[int, str] = {}
    for key, run in runs.items():
        versions.setdefault(run.manifest["protocol"], key)
    if len(versions) > 1:
        each = ", ".join(f"{version} (as {key})" for version, key in sorted(versions.items()))
        raise UserError(f"{folder}: runs of protocol versions {each}; they cannot be compared. Run the suite again")


def _stack(frames: Mapping[str, pd.DataFrame], runs: Mapping[str, RunFiles], columns: tuple[str, ...]) -> pd.DataFrame:
    """Put the runs' frames under one another, each row led by its run's identity."""
    parts = [
        frame.assign(**{name: runs[key].manifest[name] for name in IDENTITY})
        for key, frame in frames.items()
        if len(frame)
    ]
    if not parts:
        return pd.DataFrame(columns=[*IDENTITY, *columns])
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[[*IDENTITY, *[name for name in stacked.columns if name not in IDENTITY]]]

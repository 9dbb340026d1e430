"""A results folder read into `Results`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.published import RECORDS, read_published
from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, MISSING_COLUMNS, Results
from ppo_vs_grpo.benchmarks.records.folder import LOCK, PARTS, is_finished, run_folder
from ppo_vs_grpo.benchmarks.records.lock import MEND, read_changed, read_lock, read_seals, run_names
from ppo_vs_grpo.benchmarks.records.read import RunFiles, read_run
from ppo_vs_grpo.benchmarks.records.schema import (
    EVAL_COLUMNS,
    MEMORY_COLUMNS,
    METRIC_COLUMNS,
    PROBE_COLUMNS,
    RUN_COLUMNS,
    SAMPLE_COLUMNS,
)
from ppo_vs_grpo.benchmarks.records.throughput import FILE as THROUGHPUT
from ppo_vs_grpo.benchmarks.records.throughput import read as read_throughput
from ppo_vs_grpo.benchmarks.records.visible import in_a_line
from ppo_vs_grpo.tasks.errors import UserError

AGAIN = "run the suite again: it goes on with what is missing"


def load(path: str | Path, *, strict: bool = True) -> Results:
    """Open a suite's results folder, such as `results/core`, or a published one that has its records.

    Only the runs that suite.lock.yaml names are read: folders left by an earlier configuration are
    listed in `ignored`. Raises UserError for a folder without finished runs, for a lock whose seal is not that of its
    content, and for a run whose files do not fit its manifest, whose seal is not that of its manifest and of the lock,
    or whose protocol version is not that of the others; unless `strict`, such a run is `missing` as unreadable.
    """
    folder = Path(path)
    suite, keys = read_lock(folder)
    if (folder / RECORDS).is_dir():
        return replace(read_published(folder, suite), changed=read_changed(folder))
    seals = read_seals(folder)
    runs: dict[str, RunFiles] = {}
    missing = []
    for name in run_names(folder):
        place = run_folder(folder, name.purpose, name.key)
        if not is_finished(place):
            missing.append((*name, "unfinished" if place.exists() else "not started", AGAIN))
            continue
        try:
            runs[name.key] = read_run(place, (seals or {}).get(name.key))
        except UserError as error:
            if strict:
                raise
            missing.append((*name, "unreadable", in_a_line(str(error).replace(f"{folder}/", ""))))
    if not runs and not any(state == "unreadable" for *_, state, _ in missing):
        why = "a published report lies there without its runs" if (folder / "report.html").exists() else AGAIN
        raise UserError(f"{folder}: none of the {len(keys)} runs that {LOCK} names is finished there; {why}")
    if strict:
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
        runs=_manifests([run.manifest for run in runs.values()]),
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
        throughput=tuple(read_throughput(folder, (seals or {}).get(THROUGHPUT))),
        unsealed=_unsealed(folder, seals, runs),
        changed=read_changed(folder),
        samples=_stack({key: run.samples for key, run in training.items()}, training, SAMPLE_COLUMNS),
    )


def _manifests(manifests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per run. `retried` is there where a run was tried again, `parameters` where some run counted them: records
    of before these were kept lack them.
    """
    some = [name for name in ("retried", "parameters") if any(manifest.get(name) for manifest in manifests)]
    columns = [*RUN_COLUMNS, "resumed", *some]
    return pd.DataFrame([{"resumed": 0} | _row(one) for one in manifests], columns=columns)


def _row(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest as a row; its error, which may quote what a model wrote, as it can be shown."""
    error = manifest["error"]
    return dict(manifest) | {"error": error if error is None else in_a_line(str(error))}


def _unsealed(folder: Path, seals: Mapping[str, str] | None, runs: Mapping[str, RunFiles]) -> tuple[str, ...]:
    """What carries no seal: files of the suite by name, runs by key. UserError where the lock has lost its own."""
    bare = [key for key, run in runs.items() if "seal" not in run.manifest]
    if seals is None and len(bare) < len(runs):
        raise UserError(f"{folder / LOCK}: it has no seal, but runs that it names have: it was changed; {MEND}")
    passes = [THROUGHPUT] if (folder / THROUGHPUT).exists() and THROUGHPUT not in (seals or {}) else []
    return (*([LOCK] if seals is None else []), *passes, *bare)


def _memory(runs: Mapping[str, RunFiles]) -> pd.DataFrame:
    """Bytes of every run, with its purpose."""
    stacked = _stack({key: run.memory for key, run in runs.items()}, runs, (*MEMORY_COLUMNS, "purpose"))
    purposes = {key: run.manifest["purpose"] for key, run in runs.items()}
    return stacked.assign(purpose=[purposes[key] for key in stacked["key"]]) if len(stacked) else stacked


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
    full = {key: frame for key, frame in frames.items() if len(frame)}
    if not full:
        return pd.DataFrame(columns=[*IDENTITY, *columns])
    stacked = pd.concat(full.values(), ignore_index=True)
    lengths = [len(frame) for frame in full.values()]
    of_runs = pd.DataFrame([[runs[key].manifest[name] for name in IDENTITY] for key in full], columns=list(IDENTITY))
    # Repeated once for all runs: a column more in each run's own frame would take longer than reading it.
    identity = of_runs.loc[of_runs.index.repeat(lengths)].reset_index(drop=True)
    return pd.concat([identity, stacked], axis=1)

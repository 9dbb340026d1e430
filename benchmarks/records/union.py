"""Two results folders of one protocol as one: a suite's seeds from two machines."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.records.folder import RunName, is_finished, run_folder
from ppo_vs_grpo.benchmarks.records.lock import (
    differences,
    document,
    read_changed,
    read_lock,
    run_names,
    seals_of,
    throughput_seal,
    write_lock,
)
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest
from ppo_vs_grpo.benchmarks.records.schema import read_object
from ppo_vs_grpo.benchmarks.records.throughput import FILE
from ppo_vs_grpo.tasks.errors import UserError

OWN = ("suite", "seed", "arm", "task")
"""Fields of a run's spec in which runs of one configuration differ."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of it: the seeds, the runs copied from either folder, and how many of the first lie in both."""

    seeds: tuple[int, ...]
    copied: tuple[int, int]
    both: int


def merge(one: Path, other: Path, out: Path) -> Merged:
    """Copy the finished runs of both folders into a new one, whose lock names the seeds of both.

    A run that both have is the first folder's, unless it failed there alone. Raises UserError where the suites or
    the specs of their runs differ in more than seeds, naming the fields, and where `out` is there already.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; merge into a new folder")
    folders = (one, other)
    suites = (read_lock(one)[0], read_lock(other)[0])
    names = [run_names(folder) for folder in folders]
    _refuse(folders, {key: pair for key, pair in differences(suites[0], suites[1]).items() if key != "seeds"})
    _same_specs(folders, names)
    every = {name.key: name for name in (*names[0], *names[1])}
    ordered = sorted(every.values(), key=lambda name: name.purpose == "timing")
    chosen = {name: place for name in ordered if (place := _chosen(folders, name))}
    for name, place in chosen.items():
        shutil.copytree(place, run_folder(out, name.purpose, name.key))
    out.mkdir(parents=True, exist_ok=True)
    if measured := next((folder / FILE for folder in folders if (folder / FILE).is_file()), None):
        shutil.copy(measured, out / FILE)
    seeds = list(dict.fromkeys(seed for suite in suites for seed in suite["seeds"]))
    changed = read_changed(one)
    before = changed.get("seeds", [suites[0]["seeds"]])[0]
    changed = {key: pair for key, pair in changed.items() if key != "seeds"}
    changed |= {"seeds": [before, seeds]} if before != seeds else {}
    lock = document({**suites[0], "seeds": seeds}, [name.key for name in ordered], changed)
    seals = seals_of(run_folder(out, name.purpose, name.key) for name in chosen)
    write_lock(out, lock, seals | throughput_seal(out))
    of_one = sum(place.is_relative_to(one) for place in chosen.values())
    both = sum(all(is_finished(run_folder(f, name.purpose, name.key)) for f in folders) for name in ordered)
    return Merged(tuple(seeds), (of_one, len(chosen) - of_one), both)


def _chosen(folders: Sequence[Path], name: RunName) -> Path | None:
    """Where the run to copy lies; None where neither folder has finished it."""
    places = [run_folder(folder, name.purpose, name.key) for folder in folders]
    finished = [place for place in places if is_finished(place)]
    well = [place for place in finished if read_manifest(place)["status"] != "failed"]
    return next(iter([*well, *finished]), None)


def _same_specs(folders: Sequence[Path], names: Sequence[Sequence[RunName]]) -> None:
    """Refuse runs of one arm, task and purpose whose specs differ: in protocol, data, start model or settings."""
    by_work: list[dict[tuple[str, str, str], RunName]] = [
        {(name.purpose, name.arm, name.task): name for name in some} for some in names
    ]
    for work in [work for work in by_work[0] if work in by_work[1]]:
        pair = [some[work] for some in by_work]
        if len({name.key.rpartition(".")[2] for name in pair}) > 1:
            found = differences(_spec(folders[0], pair[0]), _spec(folders[1], pair[1])) or {
                "key": [name.key for name in pair]
            }
            _refuse(folders, {f"{work[1]} on {work[2]}: {key}": values for key, values in found.items()})


def _spec(folder: Path, name: RunName) -> dict[str, Any]:
    path = run_folder(folder, name.purpose, name.key) / "spec.json"
    spec = read_object(path) if path.is_file() else {}
    return {key: value for key, value in spec.items() if key not in OWN}


def _refuse(folders: Sequence[Path], found: dict[str, list[Any]]) -> None:
    if found:
        one, other = folders
        each = "; ".join(f"{key} is {a} in {one} and {b} in {other}" for key, (a, b) in found.items())
        raise UserError(f"{one} and {other} cannot be merged: {each}")

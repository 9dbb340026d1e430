"""Short runs side by side, timed from the first one's start to the last one's end: the passes behind `throughput`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ppo_vs_grpo.benchmarks import throughput
from ppo_vs_grpo.benchmarks.cells import Cell, write_whole
from ppo_vs_grpo.benchmarks.processes import Job, cores, reason_of
from ppo_vs_grpo.benchmarks.record import CONTENDED_CORES, busy_cores
from ppo_vs_grpo.benchmarks.runfiles import read_manifest
from ppo_vs_grpo.benchmarks.spec import RunSpec, Throughput


def due(asked: Throughput, folder: Path) -> Iterator[tuple[int, int]]:
    """Slots and repeat of each pass that is not measured yet: numbers of slots forward, then backward.

    Passes of other settings, and those in which a run failed, are forgotten.
    """
    rows = throughput.of(asked.model_dump(), throughput.read(folder))
    write_whole(folder / throughput.FILE, "".join(json.dumps(row) + "\n" for row in rows))
    measured = {(row["slots"], row["repeat"]) for row in rows}
    for repeat in range(asked.repeats):
        for slots in asked.slots[:: -1 if repeat % 2 else 1]:
            if (slots, repeat) not in measured:
                yield slots, repeat


def measure(
    asked: Throughput,
    spec: RunSpec,
    folder: Path,
    slots: int,
    repeat: int,
    command: Sequence[str],
    run: Callable[[Sequence[Job], int], None],
) -> None:
    """Add a pass to the suite's file: copies of a run with seeds from 0, shortened, so many at a time.

    `command` is the worker with the start model, between which the run's folder goes; `run` takes jobs and slots.
    """
    contended = busy_cores() > CONTENDED_CORES
    train = spec.train.model_copy(update={"completions": asked.completions})
    specs = [spec.model_copy(update={"train": train, "seed": i, "probes": None}) for i in range(asked.runs)]
    place = folder / "throughput" / f"{slots}-{repeat}"
    cells = [Cell(one, place / one.key) for one in specs]
    spans: list[tuple[float, float]] = []
    errors: list[str] = []
    run([_job(cell, max(1, cores() // slots), command, spans, errors) for cell in cells], slots)
    seconds = None if errors else max(end for _, end in spans) - min(start for start, _ in spans)
    row = {"arm": asked.arm, "runs": asked.runs, "completions": asked.completions, "slots": slots, "repeat": repeat}
    row |= {"seconds": seconds, "contended": contended, "error": errors[0] if errors else None}
    with (folder / throughput.FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _job(
    cell: Cell,
    threads: int,
    command: Sequence[str],
    spans: list[tuple[float, float]],
    errors: list[str],
) -> Job:
    log = cell.folder / "stdout.log"

    def prepare() -> Sequence[str]:
        cell.prepare()
        *worker, start = command
        return (*worker, str(cell.folder), start, "--contended")

    def finish(code: int) -> None:
        ended_s, there = time.monotonic(), (cell.folder / "manifest.json").exists()
        manifest = read_manifest(cell.folder) if there else {}
        if manifest.get("status") == "ok":
            spans.append((ended_s - manifest["wall_s"], ended_s))
        else:
            error = manifest["error"] if there else reason_of(code, log)
            errors.append(f"{cell.spec.key} {manifest.get('status', 'failed')}: {error}")

    return Job(log, threads, prepare, finish)

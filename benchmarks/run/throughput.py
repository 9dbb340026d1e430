"""Short runs side by side, timed from the first one's start to the last one's end: the passes behind `throughput`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ppo_vs_grpo.benchmarks.records import throughput
from ppo_vs_grpo.benchmarks.records.folder import appended, is_finished, write_whole
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest
from ppo_vs_grpo.benchmarks.run.engines.job import Job, Watch, reason_of
from ppo_vs_grpo.benchmarks.run.heartbeat import HEARTBEAT
from ppo_vs_grpo.benchmarks.run.machine import CONTENDED_CORES, busy_cores, cores
from ppo_vs_grpo.benchmarks.run.state import RunState
from ppo_vs_grpo.benchmarks.run.writing import writing
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import Limits, Throughput


def due(asked: Throughput, folder: Path) -> Iterator[tuple[int, int]]:
    """Slots and repeat of each pass that is not measured yet: numbers of slots forward, then backward.

    Passes of other settings, and those in which a run failed, are forgotten.
    """
    rows = throughput.of(asked.model_dump(), throughput.read(folder))
    with writing(folder / throughput.FILE):
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
    command: Callable[[Path], Sequence[str]],
    run: Callable[[Sequence[Job], int], None],
    limits: Limits,
) -> None:
    """Add a pass to the suite's file: shortened copies of a run with seeds from 0, `slots` at a time.

    `command` says how a run in a folder is started; `run` takes jobs and slots.
    """
    contended = busy_cores() > CONTENDED_CORES
    train = spec.train.model_copy(update={"completions": asked.completions})
    spans: list[tuple[float, float]] = []
    errors: list[str] = []

    def job(one: RunSpec) -> Job:
        run = RunState(one, folder / "throughput" / f"{slots}-{repeat}" / one.key)
        log, watch = run.folder / "stdout.log", Watch(run.folder / HEARTBEAT, limits)

        def prepare() -> Sequence[str]:
            with writing(run.folder):
                run.prepare()
            return command(run.folder)

        def finish(code: int) -> None:
            ended_s, there = time.monotonic(), is_finished(run.folder)
            reason = watch.exceeded or reason_of(code, log)
            manifest = read_manifest(run.folder) if there else {"status": "failed", "error": reason}
            if manifest["status"] == "ok":
                spans.append((ended_s - float(manifest["wall_s"]), ended_s))
            else:
                errors.append(f"{one.key} {manifest['status']}: {manifest['error']}")

        return Job(log, max(1, cores() // slots), prepare, finish, watch)

    specs = [spec.model_copy(update={"train": train, "seed": i, "probes": None}) for i in range(asked.runs)]
    run([job(one) for one in specs], slots)
    seconds = None if errors else max(end for _, end in spans) - min(start for start, _ in spans)
    row = {name: getattr(asked, name) for name in throughput.SETTINGS} | {"slots": slots, "repeat": repeat}
    row |= {"seconds": seconds, "contended": contended, "error": errors[0] if errors else None}
    path = folder / throughput.FILE
    with writing(path):
        appended(path, (json.dumps(row) + "\n").encode())

"""Disks that fail under a suite: a full one, or one error of input and output, in the runner or in a worker."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import forked_server
from calls import Call, begin
from outcome import Ending, Outcome

import faulty_worker
from faulty_disk import Disk
from ppo_vs_grpo.benchmarks.run import runner
from ppo_vs_grpo.benchmarks.run.engines.forkserver import MODULE
from stopped import NAME, RUNS, finished, left, write_suite

UPDATES = 8
SEEDS = 2
"""Runs of workers whose disks fail: twice so many a call."""

NAMED = re.compile(r"Errno|os error|No space left|Input/output error")
"""What a failed run's error says of a disk."""

Seen = tuple[Ending, str]

COUNTED = re.compile(r"disk: (\d+) operations")


def disks(trials: int, scratch: Path) -> dict[str, list[Outcome]]:
    """So many faults, half of them in workers, half in the runner; afterwards the disk is well, and the suite ends."""
    rng = random.Random(0)
    in_workers, in_runner = scratch / "workers", scratch / "runner"
    for folder in (in_workers, in_runner):
        folder.mkdir()
    workers = write_suite(in_workers, SEEDS, UPDATES, probes=False)
    alone = write_suite(in_runner, 1, UPDATES, probes=False)
    return {
        "failing disks of workers": list(of_workers(trials - trials // 2, workers, rng)),
        "failing disks of the runner": list(of_runner(trials // 2, alone, rng)),
    }


def run(suite: Path, results: Path, disk: Disk | None = None, faults: Mapping[str, Any] | None = None) -> Call:
    """Run a suite to its end, with a disk of the runner's or of some workers' that fails."""

    def fail() -> None:
        helpers = str(Path(faulty_worker.__file__).parent)
        os.environ["PYTHONPATH"] = os.pathsep.join([helpers, *filter(None, [os.environ.get("PYTHONPATH")])])
        forked_server.install()
        runner.WORKER = (*MODULE, "faulty_worker", json.dumps(faults or {}))
        if disk:
            disk.install()

    call = begin(["run", str(suite), "--results", str(results)], results.with_suffix(".txt"), fail)
    call.wait()
    return call


def of_workers(trials: int, suite: Path, rng: random.Random) -> Iterator[Outcome]:
    """Each run of a call has a fault of its own; then the same command without any."""
    alone, failed = suite.parent / "alone", suite.parent / "failed"
    if (call := run(suite, alone)).code != 0:
        yield Outcome("the suite that is left alone", "wrong", call.said[-500:])
        return
    expected = left(alone)
    asked = {key: operations(alone / RUNS / key) for key in expected}
    while trials > 0:
        chosen = rng.sample(sorted(expected), min(trials, len(expected)))
        faults = {key: {"first": rng.randint(1, asked[key]), "full": rng.random() < 0.5} for key in chosen}
        call = run(suite, failed, faults=faults)
        ended = {key: ended_as(failed / RUNS / key) for key in chosen}
        wrong = wrong_at_last(suite, failed, expected)
        for key in chosen:
            name = f"{key} {faults[key]} of {asked[key]}"
            yield Outcome(name, *(unexplained(call) or wrong.get(key) or ended[key]))
        trials -= len(chosen)
        shutil.rmtree(failed)


def of_runner(trials: int, suite: Path, rng: random.Random) -> Iterator[Outcome]:
    """Each call has one fault; then the same command without any."""
    alone, failed = suite.parent / "alone", suite.parent / "failed"
    counting = Disk(str(alone.absolute()))
    if (call := run(suite, alone, counting)).code != 0:
        yield Outcome("the suite that is left alone", "wrong", call.said[-500:])
        return
    expected = left(alone)
    for _ in range(trials):
        first, full = rng.randint(1, counting.count.value), rng.random() < 0.5
        call = run(suite, failed, Disk(str(failed.absolute()), first, full))
        wrong = wrong_at_last(suite, failed, expected)
        found = unexplained(call) or next(iter(wrong.values()), None)
        name = f"operation {first} of {counting.count.value}{' and all after' if full else ''}"
        yield Outcome(name, *(found or ("named" if call.code else "survived", "")))
        shutil.rmtree(failed)


def wrong_at_last(suite: Path, results: Path, expected: Mapping[str, Any]) -> dict[str, Seen]:
    """Run what is left with a disk that is well; by run, what is wrong then."""
    done, call = finished(results), run(suite, results)
    if call.code != 0:
        return dict.fromkeys(expected, ("lost", f"exit code {call.code} without a fault: {call.said[-300:]}"))
    verify = begin(["verify", str(results / NAME / "report")], results.with_suffix(".txt"))
    if verify.wait() != 0:
        return dict.fromkeys(expected, ("wrong", verify.said[-300:]))
    found, now = left(results), finished(results)
    differing: dict[str, Seen] = {
        key: ("wrong", f"{key} is not the run that was left alone")
        for key in expected
        if found.get(key) != expected[key]
    }
    return differing | {
        key: ("lost", f"{key} had ended, and its manifest is another")
        for key, manifest in done.items()
        if now.get(key) != manifest
    }


def operations(folder: Path) -> int:
    """How often a run asked something of the disk."""
    return int(COUNTED.findall((folder / "stdout.log").read_text())[-1])


def ended_as(folder: Path) -> Seen:
    """How a run with a fault ended: well, or with an error that names it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if manifest["status"] == "ok":
        return "survived", ""
    return ("named", "") if NAMED.search(manifest["error"]) else ("traceback", manifest["error"])


def unexplained(call: Call) -> Seen | None:
    """What is wrong where a call did not end with a message."""
    if call.code not in (0, 1, 2) or "Traceback" in call.said:
        return "traceback", f"exit code {call.code}: {call.said[-600:]}"
    return None

"""A suite whose processes are killed at random instants: the same command goes on, and leaves the records of a suite
that was left alone."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import forked_server
import psutil
from calls import Call, begin
from outcome import Ending, Outcome

from stopped import (
    NAME,
    RUNS,
    checkpoints,
    comes,
    finished,
    is_locked,
    kill_all,
    left,
    server_of,
    workers_of,
    write_suite,
)

Kind = Literal["a worker", "the runner", "all processes", "the fork server"]

SHARES: dict[Kind, int] = {"a worker": 15, "the runner": 3, "all processes": 1, "the fork server": 1}
"""Of twenty kills."""

PAUSES_S: dict[Kind, float] = {"a worker": 1.5, "the runner": 8, "all processes": 8, "the fork server": 8}
"""The longest time from a kill, or from the start of what is killed, to the next one."""

SEEDS = 4
"""Of a suite; one more for each 50 kills, since a call of more runs takes more of them."""
CALLS = 200
"""A suite that has not ended after so many calls does not end."""

GOES_ON = re.compile(r"goes on from update (\d+)")
BUSY = "another run is writing to it; wait for it or stop it"


def kills(trials: int, scratch: Path) -> dict[str, list[Outcome]]:
    """So many kills, by whom they hit and when: a tenth of a suite with probes, which take most of its time."""
    rng = random.Random(0)
    waiting = [kind for kind, share in SHARES.items() for _ in range(max(1, trials * share // 20))]
    rng.shuffle(waiting)
    probed = waiting[: len(waiting) // 10]
    rows: dict[str, list[Outcome]] = {}
    for kinds, seeds, probes in ((probed, 1, True), (waiting[len(probed) :], SEEDS + trials // 50, False)):
        folder = scratch / f"{seeds} seeds"
        folder.mkdir()
        start = as_ever if probes else forked_server.install
        for outcome in of_suite(write_suite(folder, seeds, probes=probes), kinds, rng, start):
            rows.setdefault(f"kills of {outcome.name}", []).append(outcome)
    return dict(sorted(rows.items()))


def as_ever() -> None:
    """The fork server starts as it does for a user."""


def of_suite(suite: Path, waiting: list[Kind], rng: random.Random, start: Callable[[], None]) -> Iterator[Outcome]:
    """These kills of one suite, whose fork servers start so. Where it has ended, it begins anew in an empty folder."""
    alone = suite.parent / "alone"
    call = begin(["run", str(suite), "--results", str(alone)], suite.parent / "alone.txt", start)
    if call.wait() != 0:
        yield Outcome("the suite that is left alone", "wrong", call.said[-500:])
        return
    expected = left(alone)
    while waiting:
        series = Series(suite, suite.parent / "killed", waiting, rng, start)
        series.run()
        series.judge(expected)
        yield from series.outcomes
        shutil.rmtree(series.results)


@dataclass
class Series:
    """One suite that is stopped again and again until it has ended.

    `ended_well` has the manifests of the runs that are done. `owed` has by killed run the checkpoints that it had: it
    is to go on from each, or from a later one.
    """

    suite: Path
    results: Path
    waiting: list[Kind]
    rng: random.Random
    start: Callable[[], None]
    outcomes: list[Outcome] = field(default_factory=list)
    ended_well: dict[str, bytes] = field(default_factory=dict)
    owed: dict[str, list[int]] = field(default_factory=dict)

    def run(self) -> None:
        """Give the command until the suite has ended; each call is disturbed as long as kills are left."""
        self.results.mkdir()
        for _ in range(CALLS):
            call, before = self._begin(), len(self.outcomes)
            while self.waiting and self._hit(call):
                pass
            code = call.wait()
            self._look(call)
            if code == 0:
                return
            if code not in (1, -signal.SIGKILL) or len(self.outcomes) == before:
                return self._fault("lost", f"exit code {code} and nobody was killed: {call.said[-300:]}")
        self._fault("lost", f"the suite has no end after {CALLS} calls")

    def judge(self, expected: Mapping[str, Any]) -> None:
        """Compare what the suite left with what it leaves when left alone, and ask whether its report is true."""
        try:
            found = left(self.results)
        except (OSError, ValueError) as error:
            return self._fault("lost", f"{type(error).__name__}: {error}")
        for run, records in expected.items():
            if found.get(run) != records:
                self._fault("wrong", f"{run} is not the run that was left alone")
        for run, updates in self.owed.items():
            log = (self.results / RUNS / run / "stdout.log").read_text(errors="replace")
            went = [int(update) for update in GOES_ON.findall(log)]
            if len(went) < len(updates) or max(went, default=0) < max(updates, default=0):
                self._fault("lost", f"{run} had checkpoints of {updates} when it was killed, and went on from {went}")
            if "Traceback" in log:
                self._fault("traceback", f"{run}: {log[-300:]}")
        verify = begin(["verify", str(self.results / NAME / "report")], self.results / "verify.txt")
        if verify.wait() != 0:
            self._fault("wrong", verify.said[-300:])

    def _begin(self) -> Call:
        """The command at once; where runs of a killed runner still work it has to say so, and comes again."""
        locked = is_locked(self.results)
        call = self._call()
        if locked and comes(lambda: call.poll() is not None or server_of(call.pid)) and call.poll() is not None:
            if call.code != 2 or BUSY not in call.said:
                self._fault("wrong", f"the results were locked, exit code {call.code}: {call.said[-300:]}")
            if not comes(lambda: not is_locked(self.results)):
                self._fault("lost", "the results stay locked")
            return self._call()
        return call

    def _call(self) -> Call:
        return begin(["run", str(self.suite), "--results", str(self.results)], self.results / "screen.txt", self.start)

    def _hit(self, call: Call) -> bool:
        """Kill what is next in turn after a pause. False where the call has ended, or ends by it."""
        kind, late = self.waiting[-1], self.rng.random() < 0.5
        if not comes(lambda: call.poll() is not None or self._targets(kind, call, late)):
            return False
        time.sleep(self.rng.uniform(0, PAUSES_S[kind]))
        if call.poll() is not None:
            return False
        if targets := self._targets(kind, call, late):
            process, run = self.rng.choice(targets)
            self._kill(kind, process, [(process, run)] if kind == "a worker" else workers_of(call.pid))
            self.waiting.pop()
        return kind in ("a worker", "the fork server")

    def _kill(self, kind: Kind, process: psutil.Process, workers: list[tuple[psutil.Process, Path]]) -> None:
        """Kill a process, or all of them; `workers` are those that work for it, with their runs."""
        name = f"{kind} {instant_of(*workers[0])}" if kind == "a worker" else kind
        had = {run.name: checkpoints(run)[-1:] for _, run in workers}
        if kind == "all processes":
            kill_all(process.pid)
        else:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.outcomes.append(Outcome(name, "survived"))
        if kind != "the runner":  # its runs work on
            comes(lambda: all(map(has_ended, [process, *[worker for worker, _ in workers]])))  # one may end its run yet
            ended = finished(self.results)
            for run, updates in had.items():
                self.owed.setdefault(run, []).extend(() if run in ended else updates)

    def _targets(self, kind: Kind, call: Call, late: bool) -> list[tuple[psutil.Process, Path]]:
        """What may be killed; `late`: of workers those alone whose run has a checkpoint, as half of the kills ask."""
        if kind == "a worker":
            return [(process, run) for process, run in workers_of(call.pid) if checkpoints(run) or not late]
        with suppress(psutil.NoSuchProcess):
            process = server_of(call.pid) if kind == "the fork server" else psutil.Process(call.pid)
            return [(process, self.results)] if process else []
        return []

    def _look(self, call: Call) -> None:
        """After a call: is what had ended still there, and did the command explain itself?"""
        if "Traceback" in call.said:
            self._fault("traceback", call.said[-300:])
        now = finished(self.results)
        for run, manifest in self.ended_well.items():
            if now.get(run) != manifest:
                self._fault("lost", f"{run} had ended, and its manifest is another")
        self.ended_well = now

    def _fault(self, ending: Ending, seen: str) -> None:
        """Put it down to the last kill."""
        name = self.outcomes.pop().name if self.outcomes else "nothing yet"
        self.outcomes.append(Outcome(name, ending, seen))


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or waits for its parent only."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def instant_of(process: psutil.Process, run: Path) -> str:
    """When in a run its process is killed, by the files that it has written so far."""
    try:
        since = process.create_time()
    except psutil.NoSuchProcess:
        return "at its end"

    def wrote(pattern: str) -> bool:
        return any(os.path.exists(path) and path.stat().st_mtime >= since for path in run.glob(pattern))

    if wrote("*.parquet"):
        return "at its end"
    if wrote("checkpoints/.part"):
        return "that writes a checkpoint"
    return "in training" if wrote("*.jsonl") else "at its start"

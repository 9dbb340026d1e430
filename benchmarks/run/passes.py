"""The passes of a suite: its start models, training, timing and throughput, each as jobs for an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ppo_vs_grpo.benchmarks.records.folder import MANIFEST, is_finished
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest, write_manifest
from ppo_vs_grpo.benchmarks.run.attempts import retried
from ppo_vs_grpo.benchmarks.run.engines.forkserver import ForkServer
from ppo_vs_grpo.benchmarks.run.engines.job import Interruption, Job, Watch, reason_of
from ppo_vs_grpo.benchmarks.run.engines.local import run_jobs
from ppo_vs_grpo.benchmarks.run.heartbeat import HEARTBEAT, still
from ppo_vs_grpo.benchmarks.run.machine import CONTENDED_CORES, busy_cores, cores
from ppo_vs_grpo.benchmarks.run.progress import Board, Steps
from ppo_vs_grpo.benchmarks.run.state import RunState
from ppo_vs_grpo.benchmarks.run.throughput import due, measure
from ppo_vs_grpo.benchmarks.run.writing import check_still_held, writing
from ppo_vs_grpo.benchmarks.suites.sections import Limits, Throughput

ENGINES: dict[str, Callable[..., None]] = {"local": run_jobs}
"""By name, the functions that run jobs as `run_jobs` does, each a file of engines/."""


@dataclass(frozen=True, slots=True)
class Passes:
    """One call of `run_specs`: its settings, and the three passes. `training` are options of the training runs."""

    folder: Path
    runs: Sequence[RunState]
    models: dict[str, Path]
    slots: int
    device: str
    worker: Sequence[str]
    board: Board
    interruption: Interruption
    servers: dict[int, ForkServer] | None
    lock_fd: int
    training: tuple[str, ...]
    limits: Limits
    environment: tuple[str, ...]

    def build(self, builds: Mapping[str, Sequence[str]]) -> None:
        """Make the missing start models; the runs of a task whose start model fails have failed.

        One thread each, whatever the slots: a start model's numbers depend on the number of threads.
        """
        needed = {run.spec.task for run in self.runs if run.state == "waiting"}
        paths = {self.models[task] for task in needed}
        jobs = [self._build(label, command) for label, command in builds.items() if self.models[label] in paths]
        if jobs:
            self.board.say(f"building {len(jobs)} start model{'s' * (len(jobs) > 1)}")
            self._run(jobs, self.slots, Steps(jobs, self.board).tell)

    def train(self) -> None:
        """Train in all slots, each run with the threads that its spec says: their number changes its numbers."""
        runs = self._waiting("train")
        if runs:
            threads = runs[0].spec.threads or cores()
            self.board.say(f"training: {len(runs)} runs, {self.slots} at a time, {threads} thread(s) each")
            jobs = [self._job(run, run.spec.threads or cores(), contended=self.slots > 1) for run in runs]
            self._run(jobs, self.slots)

    def time(self) -> None:
        """Measure time and memory, one run at a time on all cores."""
        runs = self._waiting("timing")
        if runs:
            self.board.say(f"timing: {len(runs)} runs, one at a time, {cores()} thread(s)")
            if (busy := busy_cores()) > CONTENDED_CORES:
                self.board.say(f"other processes use {busy:.1f} cores: what is timed beside them is marked contended")
            jobs = [self._job(run, cores(), contended=False) for run in runs]
            self._run(jobs, 1)

    def measure_throughput(self, asked: Throughput) -> None:
        """Count short runs an hour, some at a time, the cores shared out among them."""
        spec = next(run.spec for run in self.runs if run.spec.purpose == "train" and run.spec.arm == asked.arm)
        command = partial(self._command, spec.task, contended=True)
        for slots, repeat in due(asked, self.folder):
            self.board.say(f"throughput: {asked.runs} short runs, {slots} at a time")
            measure(asked, spec, self.folder, slots, repeat, command, self._run, self.limits)

    def _command(self, task: str, folder: Path, contended: bool) -> Sequence[str]:
        """The command that starts a run of a task in a folder."""
        options = ("--device", self.device, *(["--contended"] if contended else []))
        return (*self.worker, str(folder), str(self.models[task]), *options)

    def _run(self, jobs: Sequence[Job], slots: int, tick: Callable[[], None] | None = None) -> None:
        redraw = tick or self.board.refresh

        def look() -> None:
            check_still_held(self.folder, self.lock_fd)
            redraw()

        jobs = [replace(job, environment=self.environment) for job in jobs]
        ENGINES["local"](jobs, slots, look, self.interruption, self.servers, self.lock_fd)

    def _waiting(self, purpose: str) -> list[RunState]:
        return [run for run in self.runs if run.state == "waiting" and run.spec.purpose == purpose]

    def _build(self, label: str, command: Sequence[str]) -> Job:
        log = self.folder / "starts" / f"{label}.log"

        def prepare() -> Sequence[str]:
            check_still_held(self.folder, self.lock_fd)
            with writing(log):
                log.parent.mkdir(exist_ok=True)
                log.unlink(missing_ok=True)
            return command

        def finish(code: int) -> None:
            if code == 0:
                return
            reason = f"its start model could not be built: {reason_of(code, log)}; see {log}"
            for run in self.runs:
                if run.state == "waiting" and self.models[run.spec.task] == self.models[label]:
                    with writing(run.folder):
                        run.prepare()
                    self._fail(run, reason, contended=False)

        return Job(log, 1, prepare, finish)

    def _job(self, run: RunState, threads: int, contended: bool) -> Job:
        watch = Watch(run.folder / HEARTBEAT, self.limits)

        def prepare() -> Sequence[str]:
            check_still_held(self.folder, self.lock_fd)  # else the run would make a new one, which nobody holds
            with writing(run.folder):
                said = run.prepare()
            for told in said:
                self.board.say(f"{run.name} {told}")
            run.start()
            command = self._command(run.spec.task, run.folder, contended)
            going_on = [] if run.goes_on_from is None else ["--go-on", str(run.goes_on_from)]
            return (*command, *(self.training if run.spec.purpose == "train" else ()), *going_on)

        def finish(code: int) -> None:
            run.follow()
            if is_finished(run.folder):
                manifest = read_manifest(run.folder)
                run.end(manifest["status"], manifest["error"])
                self.board.ended(run)
            else:
                self._fail(run, watch.exceeded or reason_of(code, run.folder / "stdout.log"), contended)

        return Job(run.folder / "stdout.log", threads, prepare, finish, watch)

    def _fail(self, run: RunState, reason: str, contended: bool) -> None:
        """Write the manifest that a run could not write itself."""
        run.end("failed", reason)
        counts = ("completions", "tokens", "optimizer_steps", "train_s")
        fields = {
            **{"status": "failed", "error": reason, "contended": contended, "updates": run.updates},
            **{count: run.last.get(count, 0) for count in counts},
            **{"wall_s": run.elapsed_s, "startup_s": None, "eval_s": None, "peak_rss_bytes": None},
            "retried": retried(run.folder),
        }
        check_still_held(self.folder, self.lock_fd)
        still(run.folder)
        with writing(run.folder / MANIFEST):
            write_manifest(run.folder, run.spec.identity, fields)
        self.board.ended(run)

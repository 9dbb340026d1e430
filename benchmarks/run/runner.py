"""Run a suite: a start model per task, then one fresh process per run, then the timing pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from ppo_vs_grpo.benchmarks.models import reward, store
from ppo_vs_grpo.benchmarks.models.start import is_built
from ppo_vs_grpo.benchmarks.records import throughput
from ppo_vs_grpo.benchmarks.records.folder import claimed, is_finished, run_folder
from ppo_vs_grpo.benchmarks.records.lock import Differences, seals_before, seals_of, throughput_seal, write_lock
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest, write_manifest
from ppo_vs_grpo.benchmarks.run.context import check_contexts
from ppo_vs_grpo.benchmarks.run.device import Device, choose
from ppo_vs_grpo.benchmarks.run.engines.forkserver import MODULE, ForkServer
from ppo_vs_grpo.benchmarks.run.engines.job import Interruption, Job, interruptible, reason_of
from ppo_vs_grpo.benchmarks.run.engines.local import fork_servers, run_jobs
from ppo_vs_grpo.benchmarks.run.machine import CONTENDED_CORES, busy_cores, cores
from ppo_vs_grpo.benchmarks.run.progress import Board, Steps
from ppo_vs_grpo.benchmarks.run.slots import at_a_time, holding
from ppo_vs_grpo.benchmarks.run.state import RunState
from ppo_vs_grpo.benchmarks.run.throughput import due, measure
from ppo_vs_grpo.benchmarks.suites.continuation import refuse_another
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document, resolve
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import Throughput
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.cache import cache_folder
from ppo_vs_grpo.tasks.errors import UserError

ENGINES: dict[str, Callable[..., None]] = {"local": run_jobs}
"""By name, the functions that run jobs as `run_jobs` does, each a file of engines/."""

WORKER = (*MODULE, "ppo_vs_grpo.benchmarks.run.worker")
START = (*MODULE, "ppo_vs_grpo.benchmarks.models.store")


def run_suite(
    suite: Suite,
    source: str,
    results: Path,
    *,
    cache: Path | None = None,
    slots: int | None = None,
    device: Device = Device.auto,
    profile: bool = False,
    save_policies: bool = False,
    console: Console | None = None,
    changed: Differences | None = None,
) -> int:
    """Run what is not finished of a suite; the exit code is 0, 1 (a run failed) or 130 (interrupted).

    With `profile` each timing run leaves trace.json.gz and profile.txt beside its records, with `save_policies` each
    training run the networks that it ended with. `changed` is for the lock.

    Everything that can be wrong with the suite, its start model or the results folder is a UserError
    before the first process starts.
    """
    specs = resolve(suite, source)
    into = results / suite.name
    refuse_another(into, lock_document(suite, specs))
    if profile and suite.timing is None:
        raise UserError(
            f"{source}: --profile watches the timing pass, and this suite has none: add --set timing.updates=3"
        )
    worker = (*WORKER, "--profile") if profile else WORKER
    folder = cache_folder(cache)
    asked = {spec.task: (spec.start, spec.task_choice) for spec in specs}
    models = {
        label: store.locate(start, choice.task, choice.options, folder) for label, (start, choice) in asked.items()
    }
    for path in {path for path in models.values() if is_built(path)}:
        try:
            check_contexts([spec for spec in specs if models[spec.task] == path], path)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None  # the error begins with its key
    for label, (_, choice) in asked.items():
        try:
            reward.download(choice.options)
        except UserError as error:
            raise UserError(f"{source}: tasks.{label}.{error}") from None  # the error begins with its key
    missing = {path: label for label, path in models.items() if not is_built(path)}
    builds = {
        label: (*START, asked[label][0], asked[label][1].model_dump_json(), "--cache", str(folder))
        for label in missing.values()
    }
    place, why = choose(device, {spec.start for spec in specs})
    if console and why:
        console.print(why, markup=False, highlight=False)
    return run_specs(
        suite, specs, into, models, builds, slots=slots, device=place, console=console, worker=worker, changed=changed,
        training=["--save-policies"] if save_policies else [],
    )  # fmt: skip


def run_specs(
    suite: Suite,
    specs: Sequence[RunSpec],
    folder: Path,
    models: Mapping[str, Path],
    builds: Mapping[str, Sequence[str]],
    *,
    slots: int | None = None,
    device: str = "cpu",
    console: Console | None = None,
    worker: Sequence[str] = WORKER,
    changed: Differences | None = None,
    training: Sequence[str] = (),
) -> int:
    """Run resolved specs into a suite's folder.

    `models` has each task's start model, `builds` the commands that make the missing ones, by the label of
    one of their tasks; `worker` is the command to which a run's folder and start model are added, and for training
    runs the options `training`. Unless `slots` says otherwise, as many runs go at a time as the cores have threads
    for, on an accelerator one; on the CPU never more than the memory holds.
    """
    slots = at_a_time(slots, suite.threads, device)
    with claimed(folder) as lock_fd:
        before, document = seals_before(folder), lock_document(suite, specs, changed)
        if (folder / throughput.FILE).exists():
            throughput.read(folder, before.get(throughput.FILE))
        runs = [_state_of(spec, folder, before.get(spec.key)) for spec in specs]
        # What is yet to be written is not listed: were this process killed, an older seal of it would stay.
        write_lock(folder, document, seals_of(run.folder for run in runs if run.done))
        waiting = [run.spec for run in runs if not run.done]
        slots, lowered = holding(slots, waiting, models) if device == "cpu" else (slots, None)
        board = Board(console or Console(), suite.name, runs, slots)
        with interruptible() as interruption, fork_servers() as servers, board:
            # The driver of an accelerator does not survive a fork: there each run imports for itself.
            forking = servers if device == "cpu" else None
            options = ("--checkpoint", suite.checkpoint.model_dump_json(), *training)
            passes = _Passes(
                folder, runs, dict(models), slots, device, worker, board, interruption, forking, lock_fd, options
            )
            if lowered:
                board.say(lowered)
            try:
                passes.build(builds)
                passes.train()
                passes.time()
                if suite.throughput:
                    passes.measure_throughput(suite.throughput)
            except KeyboardInterrupt:
                board.interrupted = True
        write_lock(folder, document, seals_of(run.folder for run in runs) | throughput_seal(folder))
    board.conclude()
    if board.interrupted:
        return 130
    failed = any(run.state == "failed" for run in runs) or any(row["error"] for row in throughput.read(folder))
    return 1 if failed else 0


@dataclass(frozen=True, slots=True)
class _Passes:
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
            measure(asked, spec, self.folder, slots, repeat, command, self._run)

    def _command(self, task: str, folder: Path, contended: bool) -> Sequence[str]:
        """The command that starts a run of a task in a folder."""
        options = ("--device", self.device, *(["--contended"] if contended else []))
        return (*self.worker, str(folder), str(self.models[task]), *options)

    def _run(self, jobs: Sequence[Job], slots: int, tick: Callable[[], None] | None = None) -> None:
        tick = tick or self.board.refresh
        ENGINES["local"](jobs, slots, tick, self.interruption, self.servers, self.lock_fd)

    def _waiting(self, purpose: str) -> list[RunState]:
        return [run for run in self.runs if run.state == "waiting" and run.spec.purpose == purpose]

    def _build(self, label: str, command: Sequence[str]) -> Job:
        log = self.folder / "starts" / f"{label}.log"

        def prepare() -> Sequence[str]:
            log.parent.mkdir(exist_ok=True)
            log.unlink(missing_ok=True)
            return command

        def finish(code: int) -> None:
            if code == 0:
                return
            reason = f"its start model could not be built: {reason_of(code, log)}; see {log}"
            for run in self.runs:
                if run.state == "waiting" and self.models[run.spec.task] == self.models[label]:
                    run.prepare()
                    self._fail(run, reason, contended=False)

        return Job(log, 1, prepare, finish)

    def _job(self, run: RunState, threads: int, contended: bool) -> Job:
        def prepare() -> Sequence[str]:
            for told in run.prepare():
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
                self._fail(run, reason_of(code, run.folder / "stdout.log"), contended)

        return Job(run.folder / "stdout.log", threads, prepare, finish)

    def _fail(self, run: RunState, reason: str, contended: bool) -> None:
        """Write the manifest that a run could not write itself."""
        run.end("failed", reason)
        counts = ("completions", "tokens", "optimizer_steps", "train_s")
        fields = {
            **{"status": "failed", "error": reason, "contended": contended, "updates": run.updates},
            **{count: run.last.get(count, 0) for count in counts},
            **{"wall_s": run.elapsed_s, "startup_s": None, "eval_s": None, "peak_rss_bytes": None},
        }
        write_manifest(run.folder, run.spec.identity, fields)
        self.board.ended(run)


def _state_of(spec: RunSpec, folder: Path, listed: str | None) -> RunState:
    """A run's state: done already where a finished run's manifest says so. A failed one waits again.

    `listed` is the seal that the lock of an earlier call has for it.
    """
    run = RunState(spec, run_folder(folder, spec.purpose, spec.key))
    if is_finished(run.folder):
        status = read_manifest(run.folder, listed)["status"]
        if status != "failed":
            run.end(status)
            run.follow()
    return run

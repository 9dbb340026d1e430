"""Run a suite: a start model per task, then one fresh process per run, then the timing pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ppo_vs_grpo.benchmarks.models import reward, store
from ppo_vs_grpo.benchmarks.models.start import is_built
from ppo_vs_grpo.benchmarks.records import throughput
from ppo_vs_grpo.benchmarks.records.folder import LOCK, claimed, is_finished, run_folder
from ppo_vs_grpo.benchmarks.records.lock import Differences, seals_before, seals_of, throughput_seal, write_lock
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest
from ppo_vs_grpo.benchmarks.run.attempts import Retry
from ppo_vs_grpo.benchmarks.run.context import check_contexts
from ppo_vs_grpo.benchmarks.run.device import Device, choose
from ppo_vs_grpo.benchmarks.run.engines.forkserver import MODULE
from ppo_vs_grpo.benchmarks.run.engines.job import interruptible
from ppo_vs_grpo.benchmarks.run.engines.local import fork_servers
from ppo_vs_grpo.benchmarks.run.passes import Passes
from ppo_vs_grpo.benchmarks.run.progress import Board
from ppo_vs_grpo.benchmarks.run.slots import at_a_time, holding
from ppo_vs_grpo.benchmarks.run.state import RunState
from ppo_vs_grpo.benchmarks.run.writing import writing
from ppo_vs_grpo.benchmarks.suites.continuation import refuse_another
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document, resolve
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.cache import cache_folder
from ppo_vs_grpo.tasks.environment import passing
from ppo_vs_grpo.tasks.errors import UserError

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
    retry: Retry = Retry.failed,
) -> int:
    """Run what is not finished of a suite; the exit code is 0, 1 (a run failed) or 130 (interrupted).

    With `profile` each timing run leaves trace.json.gz and profile.txt beside its records, with `save_policies` each
    training run the networks that it ended with. `changed` is for the lock; `retry` says which runs that have an end
    begin again.

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
            with passing(suite.environment):
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
        training=["--save-policies"] if save_policies else [], retry=retry,
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
    retry: Retry = Retry.failed,
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
        runs = [_state_of(spec, folder, before.get(spec.key), retry) for spec in specs]
        # What is yet to be written is not listed: were this process killed, an older seal of it would stay.
        with writing(folder / LOCK):
            write_lock(folder, document, seals_of(run.folder for run in runs if run.done))
        waiting = [run.spec for run in runs if not run.done]
        slots, lowered = holding(slots, waiting, models) if device == "cpu" else (slots, None)
        board = Board(console or Console(), suite.name, runs, slots, retry)
        with interruptible() as interruption, fork_servers() as servers, board:
            # The driver of an accelerator does not survive a fork: there each run imports for itself.
            forking = servers if device == "cpu" else None
            options = ("--checkpoint", suite.checkpoint.model_dump_json(), *training)
            passes = Passes(
                folder, runs, dict(models), slots, device, worker, board, interruption, forking, lock_fd, options,
                suite.limits, tuple(suite.environment),
            )  # fmt: skip
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
        with writing(folder / LOCK):
            write_lock(folder, document, seals_of(run.folder for run in runs) | throughput_seal(folder))
    board.conclude()
    if board.interrupted:
        return 130
    failed = any(run.state == "failed" for run in runs) or any(row["error"] for row in throughput.read(folder))
    return 1 if failed else 0


def _state_of(spec: RunSpec, folder: Path, listed: str | None, retry: Retry) -> RunState:
    """A run's state: done already where its manifest says so and `retry` does not let it begin again.

    `listed` is the seal that the lock of an earlier call has for it.
    """
    run = RunState(spec, run_folder(folder, spec.purpose, spec.key))
    if is_finished(run.folder):
        manifest = read_manifest(run.folder, listed)
        if manifest["status"] in retry.ends:
            run.before = manifest["status"]
        else:
            run.end(manifest["status"], manifest["error"])
            run.follow()
    return run

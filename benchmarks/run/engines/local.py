"""Run commands as child processes, some at a time; none outlives the runner that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ppo_vs_grpo.benchmarks.run.engines.forkserver import ForkedProcess, ForkServer
from ppo_vs_grpo.benchmarks.run.engines.job import Interruption, Job
from ppo_vs_grpo.benchmarks.run.writing import writing
from ppo_vs_grpo.tasks.environment import allowed

POLL_S = 0.2
GRACE_S = 5.0
MOST_POLLS = 5
"""A poll that came later counts as so many towards a run's limits: the runner itself had been stopped."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


Process = subprocess.Popen[bytes] | ForkedProcess


@contextmanager
def fork_servers() -> Iterator[dict[int, ForkServer]]:
    """One fork server per thread count, started on demand; all end with the block."""
    servers: dict[int, ForkServer] = {}
    try:
        yield servers
    finally:
        for server in servers.values():
            server.kill()


def run_jobs(
    jobs: Sequence[Job],
    slots: int,
    tick: Callable[[], None],
    interruption: Interruption,
    servers: dict[int, ForkServer] | None,
    lock_fd: int | None = None,
) -> None:
    """Run jobs in order, `slots` at a time, calling `tick` at every poll.

    A process whose limits are exceeded is ended. A request to stop ends the children and raises KeyboardInterrupt.
    Without `servers` nothing is forked. `lock_fd` is handed down, so that a child that outlives a killed runner still
    holds the runner's lock.
    """
    waiting = deque(jobs)
    running: list[tuple[Process, Job]] = []
    polled_s = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < slots and not interruption.requested:
                job = waiting.popleft()
                running.append((_launch(job, lock_fd, servers), job))
            time.sleep(POLL_S)
            if interruption.requested:
                raise KeyboardInterrupt
            passed_s, polled_s = min(time.monotonic() - polled_s, MOST_POLLS * POLL_S), time.monotonic()
            _stop([process for process, job in running if job.watch and job.watch.is_over(passed_s)])
            for process, job in [(p, job) for p, job in running if p.poll() is not None]:
                running.remove((process, job))
                job.finish(process.wait())
            tick()
    finally:
        _stop([process for process, _ in running])


def _launch(job: Job, lock_fd: int | None, servers: dict[int, ForkServer] | None) -> Process:
    """Start a job in a process group of its own, which the terminal's Ctrl-C does not reach."""
    command = job.prepare()
    threads = dict.fromkeys(THREAD_VARIABLES, str(job.threads))
    environment = allowed(os.environ, job.environment) | threads | {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
    if servers is not None:
        forked = servers.setdefault(job.threads, ForkServer(environment, lock_fd)).fork(command, job.log)
        if forked is not None:
            return forked
    with writing(job.log):
        log = job.log.open("ab")
    with log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if lock_fd is None else (lock_fd,),
            env=environment,
        )


def _stop(processes: Sequence[Process]) -> None:
    """End the process groups: ask first, then kill what is left after the grace period."""
    for process in processes:
        process.poll()
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process group; where its server still imports, end that instead."""
    if process.pid is None and isinstance(process, ForkedProcess):
        process.server.kill()
    elif process.pid is not None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)

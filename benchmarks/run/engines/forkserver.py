"""Processes forked from one that has imported torch and transformers, which takes longer than a short run.

The runner starts one server per thread count and asks it for one process per run. Each process has the environment
of its run, a process group of its own and the log as its output, as without a server; only its imports are done.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ppo_vs_grpo.benchmarks.run.writing import writing

# -P keeps the current folder, where a user's files may bear any name, off the child's import path.
MODULE = (sys.executable, "-P", "-m")
"""The beginning of a command that a server can run: a module of this package follows; its `main` takes the rest."""

PRELOADED = (
    "ppo_vs_grpo.algorithms.shared.trainer",
    "ppo_vs_grpo.benchmarks.run.evaluate",
    "ppo_vs_grpo.benchmarks.run.machine",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "torch._dynamo",  # torch's optimizers ask for it at their first step
)
"""Modules that every run imports. TRL is left out: only peers need it, and every run would carry it. pyarrow is left
out: it starts a thread, and a thread does not survive a fork."""


@dataclass(slots=True)
class ForkedProcess:
    """A process that a server forked, with the part of `subprocess.Popen` that the runner uses."""

    server: ForkServer
    pid: int | None = None
    returncode: int | None = None

    def poll(self) -> int | None:
        """The return code, None while the process runs."""
        self.server.hear(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the return code. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise subprocess.TimeoutExpired("a forked run", timeout or 0.0)
            self.server.hear(left_s)
        return self.returncode


@dataclass(slots=True)
class ForkServer:
    """The runner's end: starts the server with the first process that is asked of it.

    It goes on until it is killed or its input ends, which also comes when the runner is killed: then its processes go
    on, and it with them.
    """

    environment: Mapping[str, str]
    lock_fd: int | None
    _process: subprocess.Popen[bytes] | None = None
    _asked: list[ForkedProcess] = field(default_factory=list)
    _heard: bytes = b""

    def fork(self, command: Sequence[str], log: Path) -> ForkedProcess | None:
        """Ask for a process. Returns None if the command is no module of this package or the server is gone."""
        if tuple(command[:3]) != MODULE or not sys.platform.startswith("linux"):
            return None
        if self._process is None:
            self._process = self._start(log)
        forked = ForkedProcess(self)
        line = json.dumps({"number": len(self._asked), "command": list(command[3:]), "log": str(log)}) + "\n"
        try:
            os.write(self._stdin(), line.encode())
        except BrokenPipeError:  # it failed to import: a process of its own will say why
            return None
        self._asked.append(forked)
        return forked

    def hear(self, timeout_s: float | None) -> None:
        """Read the server's news of its processes, waiting up to `timeout_s` for some."""
        process = self._process
        if process is None or process.stdout is None or process.stdout.closed:
            return
        if not select.select([process.stdout], [], [], timeout_s)[0]:
            return
        said = os.read(process.stdout.fileno(), 65536)
        if not said:
            process.stdout.close()
            self._end(process.wait())
            return
        *lines, self._heard = (self._heard + said).split(b"\n")
        for line in lines:
            news = json.loads(line)
            forked = self._asked[news.pop("number")]
            forked.pid, forked.returncode = news["pid"], news["code"]

    def kill(self) -> None:
        """End the server and its processes, after reading its last news."""
        if self._process is not None and self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.kill()
            while not self._process.stdout.closed:
                self.hear(None)

    def _start(self, log: Path) -> subprocess.Popen[bytes]:
        with writing(log):
            file = log.open("ab")
        with file:  # for what goes wrong before the first run begins, and takes its log
            return subprocess.Popen(
                [*MODULE, "ppo_vs_grpo.benchmarks.run.engines.forkserver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
                pass_fds=() if self.lock_fd is None else (self.lock_fd,),
                env=self.environment,
            )

    def _stdin(self) -> int:
        if self._process is None or self._process.stdin is None:
            raise BrokenPipeError
        return self._process.stdin.fileno()

    def _end(self, code: int) -> None:
        """The server is gone. Nobody would learn how its processes end, so they are killed."""
        for forked in self._asked:
            if forked.returncode is None:
                forked.returncode = code
                if forked.pid is not None:
                    with suppress(ProcessLookupError):
                        os.killpg(forked.pid, signal.SIGKILL)


def main() -> int:
    """Import, then fork one process per line of standard input. Each start and each end is a line of output."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    _preload()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    numbers: dict[int, int] = {}
    heard, asking = b"", True
    while asking or numbers:
        ready = select.select([0, woken] if asking else [woken], [], [])[0]
        if woken in ready:
            os.read(woken, 65536)
            _reap(numbers)
        if asking and 0 in ready:
            said = os.read(0, 65536)
            asking = bool(said)
            *lines, heard = (heard + said).split(b"\n")
            for line in lines:
                order = json.loads(line)
                if (pid := os.fork()) == 0:
                    os.close(woken)
                    os.close(wake)
                    return _become(**order)
                numbers[pid] = order["number"]
    return 0


def _preload() -> None:
    """Import what every run imports, and keep it from the runs' garbage collections."""
    for name in PRELOADED:
        importlib.import_module(name)
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("llama")  # 900 patterns are compiled by the first model that is loaded
    gc.collect()
    gc.freeze()


def _become(number: int, command: Sequence[str], log: str) -> int:
    """Become the requested process. Returns its exit code."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    _say(number, os.getpid(), None)  # by itself, once it has its group: who hears it can end it
    for standard, flags, path in ((0, os.O_RDONLY, os.devnull), (1, os.O_WRONLY | os.O_CREAT | os.O_APPEND, log)):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, standard)
        os.close(opened)
    os.dup2(1, 2)
    module = importlib.import_module(command[0])
    sys.argv = [str(module.__file__), *command[1:]]
    code: int = module.main(list(command[1:]))
    return code


def _reap(numbers: dict[int, int]) -> None:
    """Reap the processes that ended."""
    for pid in list(numbers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _say(numbers.pop(pid), pid, os.waitstatus_to_exitcode(status))


def _say(number: int, pid: int, code: int | None) -> None:
    with suppress(BrokenPipeError):  # the runner is gone: its processes go on, and keep its lock
        os.write(1, json.dumps({"number": number, "pid": pid, "code": code}).encode() + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())

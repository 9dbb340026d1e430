"""A fork server that is forked itself, from a process with its imports done: to import torch takes most of a kill."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from multiprocessing import resource_tracker, util
from pathlib import Path
from typing import Any, BinaryIO, cast

from ppo_vs_grpo.benchmarks.run.engines import forkserver
from ppo_vs_grpo.benchmarks.run.engines.forkserver import ForkServer
from stopped import SERVER

PR_SET_NAME = 15


def install() -> None:
    """Let the servers of this process start so."""
    ForkServer._start = start  # type: ignore[method-assign]


class Forked:
    """The part of `subprocess.Popen` that a `ForkServer` uses."""

    def __init__(self, pid: int, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout

    def kill(self) -> None:
        """Kill it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def start(server: ForkServer, log: Path) -> subprocess.Popen[bytes]:
    """In the place of `ForkServer._start`: the same process, but for its imports."""
    (asked, asking), (news, telling) = os.pipe(), os.pipe()
    with log.open("ab") as file:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.setsid()
                for standard, given in ((0, asked), (1, telling), (2, file.fileno())):
                    os.dup2(given, standard)
                vars(resource_tracker._resource_tracker).update(_fd=None, _pid=None)  # what it listens to is closed
                os.closerange(3, server.lock_fd or 3)
                os.closerange((server.lock_fd or 2) + 1, 256)
                ctypes.CDLL(None).prctl(PR_SET_NAME, SERVER.encode(), 0, 0, 0)
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                os.environ.clear()
                os.environ.update(server.environment)
                code = forkserver.main()
            except BaseException:
                traceback.print_exc()
            finally:
                util._exit_function()  # of multiprocessing: what an interpreter does at its end
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
    os.close(asked)
    os.close(telling)
    return cast(Any, Forked(pid, os.fdopen(asking, "wb", 0), os.fdopen(news, "rb", 0)))

"""The command line in a process that is forked from this one: its imports are done."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ppo_vs_grpo.benchmarks.__main__ import main
from ppo_vs_grpo.benchmarks.run.engines.forkserver import PRELOADED
from stopped import kill_all

for name in (*PRELOADED, "ppo_vs_grpo.benchmarks.run.runner", "ppo_vs_grpo.benchmarks.analysis.report.write"):
    importlib.import_module(name)

CALL_S = 900.0
"""A call that has not ended by then hangs."""


@dataclass(slots=True)
class Call:
    """A command that was begun: its process, its screen, and its exit code once it has one; negative by a signal."""

    pid: int
    screen: Path
    code: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while the process runs."""
        if self.code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if ended else None
        return self.code

    def wait(self) -> int:
        """Wait for the exit code. One that hangs is killed with all that it started, which its code then says."""
        deadline = time.monotonic() + CALL_S
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                kill_all(self.pid)
            time.sleep(0.01)
        return code

    @property
    def said(self) -> str:
        """What stands on its screen."""
        return self.screen.read_text(encoding="utf-8", errors="replace")


def begin(arguments: Sequence[str], screen: Path, before: Callable[[], None] = lambda: None) -> Call:
    """Begin a command in a group of its own; `before` is called in its process."""
    sys.stdout.flush()
    if pid := os.fork():
        return Call(pid, screen)
    code = 70
    with suppress(BaseException):
        code = _become(arguments, screen, before)
    os._exit(code)


def _become(arguments: Sequence[str], screen: Path, before: Callable[[], None]) -> int:
    """Be the command. Returns its exit code; a traceback is on the screen, as an interpreter of its own leaves it."""
    import traceback

    os.setsid()
    opened = os.open(screen, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for standard, file in ((0, nothing), (1, opened), (2, opened)):
        os.dup2(file, standard)
    sys.argv = ["ppo-vs-grpo", *arguments]
    try:
        before()
        main()
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()

"""A child process that calls functions for its parent, and is killed when one of them takes too long."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from ppo_vs_grpo.tasks.environment import of_children

LOAD_LIMIT_S = 300.0
"""To import a function's module: TRL's rewards take 3 s on an idle machine."""

SCORING_BYTES = 2 * 2**30
"""Memory for one call of a rule that reads a completion: a hostile text is to be wrong, not to take the machine."""


class FailedCall(Exception):
    """A function that raised, took too long or ended its process; the message says which."""


class NotLoaded(Exception):
    """A function that is not there, or whose module cannot be imported."""


@dataclass(frozen=True, slots=True)
class Place:
    """A function as `package.module:function` or `file.py:function`; with options it is called for the real one."""

    place: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.place} {sorted(self.options.items())}"


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments that a function takes by name, those without default, and whether it takes any others."""

    names: Sequence[str]
    required: Sequence[str]
    takes_all: bool

    def takes(self, name: str) -> bool:
        """Whether an argument of this name can be given."""
        return self.takes_all or name in self.names


class Worker:
    """A child process for functions, started when first needed. Functions keep their state from call to call.

    Its standard output is the parent's standard error. It ends when this object does, and with its parent. With
    `memory_bytes` a call that takes more memory than that raises MemoryError in it, where the system can tell.
    """

    def __init__(self, memory_bytes: int = 0) -> None:
        self._memory_bytes = memory_bytes
        self._process: _Process | None = None
        self._loaded: dict[str, Signature] = {}

    def signature(self, function: Place) -> Signature:
        """What the function takes. Raises NotLoaded."""
        process = self._running()
        if function.key not in self._loaded:
            try:
                found = self._ask(
                    process, ("load", (function.key, function.place, dict(function.options))), LOAD_LIMIT_S
                )
            except FailedCall as error:
                raise NotLoaded(str(error)) from None
            self._loaded[function.key] = Signature(*found)
        return self._loaded[function.key]

    def call(self, function: Place, arguments: Mapping[str, Any], limit_s: float) -> list[Any]:
        """What the function returns for the arguments, as a list.

        Raises FailedCall, after `limit_s` seconds too: then the process is killed, and the next call starts another.
        """
        self.signature(function)
        found: list[Any] = self._ask(self._running(), ("call", (function.key, dict(arguments))), limit_s)
        return found

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
        self._process, self._loaded = None, {}

    def _running(self) -> _Process:
        if self._process is None or self._process.popen.poll() is not None:
            self.close()
            self._process = _start(self._memory_bytes)
            weakref.finalize(self, self._process.end)
        return self._process

    def _ask(self, process: _Process, request: tuple[str, Any], limit_s: float) -> Any:
        try:
            process.wire.send(request)
            if not process.wire.poll(limit_s):
                raise FailedCall(f"took longer than {limit_s:g} s")
            became, outcome = process.wire.recv()
        except (EOFError, OSError):
            code = process.popen.wait()
            self.close()
            raise FailedCall(f"ended its process with exit code {code}") from None
        except BaseException:  # Ctrl-C too: the answer to this request must not be taken for the next one's
            self.close()
            raise
        if became == "failed":
            raise FailedCall(f"raised {outcome}")
        return outcome


@dataclass(frozen=True, slots=True, eq=False)
class _Process:
    popen: subprocess.Popen[bytes]
    wire: Connection

    def end(self) -> None:
        """Kill the process and wait for its end. Once is as good as twice."""
        self.wire.close()
        self.popen.kill()
        self.popen.wait()


def _start(memory_bytes: int) -> _Process:
    ours, theirs = Pipe()
    given = map(str, (theirs.fileno(), os.getpid(), memory_bytes))
    command = [sys.executable, "-P", "-m", "ppo_vs_grpo.tasks.rewards.child", *given]
    started = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        pass_fds=[theirs.fileno()],
        env=of_children() | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    theirs.close()
    return _Process(started, ours)

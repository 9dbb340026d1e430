"""The process in which users' functions run: `python -P -m ppo_vs_grpo.tasks.rewards.child SOCKET PARENT BYTES`.

It answers requests over a socket, one after the other, in its main thread, so that functions may use signals. It ends
with its parent, even while a function hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import importlib
import importlib.util
import inspect
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

LINUX_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""

LOGS = ("log_extra", "log_metric")
"""TRL's functions that log, which it hands to rewards."""

Reply = tuple[str, Any]
"""What became of a request, "done" or "failed", and its outcome or the reason."""


def find(place: str, options: dict[str, Any]) -> Callable[..., Any]:
    """The function of `package.module:function` or `file.py:function`; with options, what it returns for them."""
    module, _, name = place.rpartition(":")
    if module.endswith(".py"):
        path = Path(module).expanduser().resolve()
        sys.path.insert(0, str(path.parent))  # as if it were run: its neighbours can be imported
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = loaded
        spec.loader.exec_module(loaded)
    else:
        loaded = importlib.import_module(module)
    function = getattr(loaded, name)
    made = function(**options) if options else function
    if not callable(made):
        raise TypeError(f"{name} is {made!r}, no function")
    found: Callable[..., Any] = made
    return found


def unlogged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with TRL's functions that log, as far as it takes them; here they do nothing."""
    names, _, takes_all = arguments_of(function)
    return functools.partial(function, **{name: _ignore for name in LOGS if takes_all or name in names})


def arguments_of(function: Callable[..., Any]) -> tuple[list[str], list[str], bool]:
    """The arguments that a function takes by name, those of them without default, and whether it takes any others."""
    try:
        taken = inspect.signature(function).parameters.values()
    except ValueError:  # some builtins say nothing
        return [], [], True
    named = [p for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p.name for p in named if p.default is p.empty]
    return [p.name for p in named], required, any(p.kind is p.VAR_KEYWORD for p in taken)


def serve(wire: Connection, memory_bytes: int = 0) -> None:
    """Answer requests until the parent is gone; calls have so much memory on top of what loading took, if it is set."""
    requests: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(wire, requests), daemon=True).start()
    loaded: dict[str, Callable[..., Any]] = {}
    with asyncio.Runner() as loop:
        while True:
            kind, given = requests.get()
            try:
                if kind == "load":
                    key, place, options = given
                    loaded[key] = unlogged(find(place, options))
                    if memory_bytes:
                        _bound_memory(memory_bytes)
                    reply: Reply = ("done", arguments_of(loaded[key]))
                else:
                    key, arguments = given
                    reply = ("done", _call(loaded[key], arguments, loop))
            except BaseException as error:  # whatever it is, it is the function's
                reply = ("failed", _told(error))
            wire.send(reply)


def _call(function: Callable[..., Any], arguments: dict[str, Any], loop: asyncio.Runner) -> Any:
    returned = function(**arguments)
    if inspect.isawaitable(returned):
        returned = loop.run(_wait(returned))
    try:
        values = list(returned)
    except TypeError:
        raise TypeError(f"it returned {returned!r:.200}, no list of rewards") from None
    return [_plain(value) for value in values]


async def _wait(returned: Awaitable[Any]) -> Any:
    return await returned


def _plain(value: Any) -> Any:
    """A number as Python's own, whichever library's it is; what is none as text that says so."""
    if hasattr(value, "item") and getattr(value, "size", 1) in (1, ()):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | tuple):
        return value
    try:
        return float(value) if not isinstance(value, str | bytes) else repr(value)
    except (TypeError, ValueError, OverflowError):
        return repr(value)


def _ignore(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


def _told(error: BaseException) -> str:
    """The error in a line, with the place of the function that raised it."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def _receive(wire: Connection, requests: queue.SimpleQueue[tuple[str, Any]]) -> None:
    """Pass requests on, and end the process when the parent has ended."""
    while True:
        try:
            requests.put(wire.recv())
        except (EOFError, OSError):
            os._exit(0)


def _die_with_parent(parent: int) -> None:
    """On Linux the kernel ends this process with its parent, even where a function never lets another thread run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(LINUX_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _bound_memory(memory_bytes: int) -> None:
    """Let allocations fail beyond what there is now and `memory_bytes`; some systems do not count them."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + memory_bytes, most))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _die_with_parent(int(sys.argv[2]))
    serve(Connection(int(sys.argv[1])), int(sys.argv[3]))

"""Run a mirror of results in wandb beside a suite, and keep account of what is mirrored.

The mirror itself is a process of its own (`tracking.__main__`), so that it can neither stop nor slow the runs.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO

from ppo_vs_grpo.benchmarks.records.folder import LOCK, MANIFEST, fingerprint, is_finished, run_folder
from ppo_vs_grpo.benchmarks.tracking.account import ACCOUNT, account_is_damaged, mirrored_so_far
from ppo_vs_grpo.tasks.environment import allowed

WAIT_S = 30.0
"""How long a suite that is done waits for the rest to be mirrored."""

HURRY_S = 5.0
"""The same for one that was interrupted or went wrong."""

OFFLINE = "offline-run-*"
"""What wandb calls a run's folder that waits to be sent."""

OURS = re.compile(r"WANDB_.+|NETRC|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(HTTPS?|ALL|NO)_PROXY", re.IGNORECASE)
"""Variables that a mirror gets besides those of every child: wandb's own, and those that lead to its server."""

MODULE = "ppo_vs_grpo.benchmarks.tracking"


class Mode(StrEnum):
    """Where a mirror goes: to the server, to files that `wandb sync` sends later, or nowhere."""

    online = "online"
    offline = "offline"
    off = "off"


@contextmanager
def mirrored(folder: Path, mode: Mode) -> Iterator[None]:
    """Mirror a suite's folder while the block runs; whatever goes wrong with that is one line on stderr.

    The mirror learns of the block's end from the end of its input, which also comes when this process is killed.
    """
    if mode is Mode.off:
        yield
        return
    if account_is_damaged(folder):
        print(f"wandb: {folder / ACCOUNT}: damaged; everything is mirrored again", file=sys.stderr)
    command = [sys.executable, "-P", "-m", MODULE, str(folder), "--mode", mode.value, "--follow"]
    with ExitStack() as open_files:
        patience_s, process, reason = HURRY_S, None, ""
        try:
            log = open_files.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
                env=allowed(os.environ, filter(OURS.fullmatch, os.environ)),
            )  # fmt: skip
        except OSError as error:  # no memory, no processes or no disk left: the suite may still do without
            reason = f"it cannot be started: {error.strerror or error}"
        try:
            yield
            patience_s = WAIT_S
        finally:
            if process:
                reason = _conclude(process, patience_s, log)
            if reason and (folder / LOCK).exists():
                later = f"python -m {MODULE} {folder} --mode {mode.value}"
                print(f"wandb: {_left(folder, mode)} not mirrored ({reason}); later: {later}", file=sys.stderr)
            if mode is Mode.offline and any(folder.glob(f"wandb/{OFFLINE}")):
                print(f"wandb: the runs lie on this machine; to send them: wandb sync {folder / 'wandb' / OFFLINE}")


def _conclude(process: subprocess.Popen[bytes], patience_s: float, log: IO[bytes]) -> str:
    """Let a mirror finish, but not for long; returns why it did not, or an empty text."""
    try:
        if process.stdin:
            process.stdin.close()
        if process.wait(patience_s) == 0:
            return ""
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        return f"not done after {patience_s:g} s"
    finally:
        with suppress(ProcessLookupError, PermissionError):  # the latter of a group that is gone, on macOS
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _left(folder: Path, mode: Mode) -> str:
    """The runs that are not mirrored yet, in words."""
    try:
        from ppo_vs_grpo.benchmarks.records.lock import run_names  # loads pydantic, which `--help` need not

        places = [run_folder(folder, name.purpose, name.key) for name in run_names(folder)]
        ended = [place for place in places if is_finished(place)]
        done = mirrored_so_far(folder).get(mode.value, {})
        left = sum(done.get(place.name) != fingerprint(place / MANIFEST) for place in ended)
    except Exception:  # whatever became of the folder's files: that is not the place to end a suite
        return "some runs"
    return f"{left} of {len(ended)} runs" if left else "the report"

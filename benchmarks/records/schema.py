"""The columns and phases of a run's records, and checks of their JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ppo_vs_grpo.algorithms.shared.config import PHASES as PHASES
from ppo_vs_grpo.tasks.errors import UserError, nearest

RUN_COLUMNS = (
    *("key", "suite", "purpose", "arm", "algorithm", "task", "seed", "cfg8", "protocol", "status", "error"),
    *("updates", "completions", "tokens", "optimizer_steps", "train_s", "wall_s", "startup_s", "eval_s"),
    *("peak_rss_bytes", "contended"),
)


METRIC_COLUMNS = (
    *("update", "completions", "tokens", "optimizer_steps", "warmup", "reward_mean", "reward_std", "pass_rate"),
    *("reward_std_within_group", "silent_group_fraction", "completion_tokens_mean", "ended_fraction", "entropy"),
    *("kl_reference", "clip_fraction", "ratio_error_max", "policy_loss", "value_loss", "value_explained_variance"),
    *("advantage_std", "grad_norm", "grad_norm_value", "learning_rate", "skipped_steps"),
    *(f"{phase}_s" for phase in PHASES),
    "train_s",
)


EVAL_COLUMNS = (
    *("update", "completions", "prompt", "stratum", "samples", "passes", "reward_mean", "greedy_pass"),
    *("greedy_reward", "completion_tokens_mean"),
)


LENGTH_COLUMNS = ("passed_tokens_mean", "passed_cut", "failed_cut")
"""Columns of evaluations that earlier records lack: mean tokens of the samples that passed, how many were cut off."""


MEMORY_COLUMNS = ("phase", "role", "source", "bytes")


SAMPLE_COLUMNS = ("update", "prompt", "completion", "reward", "passed")
"""Later records also have `tokens` and `ended`."""


PROBE_COLUMNS = ("update", "completions", "probe", "subject", "quantity", "position", "value", "se")


ROW_KEYS = {
    "metrics": ("update",),
    "evals": ("update", "completions", "prompt"),
    "memory": ("phase", "role", "source"),
    "probes": ("update", "completions", "probe", "subject", "quantity", "position"),
}
"""By a file of rows, the columns in which no two of its rows are equal."""


TEXT_COLUMNS = {"stratum", "phase", "role", "source", "probe", "subject", "quantity"}


def read_text(path: Path) -> str:
    """A file's text. Raises UserError where it cannot be read, and where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; a UserError says in which line it stops being one."""
    if not path.exists():
        raise UserError(f"{path}: missing; every run has one. Delete the run's folder and run the suite again")
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg}); expected an object") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a thousand levels
        raise UserError(f"{path}: not JSON that this package writes ({str(error).splitlines()[0]})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}; expected an object")
    return value


def check_columns(path: Path, expected: Iterable[str], found: Iterable[str]) -> None:
    """Raise a UserError for the first expected name that was not found, with what was."""
    found = list(found)
    for name in expected:
        if name not in found:
            raise UserError(f"{path}: {name!r} is missing; {nearest(name, found)}")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines that hold objects with the same keys; a UserError names the line that does not."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = getattr(error, "msg", None) or str(error).splitlines()[0]
            raise UserError(f"{path}, line {number}: not JSON ({why}); expected one object a line") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: holds a {type(row).__name__}; expected an object")
        check_columns(Path(f"{path}, line {number}"), rows[0] if rows else (), row)
        for name, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{path}, line {number}: {name!r} is {value}; expected a finite number or null")
        rows.append(row)
    return rows

"""A suite that goes on in a folder that has results of it: more seeds are added, another configuration is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ppo_vs_grpo.benchmarks.records.folder import LOCK, PARTS, is_finished
from ppo_vs_grpo.benchmarks.records.lock import Differences, differences, read_lock
from ppo_vs_grpo.benchmarks.suites.load import load_suite, read_yaml
from ppo_vs_grpo.benchmarks.suites.mistakes import explain
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError

SHOWN = 4
"""So many differences of a suite stand in a message."""


def seeds_in(text: str) -> list[int]:
    """The seeds that `--seeds` names: `8-15`, `3,5` or both. Raises UserError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise UserError(f"--seeds {text}: should be a range from low to high, as in 8-15, or numbers, as in 3,5")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def grown(suite: Suite, folder: Path, seeds: Sequence[int] | None, source: str) -> Suite:
    """The suite with the seeds that the folder has, then those asked for: `seeds`, or else its own.

    Raises UserError for a seed that no such suite may have.
    """
    there = _there(folder)
    asked = list(seeds or suite.seeds)
    every = list(dict.fromkeys([*(there[0]["seeds"] if there else []), *asked]))
    try:
        return Suite.model_validate(suite.model_dump() | {"seeds": every})
    except ValidationError as error:
        raise explain(error, Suite, source) from None


def refuse_another(folder: Path, lock: Mapping[str, Any]) -> None:
    """Raise a UserError where results of the folder would be no part of the suite of this lock any more."""
    there = _there(folder)
    if there is None or set(there[1]) <= set(lock["keys"]):
        return
    found = differences(there[0], lock["suite"])
    parts = [f"{key} is {_short(old)} there and {_short(new)} here" for key, (old, new) in found.items()]
    if len(parts) > SHOWN:
        parts[SHOWN:] = [f"{len(parts) - SHOWN} more"]
    what = "; ".join(parts) or "its runs were measured by another version of the protocol, a task or a start model"
    raise UserError(
        f"{folder}: results of another configuration lie there: {what}. Give these a place of their own with "
        f"--name NAME, or delete {folder / LOCK} to replace on purpose"
    )


def changed_from_file(path: Path, suite: Suite) -> Differences:
    """In what a suite as it is run differs from its file; a lock file says in what it differed itself."""
    before = load_suite(path).model_dump(mode="json")
    recorded = read_yaml(path).get("changed") or {}
    found = differences(before, suite.model_dump(mode="json"))
    both = recorded | {key: [recorded.get(key, [old])[0], new] for key, (old, new) in found.items()}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def _there(folder: Path) -> tuple[dict[str, Any], list[str]] | None:
    """The suite and the keys of a folder with results; None where there is nothing to lose."""
    runs = (run for part in PARTS.values() for run in folder.glob(f"{part}/*"))
    if not ((folder / "report").exists() or any(is_finished(run) for run in runs)):
        return None
    try:
        return read_lock(folder)
    except UserError:  # a broken lock file: the suite writes it anew
        return None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

"""suite.lock.yaml: the suite with every default written out, its runs' keys and seals; in what two suites differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.records import throughput
from ppo_vs_grpo.benchmarks.records.folder import LOCK, RunName, fingerprint, is_finished, run_name, write_whole
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest
from ppo_vs_grpo.benchmarks.records.schema import read_text
from ppo_vs_grpo.benchmarks.records.seal import seal_of, sealed
from ppo_vs_grpo.tasks.errors import UserError, nearest

MEND = "run the suite again: that writes it anew"

CHANGING_NOTHING = ("name", "description", "checkpoint", "limits", "environment", "search")
"""Keys of a suite that change nothing of its runs or its verdicts."""

Differences = dict[str, list[Any]]
"""By key, as in `train.beta`, the value of one suite or spec and that of the other."""


def write_lock(folder: Path, document: Mapping[str, Any], seals: Mapping[str, str]) -> None:
    """Write the lock file. `document` is that of `suites.resolve.lock_document`, `seals` is from `seals_of`."""
    import yaml

    content = sealed({**document, "seals": dict(seals)})
    write_whole(folder / LOCK, yaml.safe_dump(content, sort_keys=False))


def seals_of(places: Iterable[Path]) -> dict[str, str]:
    """The seals of the runs in these folders, by key; a run that has no end or no seal is not in it."""
    ended = [read_manifest(place) for place in places if is_finished(place)]
    return {manifest["key"]: manifest["seal"] for manifest in ended if "seal" in manifest}


def throughput_seal(folder: Path) -> dict[str, str]:
    """The hash of throughput.jsonl by its name; empty where there is none."""
    path = folder / throughput.FILE
    return {path.name: fingerprint(path)} if path.exists() else {}


def read_lock(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The suite and its runs' keys, as the lock file has them.

    Raises UserError for a folder that is no suite's, and for a lock that was changed since it was written.
    """
    lock = _checked(folder)
    return lock["suite"], [str(key) for key in lock["keys"]]


def read_seals(folder: Path) -> dict[str, str] | None:
    """The seals of the runs that had ended when the lock was written, by key, and the hash of throughput.jsonl.

    None where the lock was written before there were seals. Raises UserError as `read_lock` does.
    """
    lock = _checked(folder)
    return dict(lock["seals"]) if "seal" in lock else None


def seals_before(folder: Path) -> dict[str, str]:
    """The seals of a lock that is about to be written anew; none where no lock is there, or none to be trusted."""
    try:
        return read_seals(folder) or {}
    except UserError:
        return {}


def run_names(folder: Path) -> list[RunName]:
    """The runs that the lock file names, in its order.

    Raises UserError for what is no run's key, a key of no arm, task or seed of the suite, and two keys of one run.
    """
    suite, keys = read_lock(folder)
    tasks = {*suite["tasks"], *((suite.get("timing") or {}).get("cells") or {})}
    names: dict[str, RunName] = {}
    for key in keys:
        place = f"{folder / LOCK}: keys: {key!r}"
        if (name := run_name(key)) is None:
            raise UserError(f"{place}: not a run's key, such as ppo.sorting.s0.0123abcd")
        if name.arm not in suite["arms"] or name.task not in tasks:
            raise UserError(f"{place}: an arm or task that is not in the file's `suite`; {MEND}")
        if name.purpose == "train" and name.seed not in suite["seeds"]:
            raise UserError(f"{place}: its seed is not in the file's `suite`; {MEND}")
        cell = key.rpartition(".")[0]
        if (other := names.setdefault(cell, name)) is not name:
            raise UserError(f"{place}: the same arm, task and seed as {other.key!r}; {MEND}")
    return list(names.values())


def read_changed(folder: Path) -> Differences:
    """In what a suite differed from its file, as its lock file says; see `document`. UserError as `read_lock`."""
    return dict(_checked(folder).get("changed") or {})


def document(suite: Mapping[str, Any], keys: Sequence[str], changed: Differences) -> dict[str, Any]:
    """The content of suite.lock.yaml: the suite with every default written out, its hash, its runs' keys.

    `changed` is how it differs from the file it comes from; where it does not, the lock says nothing of it.
    """
    digest = hashlib.sha256(json.dumps(suite, sort_keys=True).encode()).hexdigest()
    return {"suite": dict(suite), "hash": digest, "keys": list(keys)} | ({"changed": changed} if changed else {})


def differences(one: Any, other: Any, key: str = "") -> Differences:
    """Where two suites or specs differ, but for what changes nothing of a suite; None stands for what one lacks."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return {} if one == other else {key: [one, other]}
    found: Differences = {}
    for name in dict.fromkeys([*one, *other]):
        if key or name not in CHANGING_NOTHING:
            found |= differences(one.get(name), other.get(name), f"{key}.{name}" if key else str(name))
    return found


def _checked(folder: Path) -> dict[str, Any]:
    """The lock file's content, of the kinds that are expected and with an intact seal, if it has one."""
    path = folder / LOCK
    if not path.is_file():
        siblings = sorted(p.parent.name for p in folder.parent.glob(f"*/{LOCK}"))
        hint = nearest(folder.name, siblings) if siblings else "run a suite first"
        raise UserError(f"{folder}: not a suite's results: no {LOCK} there; {hint}")
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read(path: Path, mtime_ns: int) -> dict[str, Any]:
    """The same of the file. It is read again only after a change: who watches a suite asks every second."""
    lock: dict[str, Any] = _parsed(path)
    _check_kinds(path, lock, {"suite": dict, "keys": list})
    _check_kinds(path, lock["suite"], {"name": str, "arms": dict, "tasks": dict, "seeds": list})
    for name in ("arms", "tasks", "seeds"):
        if not lock["suite"][name]:
            raise UserError(f"{path}: suite: {name!r} is empty; {MEND}")
    if "seals" in lock or "seal" in lock:
        _check_kinds(path, lock, {"seals": dict, "seal": str})
        if lock["seal"] != (right := _seal(lock)):
            raise UserError(
                f"{path}: changed since the suite wrote it: its seal is {lock['seal'][:12]}..., its content gives "
                f"{right[:12]}... Restore it, or {MEND}"
            )
    return lock


def _seal(lock: Mapping[str, Any]) -> str:
    try:
        return seal_of(lock)
    except TypeError:  # YAML knows dates and keys that JSON does not, and no suite writes them
        return "none"


def _parsed(path: Path) -> Any:
    from ppo_vs_grpo.benchmarks.records.yaml_text import parse_yaml

    try:
        return parse_yaml(read_text(path), str(path))
    except UserError as error:
        raise UserError(f"{error}; {MEND}") from None


def _check_kinds(path: Path, holder: Any, kinds: Mapping[str, type]) -> None:
    """Raise a UserError unless `holder` is a mapping with these names, each of its kind."""
    for name, kind in kinds.items():
        if not isinstance(holder, dict) or not isinstance(holder.get(name), kind):
            raise UserError(f"{path}: no {name!r} that is a {kind.__name__}; {MEND}")

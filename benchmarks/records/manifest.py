"""The manifest: written last, checked first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.records.folder import LOCK, MANIFEST, NETWORKS, fingerprint, run_name
from ppo_vs_grpo.benchmarks.records.schema import ROW_KEYS, RUN_COLUMNS, check_columns, read_lines, read_object
from ppo_vs_grpo.benchmarks.records.seal import seal_of, sealed
from ppo_vs_grpo.tasks.errors import UserError

MEND = "Restore it, or delete the run's folder and run the suite again"

READ = ("spec.json", "env.json", *(f"{name}.{kind}" for name in ROW_KEYS for kind in ("jsonl", "parquet")))
"""The files of a run that a reader opens. A manifest names those that are there."""

NUMBERS = ("updates", "completions", "tokens", "optimizer_steps", "train_s")


def write_manifest(folder: Path, identity: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Write manifest.json by a rename: who the run is, how it ended, the hash of every other file but the log, and
    a seal over all that.

    Hashes of its networks stand apart, as `weights`: who reads the records does not read gigabytes, and weights may be
    deleted. `identity` is that of `RunSpec.identity`.
    """
    ignored = {MANIFEST, "stdout.log"}
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in ignored)
    content = {**identity, **fields, "files": {path.name: fingerprint(path) for path in files}}
    networks = sorted(path for name in NETWORKS for path in (folder / name).glob("*"))
    if networks:
        content["weights"] = {str(path.relative_to(folder)): fingerprint(path) for path in networks}
    manifest = sealed(content)
    scratch = folder / f".{MANIFEST}"
    scratch.write_text(json.dumps(manifest, indent=1) + "\n")
    scratch.rename(folder / MANIFEST)


STATUSES = ("ok", "diverged", "failed")


def read_manifest(folder: Path, listed: str | None = None) -> dict[str, Any]:
    """Read manifest.json and check its keys, that it belongs to this folder, and its seal.

    `listed` is the seal that the suite's lock has for the run. A manifest without a seal, which was written before
    there were seals, is read unless the lock has one. Raises UserError.
    """
    path = folder / MANIFEST
    manifest = read_object(path)
    check_columns(path, [*RUN_COLUMNS, "files"], manifest)
    if manifest["status"] not in STATUSES:
        raise UserError(f"{path}: status is {manifest['status']!r}; expected one of {', '.join(STATUSES)}")
    if manifest["key"] != folder.name:
        raise UserError(f"{path}: key is {manifest['key']!r}; expected the folder's name, {folder.name!r}")
    _check_values(path, manifest)
    _check_seal(path, manifest, listed)
    return manifest


def _check_values(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raise a UserError for what the key says otherwise, and for a value of a wrong kind."""
    name = run_name(manifest["key"])
    for field, right in name._asdict().items() if name else ():
        if manifest[field] != right:
            raise UserError(f"{path}: {field} is {manifest[field]!r}, its key says {right!r}. {MEND}")
    kinds = dict.fromkeys(NUMBERS, (int, float)) | {"protocol": int, "contended": bool, "files": dict}
    for field, kind in kinds.items():
        if not isinstance(manifest[field], kind):
            raise UserError(f"{path}: {field} is a {type(manifest[field]).__name__}. {MEND}")


def _check_seal(path: Path, manifest: Mapping[str, Any], listed: str | None) -> None:
    """Raise a UserError unless the manifest is as it was written, and is the one that the lock means."""
    seal = manifest.get("seal")
    if "seal" not in manifest and listed is None:
        return
    if not isinstance(seal, str):
        raise UserError(f"{path}: it has no seal, {LOCK} has one for it. {MEND}")
    if seal != (right := seal_of(manifest)):
        raise UserError(
            f"{path}: changed since the run ended: its seal is {seal[:12]}..., its content gives {right[:12]}... {MEND}"
        )
    if listed not in (None, seal):
        raise UserError(f"{path}: its seal is {seal[:12]}..., {LOCK} has {str(listed)[:12]}... for it. {MEND}")


def check_hashes(folder: Path, files: Mapping[str, str]) -> None:
    """Compare each file that a manifest names with its SHA-256. A file to be read has to be named, too. UserError."""
    for name in READ:
        if name not in files and (folder / name).exists():
            raise UserError(f"{folder / name}: there, but {MANIFEST} does not name it. {MEND}")
    for name, expected in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing, but manifest.json names it. {MEND}")
        try:
            found = fingerprint(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        if found != expected:
            if path.suffix == ".jsonl":
                read_lines(path)  # names the broken line, if one is
            raise UserError(
                f"{path}: changed since the run ended: its sha256 is {found[:12]}..., manifest.json says "
                f"{str(expected)[:12]}... {MEND}"
            )


def changed_weights(folder: Path) -> list[str]:
    """The files of a run's networks that are there and are not what its manifest says."""
    weights: Mapping[str, str] = read_object(folder / MANIFEST).get("weights", {})
    return [
        name for name, digest in weights.items() if (path := folder / name).exists() and fingerprint(path) != digest
    ]


def is_complete(status: str, completions: int, spec: Mapping[str, Any]) -> bool:
    """Whether a run has a final score: it came to its budget's end, even if it diverged there."""
    return status == "ok" or (status == "diverged" and completions >= planned_completions(spec))


def planned_completions(spec: Mapping[str, Any]) -> int:
    """Completions of a run that reaches its budget; a last partial batch is not run."""
    train = spec["train"]
    batch = int(train["prompts_per_update"]) * int(train["group_size"])
    return int(train["completions"]) // batch * batch

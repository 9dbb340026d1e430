"""The manifest: written last, checked first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.records.folder import MANIFEST, fingerprint
from ppo_vs_grpo.benchmarks.records.schema import RUN_COLUMNS, check_columns, read_lines, read_object
from ppo_vs_grpo.tasks.errors import UserError


def write_manifest(folder: Path, identity: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Write manifest.json by a rename: who the run is, how it ended, and the hash of every other file but the log.

    `identity` is that of `RunSpec.identity`.
    """
    ignored = {MANIFEST, "stdout.log"}
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in ignored)
    manifest = {
        **identity,
        **fields,
        "files": {path.name: fingerprint(path) for path in files},
    }
    scratch = folder / f".{MANIFEST}"
    scratch.write_text(json.dumps(manifest, indent=1) + "\n")
    scratch.rename(folder / MANIFEST)


STATUSES = ("ok", "diverged", "failed")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read manifest.json and check its keys, its status and that it belongs to this folder."""
    path = folder / MANIFEST
    manifest = read_object(path)
    check_columns(path, [*RUN_COLUMNS, "files"], manifest)
    if manifest["status"] not in STATUSES:
        raise UserError(f"{path}: status is {manifest['status']!r}; expected one of {', '.join(STATUSES)}")
    if manifest["key"] != folder.name:
        raise UserError(f"{path}: key is {manifest['key']!r}; expected the folder's name, {folder.name!r}")
    return manifest


def check_hashes(folder: Path, files: dict[str, str]) -> None:
    """Compare each file that a manifest names with its SHA-256."""
    for name, expected in sorted(files.items()):
        path = folder / name
        if not path.exists():
            raise UserError(f"{path}: missing, but manifest.json names it. Restore it, or delete the run's folder")
        found = fingerprint(path)
        if found != expected:
            if path.suffix == ".jsonl":
                read_lines(path)  # names the broken line, if one is
            raise UserError(
                f"{path}: changed since the run ended: its sha256 is {found[:12]}..., manifest.json says "
                f"{expected[:12]}... Restore it, or delete the run's folder and run the suite again"
            )


def is_complete(status: str, completions: int, spec: Mapping[str, Any]) -> bool:
    """Whether a run has a final score: it came to its budget's end, even if it diverged there."""
    return status == "ok" or (status == "diverged" and completions >= planned_completions(spec))


def planned_completions(spec: Mapping[str, Any]) -> int:
    """Completions of a run that reaches its budget; a last partial batch is not run."""
    train = spec["train"]
    batch = int(train["prompts_per_update"]) * int(train["group_size"])
    return int(train["completions"]) // batch * batch

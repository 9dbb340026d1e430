"""A run's files, edited as an accident or a hand would, or as a run would have left them: with seals that match."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from ppo_vs_grpo.benchmarks.records.lock import throughput_seal, write_lock
from ppo_vs_grpo.benchmarks.records.seal import sealed


def run_folder(folder: Path, cell: str, part: str = "runs") -> Path:
    (found,) = (folder / part).glob(f"{cell}.*")
    return found


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def by_hand(**changes: object) -> Callable[[Path], None]:
    """Change the manifest as a text editor would."""

    def edit(run: Path) -> None:
        path = run / "manifest.json"
        path.write_text(json.dumps(read_json(path) | changes))

    return edit


def without_seal(run: Path) -> None:
    """Take the manifest's seal out."""
    manifest = read_json(run / "manifest.json")
    del manifest["seal"]
    (run / "manifest.json").write_text(json.dumps(manifest))


def rehash(run: Path) -> None:
    """Make the manifest and the lock agree with the files, as if the run had written them so."""
    edit_manifest(run, files=hashes(run))


def hashes(run: Path) -> dict[str, str]:
    """The hashes of the files that the manifest names and that are there."""
    names = [name for name in read_json(run / "manifest.json")["files"] if (run / name).exists()]
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names}


def edit_manifest(run: Path, **changes: object) -> None:
    """Change a manifest as if the run had ended so."""
    reseal(run, **changes)
    relock(run.parents[1])


def reseal(run: Path, **changes: object) -> None:
    """Change a manifest and its seal, but not the lock."""
    manifest = sealed(read_json(run / "manifest.json") | changes)
    (run / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def relock(folder: Path, **suite: object) -> None:
    """Write the lock anew with the seals of the manifests, and with changes of the suite."""
    document = yaml.safe_load((folder / "suite.lock.yaml").read_text())
    manifests = {path.parent.name: read_json(path) for path in sorted(folder.glob("*/*/manifest.json"))}
    seals = {key: manifests[key]["seal"] for key in document["keys"] if "seal" in manifests.get(key, {})}
    write_lock(folder, document | {"suite": document["suite"] | suite}, seals | throughput_seal(folder))


def strip(folder: Path) -> None:
    """Take every seal out, so that the folder is one of before there were seals."""
    for path in folder.glob("*/*/manifest.json"):
        without_seal(path.parent)
    lock = yaml.safe_load((folder / "suite.lock.yaml").read_text())
    bare = {name: value for name, value in lock.items() if name not in ("seals", "seal")}
    (folder / "suite.lock.yaml").write_text(yaml.safe_dump(bare, sort_keys=False))

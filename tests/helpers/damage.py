"""A run's files, edited as an accident or a hand would."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def run_folder(folder: Path, cell: str, part: str = "runs") -> Path:
    (found,) = (folder / part).glob(f"{cell}.*")
    return found


def rehash(run: Path) -> None:
    """Make the manifest agree with the files, as if the run had written them so."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"] = {
        n: hashlib.sha256((run / n).read_bytes()).hexdigest() for n in manifest["files"] if (run / n).exists()
    }
    (run / "manifest.json").write_text(json.dumps(manifest))


def edit_manifest(run: Path, **changes: object) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | changes))

"""The account of a results folder: which runs are mirrored already."""

from __future__ import annotations

import json
from pathlib import Path

ACCOUNT = Path("wandb") / "mirrored.json"
"""Where a results folder keeps account of what is mirrored."""


def mirrored_so_far(folder: Path) -> dict[str, dict[str, str]]:
    """By mode, what is mirrored: the hash of its last file, by run. A damaged account knows of nothing."""
    return _account(folder) or {}


def account_is_damaged(folder: Path) -> bool:
    """Whether the account exists and cannot be read, such as half a file."""
    return _account(folder) is None


def _account(folder: Path) -> dict[str, dict[str, str]] | None:
    """The account: empty if there is none yet, None if it is damaged."""
    try:
        record: dict[str, dict[str, str]] = json.loads((folder / ACCOUNT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        return None
    right = isinstance(record, dict) and all(isinstance(runs, dict) for runs in record.values())
    return record if right else None

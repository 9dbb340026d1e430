"""What a suite's lock file holds, and in what two suites differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

WORDS_ONLY = ("name", "description")
"""Keys of a suite that change nothing of its runs or its verdicts."""

Differences = dict[str, list[Any]]
"""By a suite's key, as in `train.beta`, the value of one suite and that of the other."""


def document(suite: Mapping[str, Any], keys: Sequence[str], changed: Differences) -> dict[str, Any]:
    """The content of suite.lock.yaml: the suite with every default written out, its hash, its runs' keys.

    `changed` is how it differs from the file it comes from; where it does not, the lock says nothing of it.
    """
    digest = hashlib.sha256(json.dumps(suite, sort_keys=True).encode()).hexdigest()
    return {"suite": dict(suite), "hash": digest, "keys": list(keys)} | ({"changed": changed} if changed else {})


def differences(one: Any, other: Any, key: str = "") -> Differences:
    """Where two suites differ, but for name and description; None stands for what one of them does not have."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return {} if one == other else {key: [one, other]}
    found: Differences = {}
    for name in dict.fromkeys([*one, *other]):
        if key or name not in WORDS_ONLY:
            found |= differences(one.get(name), other.get(name), f"{key}.{name}" if key else str(name))
    return found

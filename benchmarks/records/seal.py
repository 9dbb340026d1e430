"""Seals: a hash over all that a run or a suite left, so that no part of it changes without a word.

A seal is no signature: who recomputes every seal leaves no trace but other seals than a copy of the lock has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def seal_of(content: Mapping[str, Any]) -> str:
    """The SHA-256, as hex digits, of a document's canonical JSON without its own `seal`."""
    unsealed = {name: value for name, value in content.items() if name != "seal"}
    return hashlib.sha256(json.dumps(unsealed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its seal, last."""
    return {**content, "seal": seal_of(content)}

"""What the embedded start models can read: their tokenizer has a token for each printable ASCII character."""

from __future__ import annotations

READABLE = frozenset((*map(chr, range(32, 127)), "\n"))


def foreign(text: str) -> str:
    """The first character that an embedded model does not read; empty where it reads all."""
    return next((character for character in text if character not in READABLE), "")

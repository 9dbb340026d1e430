"""Texts of runs as a page or a terminal can show them: nothing in them acts on a reader, and none is endless."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 2000
"""Characters of a text that are shown at most: half from its beginning, half from its end."""

JOINERS = "\u200c\u200d"
"""Invisible, but letters of Persian, of Indian scripts and of emoji take their shape from them."""


def shown(text: str, longest: int = LONGEST) -> str:
    """A text of at most so many characters, and of what would not be seen the code point.

    Of a longer text the middle is left out, and how much of it is said.
    """
    if len(text) > longest:
        half = longest // 2
        left_out = f"\n[… {len(text) - 2 * half:,} characters left out …]\n"
        return f"{visible(text[:half])}{left_out}{visible(text[-half:])}"
    return visible(text)


def in_a_line(text: str, longest: int = LONGEST) -> str:
    """The same without ends of lines."""
    return shown(text, longest).replace("\n", " ")


def visible(text: str) -> str:
    """A text with the code points of what would not be seen: control characters, as those before a terminal's colours,
    marks that turn text round, and halves of pairs. Line ends and tabs stay."""
    return text if text.isprintable() else "".join(map(_visible, text))


def whole_characters(text: str) -> str:
    """A text that can be written as UTF-8: a half of a pair, which JSON can hold, is shown as its code point."""
    return re.sub("[\ud800-\udfff]", lambda half: _visible(half[0]), text)


def _visible(character: str) -> str:
    if character in "\n\t" or character in JOINERS:
        return character
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    return f"⟨U+{ord(character):04X}⟩"

"""The one exception for a user's mistake, advice for a wrong name, and values cut to the length of a message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

BRIEF = 60
"""Characters of a value in a message that shows several, or long texts of a user's data."""


class UserError(ValueError):
    """A mistake in a suite, option, path or file. It is shown as one line without traceback; the exit code is 2."""


def nearest(name: object, known: Iterable[object]) -> str:
    """The known names as advice, the one most like `name` first: "did you mean 'lam'? Known: gamma, lam"."""
    names = [str(k) for k in known]
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    advice = f"did you mean {near[0]!r}? " if near else ""
    return f"{advice}Known: {', '.join(names)}" if names else "nothing is allowed here"


def shown(value: object, characters: int = 200) -> str:
    """A value as it is written in code, cut to so many characters."""
    written = repr(value)
    return written if len(written) <= characters else f"{written[: characters - 3]}..."

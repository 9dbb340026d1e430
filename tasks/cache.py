"""The folder in which what was made or found out once is kept: start models, and which answers could be read."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "PPO_VS_GRPO_CACHE"


def cache_folder(override: Path | None = None) -> Path:
    """The folder: the override, else the environment variable, else the user's cache folder."""
    if override is not None:
        return override.expanduser()
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    return user_cache_path("ppo-vs-grpo") / "starts"


@dataclass(frozen=True, slots=True)
class Remembered:
    """Answers to a yes-or-no question about texts, kept in a file of the cache folder from one process to the next.

    `question` is everything that decides an answer but the text, versions of packages among it: another question is
    another file. A line of the file is a digest of a text, and 1 or 0.
    """

    question: str

    def of(self, texts: Sequence[str], ask: Callable[[Sequence[str]], Sequence[bool]]) -> list[bool]:
        """The answers for the texts; `ask` is called once, with the different ones among them that are not known."""
        known = self._read()
        digests = {text: _digest(text) for text in texts}
        if unknown := [text for text, digest in digests.items() if digest not in known]:
            found = {digests[text]: answer for text, answer in zip(unknown, ask(unknown), strict=True)}
            self._add(found)
            known |= found
        return [known[digests[text]] for text in texts]

    def _path(self) -> Path:
        return cache_folder() / f"answers.{_digest(self.question)[:12]}.txt"

    def _read(self) -> dict[str, bool]:
        try:
            lines = self._path().read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            return {}
        words = [line.split(" ") for line in lines]
        return {pair[0]: pair[1] == "1" for pair in words if len(pair) == 2 and pair[1] in ("0", "1")}

    def _add(self, found: Mapping[str, bool]) -> None:
        """Append whole lines in one write, since several processes may do so at once."""
        written = "".join(f"{digest} {answer:d}\n" for digest, answer in found.items())
        with contextlib.suppress(OSError):  # a folder that cannot be written only costs the time to ask again
            self._path().parent.mkdir(parents=True, exist_ok=True)
            with self._path().open("ab", buffering=0) as file:
                file.write(written.encode("ascii"))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

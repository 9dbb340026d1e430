"""Suite files and results folders with something changed in them: each is understood, or named, and nothing else."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pandas as pd
from outcome import Outcome

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.load import load as load_what_is_whole
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.suites import SUITES
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from ppo_vs_grpo.benchmarks.suites.resolve import resolve
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results

LIMIT_S = 20
"""A suite that is not understood by then hangs."""

TEXTS = ("smoke", "core", "memory", "family", "tuning")
"""Packaged suites whose tasks and start models need no other files."""

VALUES = (
    *("", "null", "~", "true", "[]", "{}", "[1, [2]]", "{a: {b: c}}", "'", '"', "&a [*a]", "*missing", "!!float x"),
    *("-1", "0", "1e999", "-.inf", ".nan", "1_000", "0x10", "9" * 400, "1.5", "1e-320", "2026-13-45", "!!binary é"),
    *(
        "../../../etc/passwd",
        "/dev/zero",
        "x" * 5000,
        "\u202e",
        "é\U0001f600",
        "%s%n",
        "{{ 7 * 7 }}",
        "$(id)",
    ),
    *("os:system", "builtins:eval", "__import__", "nowhere.at_all:Class", "ppo_vs_grpo.tasks:make", "[ppo, ppo]"),
)


class HangError(Exception):
    """A trial took longer than LIMIT_S."""


@contextmanager
def limited(seconds: int = LIMIT_S) -> Iterator[None]:
    """Raise HangError in the block after so many seconds."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def suites(trials: int, scratch: Path) -> Iterator[Outcome]:
    """Change packaged suites, and read and resolve what comes of it."""
    path = scratch / "changed.yaml"
    texts = [(SUITES / f"{name}.yaml").read_text() for name in TEXTS]
    for name in TEXTS:  # what is imported once is no part of a trial's time
        resolve(load_suite(SUITES / f"{name}.yaml"), name)
    for seed in range(trials):
        rng = random.Random(seed)
        path.write_bytes(changed_text(rng.choice(texts), rng))

        def read() -> None:
            resolve(load_suite(path), str(path))

        yield answer(f"suite {seed}", read)


def answer(name: str, ask: Callable[[], None]) -> Outcome:
    """How a question ends: understood, named in one line, or a fault."""
    try:
        with limited():
            ask()
    except UserError as error:
        lines = str(error).splitlines()
        return (
            Outcome(name, "named", lines[0])
            if len(lines) == 1
            else Outcome(name, "traceback", f"{len(lines)} lines: {lines[0]}")
        )
    except HangError:
        return Outcome(name, "traceback", f"no answer after {LIMIT_S} s")
    except Exception as error:
        return Outcome(name, "traceback", f"{type(error).__name__}: {str(error)[:200]}")
    return Outcome(name, "survived")


def changed_text(text: str, rng: random.Random) -> bytes:
    """The text with one to three changes: of a value, a key, a line, or of bytes anywhere."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        lines = text.splitlines()
        at = rng.choice([i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")])
        line = lines[at]
        kind = rng.choice(("value", "value", "value", "key", "drop", "twice", "indent", "swap"))
        if kind == "value" and ":" in line:
            lines[at] = f"{line.partition(':')[0]}: {rng.choice(VALUES)}"
        elif kind == "key" and ":" in line:
            lines[at] = line.replace(line.strip().partition(":")[0], rng.choice(VALUES), 1)
        elif kind == "drop":
            del lines[at]
        elif kind == "twice":
            lines.insert(at, line)
        elif kind == "indent":
            lines[at] = "  " * rng.randrange(1, 4) + line
        else:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        text = "\n".join(lines)
    raw = bytearray(text.encode("utf-8", "surrogatepass"))
    if rng.random() < 0.2:
        for _ in range(rng.choice((1, 3, 20))):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def results(trials: int, scratch: Path) -> Iterator[Outcome]:
    """Change one file of a results folder, and read it: what is told must be what the runs wrote, or be left out."""
    whole = scratch / "whole"
    write_results(whole, make_suite(tasks=("sorting",), seeds=2, updates=6, prompts=4))
    before = load(whole)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    for seed in range(trials):
        rng, folder = random.Random(seed), scratch / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        file = rng.choice(files)
        change_file(folder / file, rng)
        yield told(f"results {seed} ({file})", folder, before)


def change_file(path: Path, rng: random.Random) -> None:
    """Cut, empty, delete, extend or overwrite a file, flip bits of it, or change one of its digits."""
    raw = bytearray(path.read_bytes())
    kind = rng.choice(("cut", "empty", "delete", "flip", "flip", "digit", "digit", "digit", "append", "folder"))
    digits = [i for i, byte in enumerate(raw) if byte in b"0123456789"]
    if kind == "delete":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(raw[: rng.randrange(len(raw))])
    elif kind == "append":
        path.write_bytes(raw + rng.choice((b"\n{}", b"\0", b"x: 1\n", bytes(raw[-200:]))))
    elif kind == "digit" and digits:
        at = rng.choice(digits)
        raw[at] = ord(str((int(chr(raw[at])) + rng.randrange(1, 10)) % 10))
        path.write_bytes(raw)
    else:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        path.write_bytes(raw)


def told(name: str, folder: Path, before: Results) -> Outcome:
    """What the report would read from a changed folder."""
    seen: list[Results] = []
    asked = answer(name, lambda: seen.append(load_what_is_whole(folder, strict=False)))
    if not seen:
        return asked
    left_out, kept = set(seen[0].missing["key"]), set(seen[0].runs["key"])
    for frame in ("runs", "metrics", "evals", "memory", "timing", "samples"):
        then, now = getattr(before, frame), getattr(seen[0], frame)
        expected = then[then["key"].isin(kept)].reset_index(drop=True)
        if not same(expected, now.reset_index(drop=True)):
            return Outcome(name, "wrong", f"{frame} differ, and nothing says so")
    if kept | left_out != set(before.runs["key"]):
        return Outcome(name, "wrong", "a run is neither there nor missing")
    return Outcome(name, "named" if left_out else "survived")


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two frames hold the same, the order of their columns aside."""
    return sorted(one.columns) == sorted(other.columns) and one[list(other.columns)].equals(other)

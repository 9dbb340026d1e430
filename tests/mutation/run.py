"""Mutation run: change one token of the advantage, loss and mask code at a time, and see whether a test fails.

    python tests/mutation/run.py                 every file, 45 minutes on two cores (`make mutants`)
    python tests/mutation/run.py advantages.py   that file alone, or several

The mutants (mutants.py) are made from the token stream and are the same every time. Each is put into a copy of the
repository and tested there, in a process of its own, until a test fails; one that makes a test take longer than a
minute counts as caught, by time. Every line printed is a mutant that no test caught: where it is, the change, the
line, and the reason if survivors.py has one. A survivor that is not there wants a test, or a reason there.

Exit status: 0 all well; 1 too few mutants or too few of them caught, a survivor that survivors.py does not have, or
one there that is caught now or is no mutant any more; 2 the tests fail, or could not be run, on the unmutated code.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGALRM

from child import FIRST_FAILURE, NOT_THE_COPY, OUTPUT, fork_tests, load_libraries
from mutants import TARGETS, Mutant, selected
from survivors import SURVIVORS

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path("algorithms", "shared")
COPIED = ("algorithms", "benchmarks", "tasks", "tests")
WORKERS = 2
LEAST_MUTANTS = 60
LEAST_CAUGHT = 0.95
INTERNAL_ERROR = 3  # of pytest, when a mutant's appetite meets the limit of memory outside of a test
IRRELEVANT = ("test_meters.py",)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant: the test that caught it, or `time`, or None."""

    mutant: Mutant
    caught_by: str | None


def main(files: list[str]) -> int:
    """Run, print, and say by the exit status how it went."""
    unknown = [file for file in files if file not in TARGETS]
    if unknown:
        print(f"no mutants are made of {', '.join(unknown)}; files: {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    files = files or list(TARGETS)
    started = time.monotonic()
    load_libraries()
    with tempfile.TemporaryDirectory() as folder:
        trees = [Path(folder).resolve() / str(number) for number in range(WORKERS)]
        _copy(trees[0])
        mutants = selected(trees[0] / SHARED, files)
        if not _passes_unmutated(trees[0]):
            return 2
        for tree in trees[1:]:
            shutil.copytree(trees[0], tree, symlinks=True)
        print(f"{len(mutants)} mutants; the unmutated code passes ({time.monotonic() - started:.0f} s)", flush=True)
        outcomes = sorted(_outcomes(mutants, trees), key=lambda o: (files.index(o.mutant.file), o.mutant.span))
    status = _report(outcomes, files)
    print(f"{time.monotonic() - started:.0f} s")
    return status


def _copy(tree: Path) -> None:
    """The packages and the tests, and the links by which they are imported."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", tree)
    links = tree / ".links" / "ppo_vs_grpo"
    links.mkdir(parents=True)
    for name in ("algorithms", "benchmarks", "tasks"):
        (links / name).symlink_to(f"../../{name}")


def _tests(tree: Path) -> list[str]:
    found = sorted((tree / "tests" / "algorithms").rglob("test_*.py"))
    names = [str(path.relative_to(tree)) for path in found if path.name not in IRRELEVANT]
    return [*names, "tests/benchmarks/theory/test_enumeration.py"]


def _passes_unmutated(tree: Path) -> bool:
    """Run the tests as they are; what Python compiles meanwhile stays, but for the files that get mutated."""
    _, status = os.waitpid(fork_tests(tree, "", _tests(tree)), 0)
    if status != 0:
        print((tree / OUTPUT).read_text(), file=sys.stderr)
        print(f"the tests do not pass on the unmutated code (wait status {status}): no mutants run", file=sys.stderr)
        return False
    for file in TARGETS:
        for compiled in (tree / SHARED / "__pycache__").glob(f"{Path(file).stem}.*.pyc"):
            compiled.unlink()
    return True


def _outcomes(mutants: list[Mutant], trees: list[Path]) -> Iterator[Outcome]:
    """Try every mutant, one at a time in each tree."""
    waiting, free, running = list(reversed(mutants)), list(trees), dict[int, tuple[Mutant, Path, str]]()
    while waiting or running:
        while waiting and free:
            mutant, tree = waiting.pop(), free.pop()
            path = tree / SHARED / mutant.file
            source = path.read_text(encoding="utf-8")
            path.write_text(mutant.apply(source), encoding="utf-8")
            running[fork_tests(tree, Path(mutant.file).stem, _tests(tree))] = (mutant, tree, source)
        pid, status = os.wait()
        mutant, tree, source = running.pop(pid)
        yield Outcome(mutant, _caught_by(status, tree))
        (tree / SHARED / mutant.file).write_text(source, encoding="utf-8")
        free.append(tree)


def _caught_by(status: int, tree: Path) -> str | None:
    """What the end of a run says; a run that tested nothing, or something else, ends the program."""
    if os.WIFSIGNALED(status):
        return "time" if os.WTERMSIG(status) == SIGALRM else f"signal {os.WTERMSIG(status)}"
    code = os.WEXITSTATUS(status)
    if code == INTERNAL_ERROR and "MemoryError" in (tree / OUTPUT).read_text():
        return "memory"
    if code == NOT_THE_COPY or code not in (0, 1, 2):
        print((tree / OUTPUT).read_text(), file=sys.stderr)
        raise SystemExit(f"a test run ended with {code}: it did not test the mutated copy")
    failure = tree / FIRST_FAILURE
    return None if code == 0 else failure.read_text() if failure.exists() else "import"


def _report(outcomes: list[Outcome], files: list[str]) -> int:
    """Print the survivors and the totals: 0 where they are as survivors.py says."""
    reasons = {s.key: s.reason for s in SURVIVORS}
    alive = [outcome.mutant for outcome in outcomes if outcome.caught_by is None]
    for m in alive:
        print(f"{SHARED / m.file}:{m.number} {m.function}: {m.before} -> {m.after or 'nothing'} in `{m.line}`")
        print(f"    {reasons.get(m.key, 'NOT LISTED')}")
    stale = [s for s in SURVIVORS if s.file in files and s.key not in {m.key for m in alive}]
    for survivor in stale:
        print(f"listed, but caught or gone: {survivor.file} {survivor.function}: `{survivor.mutated}`")
    caught, by_time = len(outcomes) - len(alive), sum(outcome.caught_by == "time" for outcome in outcomes)
    share = caught / max(1, len(outcomes))
    print(f"{len(outcomes)} mutants, {caught} caught ({by_time} by time), {100 * share:.1f} %")
    enough = len(outcomes) >= LEAST_MUTANTS and share >= LEAST_CAUGHT
    return 0 if enough and not stale and all(m.key in reasons for m in alive) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A campaign of faults: kills, failing disks, changed suite files, changed results folders, hostile completions.

    make chaos              200 kills, 50 failing disks, 1,500 suites, 500 results folders, 500 completions a scorer
    make chaos SHORT=1      some of each, in less than four minutes on two idle cores

A row a kind of trial; two parts at a time. Exit code 1 where a trial lost work, ended in a traceback or gave another
number without a word.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outcome import Outcome

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

TRIALS = {"kills": 200, "disks": 50, "suites": 1500, "results": 500, "completions": 500}
SHORT = {"kills": 15, "disks": 4, "suites": 150, "results": 50, "completions": 50}
"""By part, the longest first. Most of a kill's time goes to the start of what was killed: torch is imported again."""


def part(asked: tuple[str, int]) -> tuple[str, list[str], list[str], float]:
    """A part by name and trials: its name, rows of the table, faults and seconds. It imports for itself."""
    from outcome import table

    (name, trials), began_s = asked, time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        rows = [table(label, outcomes) for label, outcomes in outcomes_of(name, trials, Path(scratch)).items()]
    faults = [f"{one.name}: {one.ending}: {one.seen}" for _, found in rows for one in found]
    return name, [row for row, _ in rows], faults, time.monotonic() - began_s


def outcomes_of(name: str, trials: int, scratch: Path) -> dict[str, Iterable[Outcome]]:
    """The outcomes of one part, by row of the table."""
    if name == "kills":
        from kills import kills

        return {**kills(trials, scratch)}
    if name == "disks":
        from disks import disks

        return {**disks(trials, scratch)}
    if name == "completions":
        from completions import completions

        return {"hostile completions": completions(trials)}
    import mutations

    if name == "suites":
        return {"suite files with changes": mutations.suites(trials, scratch)}
    return {"results folders with changes": mutations.results(trials, scratch)}


def main(short: bool) -> int:
    """Print the table, each part's rows with its faults below them; 0 where there is none."""
    print("| trials of | trials | survived | named | lost | traceback | wrong |", flush=True)
    print("|---|---|---|---|---|---|---|", flush=True)
    count, seconds = 0, {}
    with get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        for name, rows, found, took_s in pool.imap_unordered(part, (SHORT if short else TRIALS).items()):
            print("\n".join([*rows, *found]), flush=True)
            count += len(found)
            seconds[name] = took_s
    print("\n" + ", ".join(f"{name} {took_s:.0f} s" for name, took_s in seconds.items()))
    return 1 if count else 0


if __name__ == "__main__":
    raise SystemExit(main(short=sys.argv[1:] == ["--short"]))

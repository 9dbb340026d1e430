"""A campaign of faults: changed suite files, changed results folders, hostile completions. A row a kind of trial.

    make chaos              1,500 suites, 500 results folders, 500 completions a scorer
    make chaos SHORT=1      a tenth of that

Exit code 1 where a trial lost work, ended in a traceback or gave another number without a word. Kills of runs at random
instants are tests: tests/benchmarks/run/test_runner_resumed.py.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from completions import completions
from mutations import results, suites
from outcome import table

TRIALS = {"suites": 1500, "results": 500, "completions": 500}


def main(short: bool) -> int:
    """Print the table, then each fault; 0 where there is none."""
    share = 10 if short else 1
    print(
        "| trials of | trials | survived | named | lost | traceback | wrong |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    faults = []
    with tempfile.TemporaryDirectory() as scratch:
        for part, outcomes in {
            "suite files with changes": suites(TRIALS["suites"] // share, Path(scratch)),
            "results folders with changes": results(TRIALS["results"] // share, Path(scratch)),
            "hostile completions": completions(TRIALS["completions"] // share),
        }.items():
            row, found = table(part, outcomes)
            print(row, flush=True)
            faults += found
    for fault in faults:
        print(f"{fault.name}: {fault.ending}: {fault.seen}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main(short=sys.argv[1:] == ["--short"]))

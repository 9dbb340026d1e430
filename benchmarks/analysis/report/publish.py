"""A suite made ready to be published: its report, its lock and its records, without the runs' folders.

    python -m ppo_vs_grpo.benchmarks.analysis.report.publish results/core results/published/core

`load`, `verify`, `compare` and the notebook work on such a folder as on the runs themselves.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ppo_vs_grpo.benchmarks.analysis.frames.load import load
from ppo_vs_grpo.benchmarks.analysis.frames.published import write_records
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.records.folder import LOCK
from ppo_vs_grpo.tasks.errors import UserError


def publish(folder: Path, out: Path) -> Path:
    """Write report, lock and records of a results folder into `out`; returns the path of records/.

    UserError where runs cannot be read: what is published is whole or says itself what is missing. What an earlier
    report left in `out` and this one has not is named by `verify`.
    """
    results = load(folder)
    write.write(results, out)
    shutil.copy(folder / LOCK, out / LOCK)
    return write_records(results, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish a folder and say how large its records are; a user's mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(description="Make a suite's results ready to be published.")
    parser.add_argument("results", type=Path, metavar="RESULTS", help="a suite's results, such as results/core")
    parser.add_argument("out", type=Path, metavar="DIR", help="where to write, such as results/published/core")
    given = parser.parse_args(arguments)
    try:
        place = publish(given.results, given.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{place}: {sum(path.stat().st_size for path in place.iterdir()) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

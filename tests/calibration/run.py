"""How often is an arm named where two are equal? A row a metric, a column a distribution of the final scores.

    make calibration             500 suites a distribution, about half an hour on two cores
    make calibration SUITES=50

Exit code 1 where a metric names a winner, on any task or over all, more often than in 5% of normal suites and three
standard errors, or in 8% of others.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from null_suites import DISTRIBUTIONS, drawn, judged, write_suite
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results

ANY = "any metric"


@cache
def written() -> Results:
    """A suite of two equal arms, written and read once a process; the others differ from it in their numbers."""
    with tempfile.TemporaryDirectory() as scratch:
        return load(write_suite(Path(scratch), drawn("normal", 0)))


def winners(question: tuple[str, int]) -> set[tuple[str, str]]:
    """The metrics that name a winner in one suite, on a task and over all of them; and whether any does."""
    named = [one for one in judged(written(), drawn(*question)) if one.winner]
    where = {(one.metric, "over all" if one.task == "all tasks" else "on a task") for one in named}
    return where | {(ANY, place) for _, place in where} | ({(ANY, "anywhere")} if where else set())


def allowed(name: str, suites: int) -> float:
    """The share of suites in which a metric may name a winner."""
    error = math.sqrt(0.05 * 0.95 / suites)
    return 0.05 + 3 * error if name == "normal" else max(0.08, 0.05 + 3 * error)


def shares(name: str, found: Iterable[set[tuple[str, str]]], suites: int) -> bool:
    """Print a distribution's shares; whether all are allowed."""
    counts = Counter(place for places in found for place in places)
    bar, fine = allowed(name, suites), True
    print(f"{name}: {suites} suites, {bar:.3f} allowed", flush=True)
    for (metric, place), count in sorted(counts.items()):
        beyond = metric != ANY and count / suites > bar
        fine &= not beyond
        print(f"  {count / suites:.3f}  {metric}, {place}{'  TOO OFTEN' if beyond else ''}", flush=True)
    return fine


def main(suites: int) -> int:
    """Simulate every distribution; 1 where a share is too large."""
    fine = True
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name in DISTRIBUTIONS:
            questions = [(name, seed) for seed in range(suites)]
            fine &= shares(name, pool.map(winners, questions, chunksize=5), suites)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))

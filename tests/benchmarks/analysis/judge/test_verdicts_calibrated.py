"""How often a report names a winner where the arms are equal: a short form of `make calibration`."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from null_suites import DISTRIBUTIONS, drawn, judged, write_suite
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge

SUITES = 12
"""Of each distribution."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return load(write_suite(tmp_path_factory.mktemp("null") / "suite", drawn("normal", 0)))


def test_other_numbers_in_the_same_rows_are_as_if_written(written: Results, tmp_path: Path) -> None:
    numbers = drawn("exponential", 3)
    assert judged(written, numbers) == judge(load(write_suite(tmp_path / "suite", numbers)))


def test_equal_arms_are_rarely_told_apart(written: Results) -> None:
    """Each metric's rows, over suites of all distributions: 8% of them at most, and three standard errors."""
    suites = len(DISTRIBUTIONS) * SUITES
    counts: Counter[tuple[str, bool]] = Counter()
    for name in DISTRIBUTIONS:
        for seed in range(SUITES):
            named = [one for one in judged(written, drawn(name, seed)) if one.winner]
            counts.update({(one.metric, one.task == "all tasks") for one in named})
    room = 0.08 + 3 * math.sqrt(0.08 * 0.92 / suites)
    assert {place: count for place, count in counts.items() if count / suites > room} == {}
    assert counts, "no winner in any suite: the test sees nothing"

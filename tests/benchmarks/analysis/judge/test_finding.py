"""Numbers and intervals as sentences show them."""

from __future__ import annotations

import pytest

from ppo_vs_grpo.benchmarks.analysis.judge.finding import amount, numbers, span
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import RATIO, Evidence
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import Adjusted


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.5, 2.0, "0.500 to 2"), (0.5, None, "0.500 or more"), (None, 2.0, "2 or less"), (None, None, "")],
)
def test_an_interval_may_be_open(low: float | None, high: float | None, words: str) -> None:
    assert span(low, high) == words
    assert amount(1.25, low, high) == f"1.25 ({words})".removesuffix(" ()")
    assert amount(None, low, high) == ""


def test_an_interval_with_one_end_has_its_level() -> None:
    nan = float("nan")
    levels = [
        numbers(Evidence(RATIO, 8, 1.0, low, high), Adjusted(0.5, nan))["level"]
        for low, high in ((0.5, 2.0), (0.5, nan), (nan, nan))
    ]
    assert levels == [0.95, 0.95, None]

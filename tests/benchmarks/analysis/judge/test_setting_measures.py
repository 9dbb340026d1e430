"""Claims on settings drawn at random: from trials written by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as oracle

from claimed import claim, claiming
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.claims import ClaimResult, judge_claims
from searched import tuned

FIRST = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.05, 0.08])
SECOND = np.array([0.5, 0.52, 0.49, 0.5, 0.53, 0.5, 0.05, 0.51])


def interleaved(drawn: np.ndarray) -> list[float]:
    """A search with these scores at random, and others between them that no claim may read."""
    return [score for one in drawn for score in (0.99, float(one))]


def judged(results: Results, measure: str, *arms: str, **more: object) -> ClaimResult:
    (found,) = judge_claims(claiming(results, {"C": claim(measure, arms, **more)}))  # type: ignore[arg-type]
    return found


@pytest.fixture
def results() -> Results:
    return tuned({"ppo": {"a": interleaved(FIRST)}, "grpo": {"a": interleaved(SECOND)}})


def test_the_score_of_random_settings(results: Results) -> None:
    found = judged(results, "settings_score", "ppo", "grpo")
    assert found.estimate == pytest.approx(np.mean(SECOND - FIRST))
    test = oracle.ttest_rel(SECOND, FIRST)
    assert found.p == pytest.approx(test.pvalue)
    assert (found.n, found.test) == (8, "paired t test over trials")
    alone = judged(results, "settings_score", "ppo", than=0.1)
    assert alone.estimate == pytest.approx(FIRST.mean())
    assert alone.p == pytest.approx(oracle.ttest_1samp(FIRST, 0.1).pvalue)


def test_how_far_scores_lie_apart(results: Results) -> None:
    found = judged(results, "settings_spread", "ppo", "grpo", side="below", than=1.0, margin=1.25)
    far = [np.abs(row - np.median(row)) for row in (FIRST, SECOND)]
    scale = (far[0].mean() + far[1].mean()) / 2
    distance = np.mean(far[1] - far[0]) / scale
    assert found.estimate == pytest.approx((2 + distance) / (2 - distance))
    assert found.p == pytest.approx(oracle.ttest_rel(far[1], far[0]).pvalue)
    same = judged(tuned({arm: {"a": [0.5] * 16} for arm in ("ppo", "grpo")}), "settings_spread", "ppo", "grpo",
                  side="below", than=1.0, margin=1.25)  # fmt: skip
    assert same.verdict == "not tested"
    assert "all trials of both arms score the same" in same.reason


def test_the_share_that_collapsed(results: Results) -> None:
    """Below 0.1, half of the start: 0.05 and 0.08 of ppo's, 0.05 of grpo's."""
    found = judged(results, "settings_collapses", "ppo", "grpo", side="below")
    assert found.estimate == pytest.approx(-1 / 8)
    assert judged(results, "settings_collapses", "ppo").estimate == pytest.approx(2 / 8)


def test_over_two_tasks_a_trial_counts_once() -> None:
    both = {"a": interleaved(FIRST), "b": interleaved(FIRST + 0.2)}
    found = judged(tuned({"ppo": both}), "settings_score", "ppo", tasks=["a", "b"], than=0.1)
    assert found.n == 8
    assert found.estimate == pytest.approx(FIRST.mean() + 0.1)
    assert found.p == pytest.approx(oracle.ttest_1samp(FIRST + 0.1, 0.1).pvalue)


def test_without_trials_nothing_is_tested(results: Results) -> None:
    few = judged(
        tuned({arm: {"a": interleaved(FIRST[:5])} for arm in ("ppo", "grpo")}), "settings_score", "ppo", "grpo"
    )
    assert few.verdict == "not tested"
    none = judged(claiming(results, {}, tuned=None), "settings_score", "ppo", "grpo")
    assert (none.verdict, none.estimate) == ("not tested", None)
    assert "run the suite that `tune` writes" in none.reason
    assert not math.isnan(none.n)

"""The answer in words: what it says of each verdict, and of each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from handmade import OTHER_WAVE, WAVE, made
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge
from ppo_vs_grpo.benchmarks.analysis.report.answer import answer
from ppo_vs_grpo.benchmarks.analysis.report.figures.style import MINUS

LEVEL = 0.5 + 0.02 * OTHER_WAVE


def said(leads: Mapping[str, Any], start: float = 0.2) -> str:
    """The answer where grpo is ahead of ppo by so much on each task, seed by seed."""
    curves = {
        "ppo": {task: [(start, float(x)) for x in LEVEL[: len(lead)]] for task, lead in leads.items()},
        "grpo": {task: [(start, float(x)) for x in LEVEL[: len(lead)] + lead] for task, lead in leads.items()},
    }
    return answer(judge(made(curves)))


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        (0.1 + 0.01 * WAVE, "grpo ends 10.0 points higher than ppo (95% interval 9.3 to 10.7, 8 paired seeds)."),
        (-0.1 + 0.01 * WAVE, "ppo ends 10.0 points higher than grpo (95% interval 9.3 to 10.7, 8 paired seeds)."),
        (
            0.02 + 0.01 * WAVE,
            "grpo ends 2.0 points higher than ppo (95% interval 1.3 to 2.7, 8 paired seeds), too little to matter "
            "here, where 5 points do.",
        ),
        (
            0.02 + 0.02 * WAVE,
            "grpo ends 2.0 points higher than ppo (95% interval 0.6 to 3.4, 8 paired seeds), too little to matter "
            "here, where 5 points do. It is a close call: p = 0.012.",
        ),
        (
            0.02 * WAVE - 0.001,
            f"ppo and grpo end equally high: ppo is 0.1 points ahead (95% interval {MINUS}1.3 to 1.5, 8 paired "
            "seeds), within the 5 points that count as equal.",
        ),
        (
            0.1 * WAVE + 0.001,
            f"These runs cannot tell which arm ends higher: grpo is 0.1 points ahead (95% interval {MINUS}7.0 to "
            "7.2, 8 paired seeds).",
        ),
        (
            0.01 * WAVE[:2],
            "No verdict yet: 2 paired seeds, a verdict needs 8. So far ppo and grpo end equally high (95% interval "
            f"{MINUS}12.7 to 12.7, 2 paired seeds).",
        ),
        (
            0.1 + 0.01 * WAVE[:3],
            "No verdict yet: 3 paired seeds, a verdict needs 8. So far grpo ends 10.2 points higher than ppo (95% "
            "interval 7.6 to 12.8, 3 paired seeds).",
        ),
    ],
)
def test_one_task_in_words(lead: np.ndarray, words: str) -> None:
    assert said({"a": lead}) == words


def test_arms_that_pass_nothing_are_not_equally_high() -> None:
    nothing = {arm: {"a": [(0.0, 0.0)] * 2} for arm in ("ppo", "grpo")}
    assert answer(judge(made(nothing))).endswith("So far neither ppo nor grpo passes a held-out prompt.")


def test_tasks_are_grouped_by_what_they_say() -> None:
    leads = {"a": 0.2 + 0.01 * WAVE, "b": 0.1 + 0.01 * WAVE, "c": 0.01 * WAVE, "d": 0.3 * WAVE}
    assert "By task: grpo higher on a and b; no difference that matters on c; undecided on d." in said(leads)
    assert said({"a": 0.01 * WAVE, "b": 0.01 * WAVE}).endswith("Each task alone: no difference that matters.")


def test_arms_that_fell_have_not_learned() -> None:
    assert said({"a": 0.01 * WAVE}, start=0.9) == (
        "Neither arm learned: ppo and grpo end no higher than they start (95% interval "
        f"{MINUS}0.7 to 0.7, 8 paired seeds)."
    )


def test_a_suite_without_runs_says_so() -> None:
    assert said({"a": []}).startswith("No verdict: no final score of ppo (any seed); grpo (any seed).")


def test_memory_needs_no_seeds_and_is_said_where_scores_have_no_verdict() -> None:
    roles = {"ppo": {"a": [{"policy.params": 8e6}]}, "grpo": {"a": [{"policy.params": 6e6}]}}
    for seeds, said_so in ((1, True), (8, False)):
        ends = [[0.1, 0.5 + 0.1 * (i % 2)] for i in range(seeds)]
        found = answer(judge(made({"ppo": {"a": [[0.1, 0.5]] * seeds}, "grpo": {"a": ends}}, tracked=roles)))
        assert ("Peak memory: ppo 8 MB, grpo 6 MB, grpo lighter." in found) == said_so

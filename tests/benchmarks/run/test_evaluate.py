"""Evaluations under rewards that are missing for some completions."""

from __future__ import annotations

import math

import pytest

from ppo_vs_grpo.benchmarks.run.evaluate import Evaluator
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig
from ppo_vs_grpo.tasks.base import Problem, Score
from small_trainer import AnyLetter, trainer


class Sometimes(AnyLetter):
    """No reward for what begins with a letter of the alphabet's first half, 1 for what does not."""

    def score(self, problem: Problem, completion: str) -> Score:
        return Score(None, True) if completion[:1] in list("abcdefghijklm") else Score(1.0, False)


class Never(AnyLetter):
    def score(self, problem: Problem, completion: str) -> Score:
        return Score(None, False)


def test_a_missing_reward_is_left_out_of_the_mean() -> None:
    found = Evaluator(trainer("grpo", task=Sometimes()), EvalConfig(prompts=12, samples=4), "heldout")(0, 0)
    assert {row["reward_mean"] for row in found.rows} <= {1.0}
    assert 0 < sum(row["passes"] for row in found.rows) < 48
    assert any(math.isnan(sample["reward"]) for sample in found.transcripts) == any(
        sample["passed"] for sample in found.transcripts
    )


def test_a_prompt_without_any_reward_has_no_mean() -> None:
    found = Evaluator(trainer("grpo", task=Never()), EvalConfig(prompts=2, samples=2), "heldout")(0, 0)
    assert [row["reward_mean"] for row in found.rows] == [pytest.approx(math.nan, nan_ok=True)] * 2

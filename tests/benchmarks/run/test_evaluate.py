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


class Short(AnyLetter):
    """Write little: what passes has fewer tokens than what fails."""

    def score(self, problem: Problem, completion: str) -> Score:
        passed = len(completion) < 4
        return Score(float(passed), passed)


def test_a_missing_reward_is_left_out_of_the_mean() -> None:
    found = Evaluator(trainer("grpo", task=Sometimes()), EvalConfig(prompts=12, samples=4), "heldout")(0, 0)
    assert {row["reward_mean"] for row in found.rows} <= {1.0}
    assert 0 < sum(row["passes"] for row in found.rows) < 48
    assert any(math.isnan(sample["reward"]) for sample in found.transcripts) == any(
        sample["passed"] for sample in found.transcripts
    )


def test_lengths_and_cuts_are_counted_for_what_passed_and_what_failed_apart() -> None:
    """Every sample has a transcript, so that what the rows say can be counted again."""
    config = EvalConfig(prompts=64, samples=1, transcripts=64)
    found = Evaluator(trainer("grpo", task=AnyLetter()), config, "heldout")(0, 0)
    assert len(found.transcripts) == 64
    assert {one["passed"] for one in found.transcripts} == {one["ended"] for one in found.transcripts} == {True, False}
    for row, one in zip(found.rows, found.transcripts, strict=True):
        assert row["completion_tokens_mean"] == one["tokens"]
        assert row["passed_tokens_mean"] == (one["tokens"] if one["passed"] else None)
        assert row["passed_cut"] == int(one["passed"] and not one["ended"])
        assert row["failed_cut"] == int(not one["passed"] and not one["ended"])


def test_four_samples_of_a_prompt_are_summed() -> None:
    made = trainer("grpo", task=Short())
    evaluator = Evaluator(made, EvalConfig(prompts=32, samples=4), "heldout")
    sampled = evaluator._score(made.engine, 4, evaluator._uniforms_TB)
    tokens_PK = sampled.rollouts.mask_BT.sum(1).reshape(32, 4)
    passed_PK, ended_PK = sampled.passed_B.reshape(32, 4), sampled.rollouts.ended_B.reshape(32, 4)
    rows = evaluator(0, 0).rows
    assert any(0 < row["passes"] < 4 and row["passed_tokens_mean"] != row["completion_tokens_mean"] for row in rows)
    for i, row in enumerate(rows):
        passed = [n for n, ok in zip(tokens_PK[i].tolist(), passed_PK[i].tolist(), strict=True) if ok]
        assert row["passed_tokens_mean"] == (sum(passed) / len(passed) if passed else None)
        assert row["passed_cut"] + row["failed_cut"] == int((~ended_PK[i]).sum())
        assert type(row["passed_cut"]) is type(row["failed_cut"]) is int


def test_a_prompt_without_any_reward_has_no_mean() -> None:
    found = Evaluator(trainer("grpo", task=Never()), EvalConfig(prompts=2, samples=2), "heldout")(0, 0)
    assert [row["reward_mean"] for row in found.rows] == [pytest.approx(math.nan, nan_ok=True)] * 2

"""Rewards by what a suite says."""

from __future__ import annotations

import pytest

from ppo_vs_grpo.tasks import rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards import Rated


def test_a_rule_is_named_and_rates() -> None:
    made = rewards.make("exact")
    assert made.names == ("exact",)
    asked = [Problem("1+1=", {"answer": 2})] * 3
    assert made.rate(asked, [" 2\n", "3", " "], [[1], [2], []]) == [
        Rated(1.0, {"exact": 1.0, "parsed": 1.0}),
        Rated(0.0, {"exact": 0.0, "parsed": 1.0}),
        Rated(0.0, {"exact": 0.0, "parsed": 0.0}),
    ]


def test_a_row_without_answer_is_named() -> None:
    made = rewards.make("exact")
    made.check([Problem("1+1=", {"answer": "2"})])
    with pytest.raises(UserError, match=r"'exact' needs an answer; the row with prompt '1\+2=' has none"):
        made.check([Problem("1+1=", {"answer": "2"}), Problem("1+2=", {"answer": None})])


def test_what_is_no_reward_is_refused() -> None:
    with pytest.raises(UserError, match=r"options\.reward: unknown 'exactt'; did you mean 'exact'"):
        rewards.make("exactt")

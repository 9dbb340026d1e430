"""Lengths: prompts and demonstrations of the asked length, and the share of lower-case letters as a reward."""

from __future__ import annotations

import numpy as np
import pytest

from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.splits import problems


@pytest.mark.parametrize(("completion", "reward"), [("", 0.0), ("ab", 1.0), ("aB", 0.5), ("abC", 2 / 3), ("A1 ~", 0.0)])
def test_the_reward_is_the_share_of_lower_case_letters(completion: str, reward: float) -> None:
    assert make("lengths").score(Problem("x"), completion) == Score(reward, reward > 0.5)


def test_prompts_have_the_asked_length_and_differ() -> None:
    drawn = problems(make("lengths", {"prompt_tokens": 9}), "train", 0, 0, 50)
    assert {len(problem.prompt) for problem in drawn} == {9}
    assert len({problem.prompt for problem in drawn}) == 50


@pytest.mark.parametrize(("mean", "lengths"), [(0, {7}), (3, set(range(8)))])
def test_a_demonstration_leaves_room_for_the_end_token(mean: int, lengths: set[int]) -> None:
    task, rng = make("lengths", {"new_tokens": 8, "mean_tokens": mean}), np.random.default_rng(0)
    assert {len(task.demonstrate(Problem("x"), rng)) for _ in range(500)} == lengths

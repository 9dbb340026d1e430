"""A learned reward: the gold task's problems and passes, a model's reward, and the gold one beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.learned import Learned
from ppo_vs_grpo.tasks.sorting import Sorting

OPTIONS: dict[str, Any] = {"task": "sorting", "options": {"length": 6}}


def learned(**changes: Any) -> Learned:
    made = make("learned", OPTIONS | changes)
    assert isinstance(made, Learned)
    return made


def test_problems_demonstrations_and_rules_are_the_gold_tasks() -> None:
    task, gold = learned(), Sorting(length=6)
    problem = task.draw(np.random.default_rng(1))
    assert problem == gold.draw(np.random.default_rng(1))
    streams = np.random.default_rng(2), np.random.default_rng(2)
    assert task.demonstrate(problem, streams[0]) == gold.demonstrate(problem, streams[1])
    assert task.score(problem, "abc") == gold.score(problem, "abc")
    assert (task.max_new_tokens, task.best_score) == (7, 1.0)


def test_rewards_are_the_judges_and_all_else_is_golds() -> None:
    asked: list[tuple[Sequence[Problem], Sequence[str]]] = []

    def judge(problems: Sequence[Problem], completions: Sequence[str]) -> list[float]:
        asked.append((problems, completions))
        return [-2.5, 0.25]

    task = learned()
    problems = [task.draw(np.random.default_rng(seed)) for seed in (1, 2)]
    texts = [problems[0].facts["answer"], problems[0].facts["answer"]]
    with pytest.raises(ValueError, match="needs its model"):
        task.score_all(problems, texts)
    task.judge = judge
    right, wrong = task.score_all(problems, texts)
    assert asked == [(problems, texts)]
    assert (right.reward, wrong.reward, right.passed, wrong.passed) == (-2.5, 0.25, True, False)
    gold = task.gold.score(problems[1], texts[1])
    assert right.parts["gold"] == 1.0
    assert wrong.parts == {**gold.parts, "gold": gold.reward}
    assert gold.reward is not None
    assert gold.reward < 1


class Unrated(Sorting):
    """Nothing has a reward."""

    def score(self, problem: Problem, completion: str) -> Score:
        """Sorting's score without its reward."""
        return replace(super().score(problem, completion), reward=None)


def test_a_missing_gold_reward_is_a_missing_part() -> None:
    task = learned()
    task.judge, task.gold = lambda problems, completions: [0.5], Unrated(length=6)
    (scored,) = task.score_all([task.draw(np.random.default_rng(1))], ["abc"])
    assert scored.reward == 0.5
    assert math.isnan(scored.parts["gold"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "learned", "options": {}}, "options.task: 'learned': should be a task with a rule of its own"),
        ({"task": "noisy", "options": {}}, "options.task: 'noisy': should be a task with a rule of its own"),
        ({"task": "sortin"}, "options.task: unknown 'sortin'; did you mean 'sorting'"),
        ({"options": {"length": 99}}, "options.options.length: 99"),
        ({"preferences": 3}, "options.preferences: 3: should be a whole number from 10"),
        ({"models": 0}, "options.models: 0: should be a whole number from 1 to 64"),
        ({"label_temperature": -1}, "options.label_temperature: -1: should be a number from 0 to 1"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refusal:
        learned(**changes)
    assert str(refusal.value).startswith(words)


def test_a_runs_seed_says_which_model_judges_it() -> None:
    assert [learned(models=3).model_of(seed) for seed in (0, 1, 2, 3, 301)] == [0, 1, 2, 0, 1]
    assert {learned(models=8).model_of(seed) for seed in range(300, 308)} == set(range(8))
    assert learned().model_of(301) == 0

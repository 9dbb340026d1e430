"""A noisy reward: the gold task in everything but the reward, whose noise is the same whoever asks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.noisy import Noisy
from ppo_vs_grpo.tasks.recall import Recall
from ppo_vs_grpo.tasks.sorting import Sorting
from ppo_vs_grpo.tasks.splits import data_hash, demonstrations, heldout, problems

N = 4000


def noisy(**options: Any) -> Noisy:
    made = make("noisy", {"task": "recall", "flips": 0.0} | options)
    assert isinstance(made, Noisy)
    return made


def answered(task: Noisy, count: int = N) -> list[Score]:
    """Scores of many different answers, half of them right."""
    gold = make("recall", {"demo_accuracy": 0.5})
    return [task.score(problem, answer) for problem, answer in demonstrations(gold, count)]


def test_problems_demonstrations_and_passes_are_the_gold_tasks() -> None:
    task, gold = noisy(flips=0.5, spread=0.5, options={"horizon": 4}), Recall(horizon=4)
    assert (task.max_new_tokens, task.best_score) == (5, 1.0)
    assert demonstrations(task, 50) == demonstrations(gold, 50)
    assert problems(task, "train", 3, 7, 20) == problems(gold, "train", 3, 7, 20)
    assert heldout(task, "heldout", 20) == heldout(gold, "heldout", 20)
    for problem, answer in demonstrations(gold, 200):
        seen, true = task.score(problem, answer), gold.score(problem, answer)
        assert (seen.passed, seen.parts["gold"]) == (true.passed, true.reward)
        assert seen.parts == {**true.parts, "gold": true.reward}


def test_without_noise_the_reward_is_the_rules() -> None:
    task, gold = noisy(), Recall()
    assert all(task.score(p, a).reward == gold.score(p, a).reward for p, a in demonstrations(gold, 300))


@pytest.mark.parametrize("flips", [0.15, 0.3])
def test_so_many_rewards_are_flipped_and_the_others_are_not(flips: float) -> None:
    scores = answered(noisy(flips=flips))
    assert {(s.reward, s.parts["gold"]) for s in scores} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    error = 4 * math.sqrt(flips * (1 - flips) / (N / 2))
    for gold in (0.0, 1.0):
        wrong = [s.reward != gold for s in scores if s.parts["gold"] == gold]
        assert sum(wrong) / len(wrong) == pytest.approx(flips, abs=error)


def test_a_graded_reward_is_mirrored_at_a_half() -> None:
    task = noisy(task="sorting", options={"length": 4}, flips=1.0)
    assert task.score(Problem("dcba:", {"answer": "abcd"}), "abdc").reward == pytest.approx(0.5)
    assert task.score(Problem("dcba:", {"answer": "abcd"}), "abcc").reward == pytest.approx(0.25)


def test_what_a_lower_share_turns_wrong_a_higher_one_does_too() -> None:
    few, many = answered(noisy(flips=0.1), 500), answered(noisy(flips=0.4), 500)
    wrong = [{i for i, s in enumerate(scores) if s.reward != s.parts["gold"]} for scores in (few, many)]
    assert wrong[0] < wrong[1]


def test_the_spread_is_normal_around_the_gold_reward() -> None:
    noise = np.array([(s.reward or 0.0) - s.parts["gold"] for s in answered(noisy(spread=0.5))])
    assert abs(noise.mean()) < 4 * 0.5 / math.sqrt(N)
    assert noise.std() == pytest.approx(0.5, rel=4 / math.sqrt(2 * N))
    assert np.mean(np.abs(noise) < 0.5) == pytest.approx(0.6827, abs=4 * math.sqrt(0.68 * 0.32 / N))


def test_the_noise_is_a_function_of_prompt_and_completion() -> None:
    first, second = noisy(spread=1.0), noisy(spread=1.0)
    here, there = Problem("a1b2?a", {"value": "1", "others": "2"}), Problem("a1b2?b", {"value": "1", "others": "2"})
    assert first.score(here, "x").reward == second.score(here, "x").reward == first.score(here, "x").reward
    seen = {first.score(p, text).reward for p in (here, there) for text in ("x", "y", "\ud800")}
    assert len(seen) == 6
    assert first.score(replace(here, stratum="other"), "x").reward in seen


def test_the_noise_changes_the_data_and_so_a_runs_key() -> None:
    hashes = [data_hash(task) for task in (noisy(), noisy(flips=0.15), noisy(flips=0.3), noisy(spread=0.1))]
    assert len(set(hashes)) == 4
    assert data_hash(noisy()) == data_hash(Recall())


class Unrated(Sorting):
    """Nothing has a reward."""

    missing: float | None = None

    def score(self, problem: Problem, completion: str) -> Score:
        """Sorting's score without its reward."""
        return replace(super().score(problem, completion), reward=self.missing)


class NotANumber(Unrated):
    """Nothing has a reward that is a number."""

    missing = math.nan


class Large(Unrated):
    """Everything has a reward of 10."""

    missing = 10.0


@pytest.mark.parametrize("kind", [Unrated, NotANumber])
def test_a_missing_reward_stays_missing(kind: type[Unrated]) -> None:
    task = noisy(task=f"{__name__}:{kind.__name__}", flips=0.5, spread=0.5)
    scored = task.score(Problem("ba:", {"answer": "ab"}), "ab")
    assert scored.reward is None or math.isnan(scored.reward)
    assert math.isnan(scored.parts["gold"])
    assert scored.passed


def test_a_reward_beyond_1_has_no_flip_but_a_spread() -> None:
    asked = Problem("ba:", {"answer": "ab"})
    blurred = noisy(task=f"{__name__}:Large", spread=0.1).score(asked, "ab").reward
    assert blurred is not None
    assert 9 < blurred < 11
    with pytest.raises(UserError, match=r"^options\.flips: 0\.5: should be 0 for 'sorting', .* as 10 does"):
        noisy(task=f"{__name__}:Large", flips=0.5).score(asked, "ab")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "noisy", "options": {}}, "options.task: 'noisy': should be a task with a rule of its own"),
        ({"task": "learned", "options": {}}, "options.task: 'learned': should be a task with a rule of its own"),
        (
            {"task": "ppo_vs_grpo.tasks.noisy:Noisy"},
            "options.task: 'ppo_vs_grpo.tasks.noisy:Noisy': should be a task with",
        ),
        ({"task": "recal"}, "options.task: unknown 'recal'; did you mean 'recall'"),
        ({"options": {"horizon": 0}}, "options.options.horizon: 0: should be a whole number"),
        ({"flips": 1.5}, "options.flips: 1.5: should be a number from 0 to 1"),
        ({"spread": -1}, "options.spread: -1: should be a number from 0 to 1"),
        ({"flip": 0.1}, "options.flip: 'noisy' has no such option; did you mean 'flips'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refusal:
        noisy(**options)
    assert str(refusal.value).startswith(words)

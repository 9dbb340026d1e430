"""A task's scores become tensors, and what cannot be learned from is an error of the task with its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from ppo_vs_grpo.algorithms.shared.scoring import RewardError, score, texts
from ppo_vs_grpo.algorithms.shared.types import Prompts, Rollouts
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.rewards import RatingError

TOKENIZER = tokenizer()


@dataclass
class Rule:
    """A task whose scores are what a function says."""

    says: Callable[[str], Any]
    name: str = "mine"

    def score(self, problem: Problem, completion: str) -> Any:
        return self.says(completion)


class All(Rule):
    def score_all(self, problems: list[Problem], completions: list[str], completion_ids: list[list[int]]) -> Any:
        return self.says(",".join(completions))


def rollouts(*written: str) -> Rollouts:
    """A completion each of one prompt, `2+2=`, all of one length."""
    ids = torch.tensor([TOKENIZER(text, add_special_tokens=False)["input_ids"] for text in written])
    zeros_BT = torch.zeros(ids.shape)
    return Rollouts(
        prompts=Prompts((Problem("2+2="),), ((5, 6),)),
        group_B=torch.zeros(len(written), dtype=torch.long),
        completion_BT=ids,
        mask_BT=torch.ones_like(ids, dtype=torch.bool),
        logp_BT=zeros_BT,
        sampler_logp_BT=zeros_BT,
        ended_B=torch.zeros(len(written), dtype=torch.bool),
        max_tokens=ids.shape[1],
    )


def test_rewards_passes_and_parts_are_by_row_and_what_is_missing_is_nan() -> None:
    given = {"4": Score(1, True, {"form": 1.0}), "5": Score(None, False), "6": Score(math.nan, False, {"form": 0.5})}
    scored = score(rollouts("4", "5", "6"), Rule(given.__getitem__), TOKENIZER)  # type: ignore[arg-type]
    torch.testing.assert_close(scored.rewards_B, torch.tensor([1.0, math.nan, math.nan]), equal_nan=True)
    assert scored.passed_B.tolist() == [True, False, False]
    torch.testing.assert_close(scored.parts["form"], torch.tensor([1.0, math.nan, 0.5]), equal_nan=True)


def test_an_end_token_is_no_part_of_the_text_even_if_it_is_not_special() -> None:
    made = rollouts("34", "45")
    made = replace(made, ended_B=torch.tensor([True, False]))
    assert texts(made, TOKENIZER) == ["3", "45"]


@pytest.mark.parametrize(
    ("says", "wrong"),
    [
        (lambda _: Score(math.inf, True), "the reward is inf; a reward is finite, or None"),
        (lambda _: Score(-math.inf, True), "the reward is -inf; a reward is finite, or None"),
        (lambda _: Score("1", True), "the reward is '1', no number"),
        (lambda _: 0.5, "the score is 0.5; it should be a Score"),
        (lambda _: 1 / 0, "score raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_reward_that_cannot_be_learned_from_is_named_with_its_place(says: Callable[[str], Any], wrong: str) -> None:
    with pytest.raises(RewardError) as found:
        score(rollouts("4"), Rule(says), TOKENIZER)  # type: ignore[arg-type]
    assert str(found.value) == f"task mine, prompt '2+2=', completion '4': {wrong}"


def test_scores_of_all_at_once_are_as_many_as_the_completions() -> None:
    with pytest.raises(RewardError, match=r"task mine: score_all gave 1 scores for 2 completions"):
        score(rollouts("4", "5"), All(lambda _: [Score(1.0, True)]), TOKENIZER)  # type: ignore[arg-type]
    with pytest.raises(RewardError, match=r"task mine: score_all raised ZeroDivisionError: division by zero"):
        score(rollouts("4", "5"), All(lambda _: 1 / 0), TOKENIZER)  # type: ignore[arg-type]
    with pytest.raises(RewardError, match=r"completion '5': the reward is inf"):
        score(rollouts("4", "5"), All(lambda _: [Score(1.0, True), Score(math.inf, True)]), TOKENIZER)  # type: ignore[arg-type]


def test_a_rating_that_fails_says_itself_where() -> None:
    def says(_: str) -> Any:
        raise RatingError("reward mine, prompt '2+2=', completion '5': it returned nan")

    with pytest.raises(RewardError) as found:
        score(rollouts("4", "5"), All(says), TOKENIZER)  # type: ignore[arg-type]
    assert str(found.value) == "task mine: reward mine, prompt '2+2=', completion '5': it returned nan"

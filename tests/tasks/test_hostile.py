"""Completions that are meant to break a scorer: each has a finite score, and none costs more than a limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import pytest

from hostile import FIXED, hostile
from ppo_vs_grpo.tasks import make, rewards
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.rewards.rules import final_number
from ppo_vs_grpo.tasks.splits import problems

SEED = 0
FEW = 24
"""Texts for the scorers with a process; two of them hang it."""


def scores(task: str, texts: Sequence[str]) -> list[Score]:
    made = make(task)
    (problem,) = problems(made, "train", 0, 0, 1)
    return [made.score(problem, text) for text in texts]


@pytest.mark.parametrize("task", ["countdown", "sorting", "recall", "arithmetic", "lengths", "noisy"])
def test_a_tasks_own_rule_scores_any_text(task: str) -> None:
    texts = list(hostile(SEED, 200))
    before_s = time.process_time()
    found = scores(task, texts)
    assert all(one.reward is not None and math.isfinite(one.reward) for one in found)
    assert time.process_time() - before_s < 10


@pytest.mark.parametrize("rule", ["exact", "number"])
def test_a_rule_of_rows_scores_any_text_and_reads_any_answer(rule: str) -> None:
    made = rewards.make(rule)
    slowest_s = 0.0
    for text in hostile(SEED, 200):
        before_s = time.process_time()
        (given,) = made.rate([Problem("p", {"answer": "12"})], [text], [()])
        (asked,) = made.rate([Problem("p", {"answer": text})], ["12"], [()])
        slowest_s = max(slowest_s, time.process_time() - before_s)
        assert {given.reward, asked.reward} <= {0.0, 1.0}
    assert slowest_s < 2


@pytest.mark.parametrize("unit", ["123,", ",123", "1.", "1/", "1,", "$1,", "-$", "1 ", "1", "12,345 "])
def test_the_final_number_of_a_long_text_is_found_in_time(unit: str) -> None:
    """Each group of thousands could begin a number: asked one after the other they took the square of their count."""
    before_s = time.process_time()
    for end in ("x", "", "5"):
        final_number(unit * 100_000 + end)
    assert time.process_time() - before_s < 5


@pytest.mark.parametrize("text", ["1,234x", "1,234,567/8/9", "1,234,5678", "x1,234", "5 1,234.5.6", "9,123,456,"])
def test_thousands_that_are_passed_over_hold_no_number(text: str) -> None:
    expected = {"1,234,5678": 5678, "x1,234": 234, "5 1,234.5.6": 5, "9,123,456,": 9123456}
    assert final_number(text) == expected.get(text)


def of_math(texts: Sequence[str]) -> list[Score]:
    made = rewards.make("math", limit_s=1)
    rows = [Problem("p", {"answer": "\\frac{1}{2}"})] * len(texts)
    return [Score(one.reward, one.reward == 1, one.parts) for one in made.rate(rows, texts, [()] * len(texts))]


def of_gym(texts: Sequence[str]) -> list[Score]:
    return scores("reasoning-gym/polynomial_equations", texts)


@pytest.mark.parametrize("score", [of_math, of_gym])
def test_what_a_process_scores_is_wrong_where_it_fails(
    score: Callable[[Sequence[str]], list[Score]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ppo_vs_grpo.tasks.gym.LIMIT_S", 1.0)
    found = score(list(hostile(SEED, FEW)))
    assert [one.reward for one in found] == [0.0] * FEW
    assert {one.parts["parsed"] for one in found} <= {0.0, 1.0}
    assert "Traceback" not in "".join(capfd.readouterr())


def test_the_texts_are_the_same_for_a_seed_and_of_every_kind() -> None:
    first, again, other = (list(hostile(seed, 120)) for seed in (0, 0, 1))
    assert first == again
    assert first[: len(FIXED)] == other[: len(FIXED)] == list(FIXED)
    assert first != other
    assert max(map(len, first)) > 10**5

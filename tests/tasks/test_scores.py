"""What each task asks, how its answers score, and what the warm start is shown."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawing import DRAWING
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.arithmetic import STRATA
from ppo_vs_grpo.tasks.base import Problem, Score, Task
from ppo_vs_grpo.tasks.countdown import evaluate, expressions
from ppo_vs_grpo.tasks.splits import demonstrations, problems, rng

CHOICES: list[tuple[str, dict[str, Any]]] = [
    # `noisy` and `learned` demonstrate and score as another does, and at `lengths` there is nothing to get right.
    *((name, {}) for name in DRAWING if name not in ("noisy", "learned", "lengths")),
    ("countdown", {"numbers": 4}),
    ("sorting", {"graded": False, "length": 4}),
    ("sorting", {"graded": True, "length": 14}),
    ("recall", {"horizon": 1, "pairs": 8}),
]
every_choice = pytest.mark.parametrize(("name", "options"), CHOICES)

COUNTDOWN = Problem("3,5,7=22:", {"numbers": [3, 5, 7], "target": 22})
TWINS = Problem("2,2,9=13:", {"numbers": [2, 2, 9], "target": 13})
SORTING = Problem("fbgcad:", {"answer": "abcdfg"})
RECALL = Problem("a3b7c1d4?b", {"value": "7", "others": "314"})
ARITHMETIC = Problem("348+27=", {"answer": 375}, "hard")


@pytest.mark.parametrize(
    ("problem", "completion", "reward", "formed"),
    [
        (COUNTDOWN, "3*5+7", 1, 1),
        (COUNTDOWN, "7+5*3", 1, 1),
        (COUNTDOWN, "7+3*5", 1, 1),
        (COUNTDOWN, "3+5*7", 0, 1),
        (COUNTDOWN, "3+5+7", 0, 1),
        (COUNTDOWN, "3*5+7=22", 0, 0),
        (COUNTDOWN, "3*5+7 ", 0, 0),
        (COUNTDOWN, "3*5+7\n", 0, 0),
        (COUNTDOWN, "(3*5)+7", 0, 0),
        (COUNTDOWN, "22", 0, 0),
        (COUNTDOWN, "5+5+7", 0, 0),
        (COUNTDOWN, "3*5+7+0", 0, 0),
        (COUNTDOWN, "3**57", 0, 0),
        (COUNTDOWN, "+3*57", 0, 0),
        (COUNTDOWN, "\N{ARABIC-INDIC DIGIT THREE}*5+7", 0, 0),
        (COUNTDOWN, "", 0, 0),
        (TWINS, "2+2+9", 1, 1),
        (TWINS, "2*2+9", 1, 1),
        (TWINS, "2+9+9", 0, 0),
    ],
)
def test_countdown_by_hand(problem: Problem, completion: str, reward: float, formed: float) -> None:
    assert make("countdown").score(problem, completion) == Score(reward, reward == 1, {"well_formed": formed})


def test_expressions_are_valued_as_python_values_them() -> None:
    found = expressions((2, 3, 7))
    assert len(found) == 6 * 9
    assert all(value == eval(text) for text, value in found)  # the oracle; the package itself never evals
    assert all(evaluate(f"9{a}8{b}2{c}5") == eval(f"9{a}8{b}2{c}5") for a, b, c in product("+-*", repeat=3))
    assert len(expressions((4, 4, 4))) == 9


def test_countdown_targets_are_reachable_and_in_range() -> None:
    for numbers in (3, 4):
        for problem in problems(make("countdown", {"numbers": numbers}), "train", 0, 0, 300):
            target, digits = problem.facts["target"], problem.facts["numbers"]
            assert 0 <= target <= 99
            assert problem.prompt == ",".join(map(str, digits)) + f"={target}:"
            assert target in {value for _, value in expressions(tuple(sorted(digits)))}


@pytest.mark.parametrize(
    ("completion", "right", "passed", "formed"),
    [
        ("abcdfg", 1, True, 1),
        ("bacdfg", 4 / 6, False, 1),
        ("gfdbca", 0, False, 1),
        ("abcdf", 5 / 6, False, 0),
        ("abcdfgh", 6 / 7, False, 0),
        ("abcdfg" + "a" * 6, 0.5, False, 0),
        ("abcdf7", 5 / 6, False, 0),
        ("abcdfG", 5 / 6, False, 0),
        ("abcdf\N{FULLWIDTH LATIN SMALL LETTER G}", 5 / 6, False, 0),
        ("", 0, False, 0),
    ],
)
def test_sorting_by_hand(completion: str, right: float, passed: bool, formed: float) -> None:
    parts = {"well_formed": formed, "positions_right": right}
    assert make("sorting", {"graded": True}).score(SORTING, completion) == Score(right, passed, parts)
    assert make("sorting", {"graded": False}).score(SORTING, completion) == Score(float(passed), passed, parts)


@pytest.mark.parametrize(
    ("completion", "reward", "value", "formed"),
    [
        ("7..-", 1, 1, 1),
        ("7~_-", 1, 1, 1),
        ("3..-", 0, 0, 1),
        ("7..", 0, 1, 0),
        ("7..-.", 0, 1, 0),
        ("77..", 0, 1, 0),
        ("7..\n", 0, 1, 0),
        (".7.-", 0, 0, 0),
        ("..-~", 0, 0, 0),
        ("x..-", 0, 0, 0),
        ("7", 0, 1, 0),
        ("", 0, 0, 0),
    ],
)
def test_recall_by_hand(completion: str, reward: float, value: float, formed: float) -> None:
    parts = {"well_formed": formed, "value_right": value}
    assert make("recall", {"horizon": 4, "pairs": 4}).score(RECALL, completion) == Score(reward, reward == 1, parts)


def test_recall_at_horizon_one_is_the_value_alone() -> None:
    task = make("recall", {"horizon": 1})
    assert task.max_new_tokens == 2
    assert task.score(RECALL, "7").passed
    assert not task.score(RECALL, "7.").passed


def test_recall_lists_different_values_and_asks_for_one() -> None:
    for problem in problems(make("recall", {"pairs": 5}), "train", 0, 0, 200):
        listed, _, asked = problem.prompt.partition("?")
        values = dict(zip(listed[::2], listed[1::2], strict=True))
        assert "".join(values) == "abcde"
        assert len(set(values.values())) == 5
        assert problem.facts["value"] == values.pop(asked)
        assert sorted(problem.facts["others"]) == sorted(values.values())


@pytest.mark.parametrize(
    ("completion", "reward", "formed"),
    [
        ("375", 1, 1),
        ("376", 0, 1),
        ("0375", 0, 0),
        ("375 ", 0, 0),
        ("+375", 0, 0),
        ("\N{ARABIC-INDIC DIGIT THREE}75", 0, 0),
        ("37\N{SUPERSCRIPT FIVE}", 0, 0),
        ("", 0, 0),
    ],
)
def test_arithmetic_by_hand(completion: str, reward: float, formed: float) -> None:
    assert make("arithmetic").score(ARITHMETIC, completion) == Score(reward, reward == 1, {"well_formed": formed})


@pytest.mark.parametrize("stratum", STRATA)
def test_each_stratum_asks_what_it_says(stratum: str) -> None:
    for problem in problems(make("arithmetic", {"mix": {stratum: 1.0}}), "train", 0, 0, 300):
        a, b = map(int, problem.prompt.strip("?=").split("+"))
        carries = [a % 10 + b % 10 > 9, a // 10 % 10 + b // 10 > 9]
        answer = problem.facts["answer"]
        assert problem.stratum == stratum
        assert 100 <= a <= 999
        assert 10 <= b <= 99
        assert 100 <= answer <= 999
        assert problem.prompt == "?" * (stratum == "unsolvable") + f"{a}+{b}="
        if stratum != "unsolvable":
            assert answer == a + b
        if stratum == "easy":
            assert b % 10 == 0
        if stratum in ("easy", "medium"):
            assert carries == [False, False]
        if stratum == "medium":
            assert b % 10 > 0
        if stratum == "hard":
            assert carries[0]


def test_an_unsolvable_prompt_comes_again_with_another_answer() -> None:
    task = make("arithmetic", {"mix": {"unsolvable": 1.0}})
    stream = rng("again")
    drawn = [task.draw(stream) for _ in range(3000)]
    answers = {problem.prompt: problem.facts["answer"] for problem in drawn}
    again = [p.facts["answer"] == answers[p.prompt] for p in drawn if answers[p.prompt] is not p.facts["answer"]]
    assert len(answers) < len(drawn)
    assert sum(again) < 5
    sums = [eval(p.prompt.strip("?=")) == p.facts["answer"] for p in drawn]
    assert sum(sums) < 20


def test_the_best_arithmetic_score_leaves_out_the_unsolvable_but_for_luck() -> None:
    assert make("arithmetic").best_score == pytest.approx(0.75 + 0.25 / 900)
    assert make("arithmetic", {"mix": {"easy": 0.5, "hard": 0.5}}).best_score == 1
    assert make("arithmetic", {"mix": {"unsolvable": 1}}).best_score == pytest.approx(1 / 900)


class Highest(np.random.Generator):
    """Draws the largest share below 1."""

    def random(self, *_: Any, **__: Any) -> Any:
        return 1 - 2**-53


def test_a_stratum_without_a_share_is_never_drawn() -> None:
    drawn = problems(make("arithmetic", {"mix": {"medium": 1.0}}), "train", 0, 0, 200)
    assert {problem.stratum for problem in drawn} == {"medium"}
    almost_one = make("arithmetic", {"mix": {"easy": 1 - 5e-7}})
    assert almost_one.draw(Highest(np.random.PCG64(0))).stratum == "easy"


@every_choice
def test_right_demonstrations_score_the_best_and_the_others_fail(name: str, options: dict[str, Any]) -> None:
    right, wrong = (make(name, {**options, "demo_accuracy": accuracy}) for accuracy in (1.0, 0.0))
    for problem, answer in demonstrations(right, 400):
        assert right.score(problem, answer).reward == 1
        assert right.score(problem, answer).passed
    for problem, answer in demonstrations(wrong, 400):
        scored = wrong.score(problem, answer)
        assert not scored.passed
        assert scored.reward < 1
        assert scored.parts["well_formed"] == 1


@every_choice
@pytest.mark.parametrize("accuracy", [0.2, 0.7])
def test_the_share_of_right_demonstrations_is_the_option(name: str, options: dict[str, Any], accuracy: float) -> None:
    task = make(name, {**options, "demo_accuracy": accuracy})
    passed = [task.score(problem, answer).passed for problem, answer in demonstrations(task, 2000)]
    assert sum(passed) / 2000 == pytest.approx(accuracy, abs=0.04)


def test_right_countdown_demonstrations_show_every_right_expression() -> None:
    task, stream = make("countdown", {"demo_accuracy": 1.0}), rng("every")
    shown = [task.demonstrate(COUNTDOWN, stream) for _ in range(400)]
    right = {text for text, value in expressions((3, 5, 7)) if value == 22}
    assert right == {"3*5+7", "5*3+7", "7+3*5", "7+5*3"}
    assert all(shown.count(text) > 60 for text in right)


@every_choice
def test_texts_are_printable_ascii_and_short_enough(name: str, options: dict[str, Any]) -> None:
    task = make(name, options)
    for problem, answer in demonstrations(task, 500):
        text = problem.prompt + answer
        assert text.isascii()
        assert text.isprintable()
        assert len(answer) < task.max_new_tokens, "the end token needs a place"
        if not options:
            assert len(problem.prompt) <= 16
            assert task.max_new_tokens <= 16


PROBLEMS: list[tuple[Task, Problem]] = [
    (task, problem)
    for task in (make(name, options) for name, options in CHOICES)
    for problem in problems(task, "train", 0, 0, 5)
]
near_misses = st.text("0123456789+-*.-_~=:?,() \n", max_size=20)


@settings(max_examples=200, deadline=None)
@given(
    chosen=st.sampled_from(PROBLEMS), completion=near_misses | st.text(max_size=300) | st.characters(categories=["Cs"])
)
def test_any_text_has_a_score(chosen: tuple[Task, Problem], completion: str) -> None:
    task, problem = chosen
    scored = task.score(problem, completion)
    assert type(scored.reward) is float
    assert type(scored.passed) is bool
    assert 0 <= scored.reward <= 1
    assert not scored.passed or scored.reward == 1
    assert all(type(part) is float and 0 <= part <= 1 for part in scored.parts.values())
    assert scored.parts.keys() == task.score(problem, "").parts.keys()


@every_choice
def test_a_very_long_text_is_scored_too(name: str, options: dict[str, Any]) -> None:
    task = make(name, options)
    problem = problems(task, "train", 0, 0, 1)[0]
    for piece in ("1", "1+", ".", "é", "\x00", "\U0001f600"):
        assert not task.score(problem, piece * 200_000).passed

"""Rules: which number is a text's final one, which answers are equal, and rows whose answer nothing can equal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from fractions import Fraction
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from ppo_vs_grpo.tasks import rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards import Rated
from ppo_vs_grpo.tasks.rewards.rules import final_number, marked
from ppo_vs_grpo.tasks.rewards.worker import Place, Worker


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", 18),
        ("It is 5.", 5),
        ("5, 6 and 1,000.", 1000),
        ("12,345,678", 12345678),
        ("1,2,3", 3),
        ("1,23", 23),
        ("$1,234.50", Fraction(2469, 2)),
        ("-$5 or $-6", -6),
        (r"\$7", 7),
        ("\N{MINUS SIGN}7", -7),
        ("10-3", 3),
        ("x=-3", -3),
        ("(2)-3", 3),
        (".5", Fraction(1, 2)),
        ("0.50", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        ("50%", 50),
        ("**42**", 42),
        ("3 of x2, 5km and 1e5", 3),
        ("1.2.3", None),
        ("12/25/2020", None),
        ("3/0", None),
        ("9" * 301, None),
        ("one", None),
        ("", None),
        ("3 + 4 = 7 #### 8", 8),
        ("#### 5 dollars\nor 6", 5),
        ("#### 1\n#### 2", 2),
        ("7 ####", None),
        ("7 #### none", None),
        (r"\boxed{3/4} or 5", Fraction(3, 4)),
        (r"\boxed{1} \boxed{\$1,000.}", 1000),
        (r"\boxed{x=5}", None),
        (r"\boxed{\frac{1}{2}}", None),
        (r"\boxed{5", None),
        (r"\boxed{1} #### \boxed{2}", 2),
    ],
)
def test_the_final_number_of_a_text(text: str, value: Fraction | None) -> None:
    assert final_number(text) == value


def test_a_box_ends_with_its_own_brace() -> None:
    assert marked(r"so \boxed{\frac{1}{2}} it is}") == r"\frac{1}{2}"
    assert marked("so 3") is None


def rated(rule: str, answer: object, *completions: str) -> list[tuple[float | None, float]]:
    made = rewards.make(rule)
    asked = [Problem("p", {"answer": answer})] * len(completions)
    made.check(asked)
    return [(r.reward, r.parts["parsed"]) for r in made.rate(asked, completions, [()] * len(completions))]


def test_numbers_are_compared_by_value_and_the_answer_may_be_a_whole_solution() -> None:
    assert rated("number", "3*6=18\n#### 1,018", "so $1018.00", "1017", "none") == [(1, 1), (0, 1), (0, 0)]
    assert rated("number", 0.5, "1/2", "0.51") == [(1, 1), (0, 1)]


def test_expressions_are_equal_however_they_are_written() -> None:
    assert rated("math", r"2\sqrt{3}", r"\boxed{\sqrt{12}}", r"\boxed{2}", r"it is $2\sqrt{3}$", "dunno") == [
        (1, 1),
        (0, 1),  # math-verify alone reads 2\sqrt{3} as 2
        (1, 1),
        (0, 0),
    ]
    assert rated("math", "1/2", r"#### \frac{1}{2}", "#### 2/4", r"\boxed{0.5}", r"\boxed{1} then \boxed{2}") == [
        (1, 1),
        (1, 1),
        (1, 1),
        (0, 1),
    ]


def test_the_last_number_of_an_expression_is_not_its_value() -> None:
    assert rated("math", r"2\sqrt{3}", r"\boxed{3}", "#### 3", "so it is 3") == [(0, 1)] * 3
    assert rated("math", r"\frac{1}{2}", "2", r"\boxed{2}", r"$\sqrt[9]{2}$") == [(0, 1)] * 3
    assert rated("math", "3", r"#### 2\sqrt{3}", r"it is $2\sqrt{3}$", r"\boxed{2\sqrt{3}}") == [(0, 1)] * 3
    assert rated("math", "1,018", "so $1018.00", "#### 1018", "#### 3") == [(1, 1), (1, 1), (0, 1)]


@pytest.mark.parametrize(("rule", "answer"), [("number", "x + y"), ("exact", " "), ("math", ""), ("math", "x+")])
def test_an_answer_that_nothing_can_equal_is_an_error_of_the_row(rule: str, answer: str) -> None:
    made = rewards.make(rule)
    with pytest.raises(UserError) as found:
        made.check([Problem("p", {"answer": "1"}), Problem("q", {"answer": answer})])
    assert str(found.value).startswith(f"options.reward: '{rule}' cannot read the answer {answer!r} of the row with pr")
    assert "'q'" in str(found.value)


def test_a_row_without_answer_is_named() -> None:
    made = rewards.make("math")
    with pytest.raises(UserError, match=r"'math' needs an answer; the row with prompt 'q' has none"):
        made.check([Problem("p", {"answer": "1"}), Problem("q", {"answer": None})])


def test_an_expression_that_takes_for_ever_is_wrong_at_the_cost_of_one_limit() -> None:
    """A power of huge numbers never lets Python handle a signal, so math-verify's own limit would not end it."""
    asked = [Problem("p", {"answer": "2"})] * 64
    made = rewards.make("math", limit_s=1)
    made.rate(asked[:1], ["2"], [()])
    before_s = time.monotonic()
    rated = made.rate(asked, [r"\boxed{9^{9^{9^{9}}}}", *[r"\boxed{2}"] * 63], [()] * 64)
    assert rated == [Rated(0.0, {"math": 0.0, "parsed": 0.0}), *[Rated(1.0, {"math": 1.0, "parsed": 1.0})] * 63]
    assert time.monotonic() - before_s < 40, "all together have 64 seconds"


def test_answers_are_read_once_and_a_new_one_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    read: list[list[str]] = []

    def call(worker: Worker, function: Place, arguments: Mapping[str, list[str]], limit_s: float) -> list[bool]:
        read.append(arguments["answers"])
        return [answer != "x+" for answer in arguments["answers"]]

    monkeypatch.setattr(Worker, "call", call)
    rows = [Problem("p", {"answer": answer}) for answer in ("1", "2", "1")]
    rewards.make("math").check(rows)
    rewards.make("math").check(rows)
    assert read == [["1", "2"]]
    for _ in range(2):
        with pytest.raises(UserError, match=r"cannot read the answer 'x.' of the row with prompt 'q'"):
            rewards.make("math").check([*rows, Problem("q", {"answer": "x+"})])
    assert read == [["1", "2"], ["x+"]]
    monkeypatch.setattr("ppo_vs_grpo.tasks.rewards.functions.version", lambda package: "99")
    rewards.make("math").check(rows)
    assert read[2:] == [["1", "2"]], "another math-verify may read other answers"


def test_the_rule_math_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("ppo_vs_grpo.tasks.rewards.functions.version", missing)
    with pytest.raises(UserError, match="'math' needs math-verify; install this package with the extra 'math'"):
        rewards.make("math").check([Problem("p", {"answer": "1"})])

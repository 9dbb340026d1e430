"""Rewards by what a suite says, and what it may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ppo_vs_grpo.tasks import rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards import Rated


def test_a_rule_is_named_and_rates() -> None:
    made = rewards.make("exact")
    assert made.names == ("exact",)
    assert made.models == ()
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


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("exactt", "reward: unknown 'exactt'; did you mean 'exact'? Known: exact, number, math, or 'package.module:"),
        (3, "reward: 3: should be a name, a mapping or a list of mappings"),
        ([], "reward: the list is empty"),
        ({"reward": 3}, "reward: 3: should be the name of a rule or a function"),
        (
            {"rewards": "exact"},
            "reward: {'rewards': 'exact'}: should have exactly one of the keys reward, model, labels, pre",
        ),
        ({"reward": "exact", "model": "."}, "reward: {'reward': 'exact', 'model': '.'}: should have exactly one of"),
        ({"reward": "exact", "wieght": 2}, "reward.wieght: unknown; did you mean 'weight'?"),
        ({"reward": "exact", "options": {"a": 1}}, "reward.options: the rule 'exact' has none"),
        ({"reward": "trl.rewards:f", "options": [1]}, "reward.options: [1]: should be a mapping"),
        ({"reward": "exact", "weight": "2"}, "reward.weight: '2': should be a finite number"),
        ({"reward": "exact", "name": "std"}, "reward.name: 'std': should be letters, digits and _, and none of parsed"),
        ({"reward": "exact", "name": "a b"}, "reward.name: 'a b': should be letters"),
        (["exact", "exact"], "reward: 'exact' is there twice; give each a `name` of its own"),
        ("nowhere.py:f", "reward: 'nowhere.py:f': there is no file 'nowhere.py' in "),
        ("trl.nothing:f", "reward: 'trl.nothing:f': there is no module 'trl.nothing'"),
        ("csv.more:f", "reward: 'csv.more:f': there is no module 'csv.more'"),
        ("csv:a b", "reward: 'csv:a b': a function is 'package.module:function' or 'file.py:function'"),
        ({"labels": "l.jsonl", "match": "near"}, "reward.match: 'near': should be exact or nearest"),
        ({"labels": "nowhere.jsonl"}, "reward.labels: 'nowhere.jsonl': there is no file"),
        ({"model": "./nowhere"}, "reward.model: './nowhere': there is no such folder in "),
        ({"model": "nowhere"}, "reward.model: 'nowhere': there is no such folder in "),
        ({"model": ".", "template": "chat"}, "reward.template: 'chat': should be one of auto, text, text+end"),
        ({"model": ".", "dtype": "int8"}, "reward.dtype: 'int8': should be one of float32, bfloat16, float16"),
        ({"model": ".", "batch": 0}, "reward.batch: 0: should be a whole number from 1"),
        ({"model": ".", "max_tokens": 1.5}, "reward.max_tokens: 1.5: should be a whole number from 1"),
    ],
)
def test_what_is_no_reward_is_refused(given: Any, words: str) -> None:
    with pytest.raises(UserError) as found:
        rewards.make(given)
    assert str(found.value).startswith(f"options.{words}")


@pytest.mark.parametrize(
    ("limit_s", "on_error"), [(0, "raise"), (True, "raise"), (float("inf"), "raise"), (1, "ignore")]
)
def test_limits_are_checked(limit_s: Any, on_error: str) -> None:
    with pytest.raises(UserError, match=r"options\.(limit_s|on_error): .*should be"):
        rewards.make("exact", limit_s, on_error)


def test_a_model_rates_by_its_judge_and_counts_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    made = rewards.make([{"model": str(tmp_path), "weight": 2}, "exact"])
    asked = [Problem("p", {"answer": "a"})] * 2
    with pytest.raises(ValueError, match="the reward model needs its model: set `judge`"):
        made.rate(asked, ["a", "b"], [(), ()])
    (model,) = made.models
    model.judge = lambda problems, completions: [0.5 if problems == asked else 0.0, -1.0]
    assert [rated.reward for rated in made.rate(asked, ["a", "b"], [(), ()])] == [2.0, -2.0]
    model.judge = lambda problems, completions: [0.5, float("nan")]
    with pytest.raises(rewards.RatingError, match=r"reward model, prompt 'p', completion 'b': the model '.*' gave nan"):
        made.rate(asked, ["a", "b"], [(), ()])
    before = made.digest()
    (tmp_path / "README.md").write_text("no part of the model")
    assert made.digest() == before
    (tmp_path / "config.json").write_text("{ }")
    assert made.digest() != before
    assert "maker/judge" in rewards.make({"model": "maker/judge"}).digest()


def test_looking_for_a_function_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud" / "__init__.py").write_text("raise RuntimeError")
    (tmp_path / "loud" / "inner.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    assert rewards.make("loud.inner:f").names == ("f",)

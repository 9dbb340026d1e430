"""Environments of verifiers: their rows and splits, rubrics as rewards, and what cannot be used.

The environments stand in tests/helpers/counting.py, written as the library's users write theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Score
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.one_turn import OneTurn
from ppo_vs_grpo.tasks.rewards import RatingError
from ppo_vs_grpo.tasks.rewards.worker import Worker
from ppo_vs_grpo.tasks.splits import data_hash, split_of

pytest.importorskip("verifiers", reason="verifiers is not installed: pip install 'ppo-vs-grpo[verifiers]'")


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    """The tasks of these tests share a process, which takes seconds to import the library, and find the helpers."""
    worker = Worker()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(Path(__file__).parents[1] / "helpers"), *sys.path])
        patch.setattr("ppo_vs_grpo.tasks.rewards.given.Worker", lambda: worker)
        yield
    worker.close()


def environment(**options: Any) -> OneTurn:
    task = make("verifiers/counting", options)
    assert isinstance(task, OneTurn)
    return task


@pytest.fixture(scope="module")
def task() -> OneTurn:
    return environment(rows=40, pass_by="right")


def test_the_evaluation_dataset_is_held_out(task: OneTurn) -> None:
    assert task.name == "verifiers/counting"
    assert [p.facts["info"]["letters"] for p in task.rows("heldout")] == list(range(33, 41))
    rest = [p.facts["info"]["letters"] for split in ("train", "validation") for p in task.rows(split)]
    assert sorted(rest) == list(range(1, 33))
    assert all(split_of(p.prompt) == "validation" for p in task.rows("validation"))


def test_prompts_are_the_environments_messages(task: OneTurn) -> None:
    (problem,) = [p for p in task.rows("heldout") if p.facts["info"]["letters"] == 33]
    assert problem.messages == (
        {"role": "system", "content": "Answer with a number."},
        {"role": "user", "content": f"How many letters has {'a' * 33}?"},
    )


def test_the_rubrics_weighted_sum_is_the_reward(task: OneTurn) -> None:
    """1.0 * right + 0.5 * brief, where brief is 1 / (1 + characters)."""
    first, second = task.rows("heldout")[:2]
    assert task.score_all([first, second, first], ["33", " 34\n", "none"], [(), (), ()]) == [
        Score(1 + 0.5 / 3, True, {"right": 1.0, "brief": 1 / 3}),
        Score(1 + 0.5 / 5, True, {"right": 1.0, "brief": 1 / 5}),
        Score(0.5 / 5, False, {"right": 0.0, "brief": 1 / 5}),
    ]


def test_a_completion_passes_by_its_reward_unless_told_otherwise() -> None:
    task = environment(rows=40, pass_at=1.17)
    first, second = task.rows("heldout")[:2]
    assert [task.score(first, "33").passed, task.score(second, " 34\n").passed] == [False, False]  # 1.167 and 1.1
    assert environment(rows=40, pass_at=1.16).score(first, "33").passed


def test_a_rubrics_failure_is_named_although_the_library_calls_it_zero(task: OneTurn) -> None:
    first, second = task.rows("heldout")[:2]
    with pytest.raises(RatingError, match=r"rubric, prompt 'Answer with.*, completion 'break':.*right: it is broken"):
        task.score_all([first, second], ["33", "break"], [(), ()])
    skipping = environment(rows=40, on_error="skip")
    scores = skipping.score_all([first, second], ["33", "break"], [(), ()])
    assert [s.reward for s in scores] == [1 + 0.5 / 3, None]
    assert [s.parts["reward_error"] for s in scores] == [0.0, 1.0]


def test_a_rubric_that_hangs_is_named(task: OneTurn) -> None:
    quick = environment(rows=40, limit_s=1)
    with pytest.raises(RatingError, match=r"completion 'hang': it took longer than 1 s"):
        quick.score(quick.rows("heldout")[0], "hang")


def test_rows_and_arguments_decide_the_data_hash(task: OneTurn) -> None:
    assert data_hash(task) == data_hash(environment(rows=40))
    assert data_hash(task) != data_hash(environment(rows=41))
    assert data_hash(task) != data_hash(environment(rows=40, brief=0.25))


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("absent-environment", {}, "Could not import 'absent-environment' environment"),
        ("counting", {"rows": 40, "turns": 3}, "is no SingleTurnEnv; only environments of one turn can be used"),
        ("counting", {"rows": 40, "by_group": True}, "its rubric scores groups"),
        ("counting", {"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=f"task: 'verifiers/{name}' cannot be used: it raised.*{why}"):
        make(f"verifiers/{name}", options)


def test_a_part_that_the_rubric_lacks_is_refused() -> None:
    with pytest.raises(UserError, match=r"options.pass_by: 'rihgt' is no function .*; did you mean 'right'"):
        environment(rows=40, pass_by="rihgt")

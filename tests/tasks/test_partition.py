"""Three splits that share no prompt: what has no source of its own goes by the hash of the text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.partition import partition
from ppo_vs_grpo.tasks.splits import split_of

MANY = [f"prompt {i}" for i in range(400)]


def rows(texts: Sequence[str], of: str = "") -> list[Problem]:
    return [Problem(text, {"of": of}) for text in texts]


def texts(problems: Sequence[Problem]) -> list[str]:
    return [problem.prompt for problem in problems]


def test_without_sources_the_hash_of_the_text_decides() -> None:
    splits, left_out = partition(rows(MANY), {})
    for split, problems in splits.items():
        assert texts(problems) == [text for text in MANY if split_of(text) == split]
    assert [split_of(text) for text in ("a", "h", "p")] == ["train", "validation", "heldout"]
    assert texts(partition(rows("ahp"), {})[0]["heldout"]) == ["p"]
    assert left_out == {}


def test_own_splits_are_kept_and_only_the_missing_one_is_taken_from_train() -> None:
    splits, _ = partition(rows(MANY), {"heldout": rows(["own"])})
    assert texts(splits["heldout"]) == ["own"]
    assert texts(splits["validation"]) == [text for text in MANY if split_of(text) == "validation"]
    assert texts(splits["train"]) == [text for text in MANY if split_of(text) != "validation"]
    splits, _ = partition(rows(MANY), {"heldout": rows(["own"]), "validation": rows(["mine"])})
    assert (texts(splits["train"]), texts(splits["validation"])) == (MANY, ["mine"])


def test_duplicates_stand_once_where_nothing_is_trained_on() -> None:
    own = [Problem("x", {"n": 1}), Problem("y"), Problem("x", {"n": 2})]
    splits, left_out = partition(rows("ab" * 3), {"heldout": own, "validation": rows("vwv")})
    assert splits["heldout"] == [own[0], own[1]]
    assert texts(splits["validation"]) == ["v", "w"]
    assert texts(splits["train"]) == list("ababab")
    assert left_out == {"duplicates in heldout": 1, "duplicates in validation": 1}


@pytest.mark.parametrize(("repeated", "kept"), [(2, 398), (0, 400)])
def test_a_few_repeated_prompts_leave_the_train_split(repeated: int, kept: int) -> None:
    own = rows([*MANY[:repeated], *(f"test {i}" for i in range(198 + 2 - repeated))])
    splits, left_out = partition(rows(MANY), {"heldout": own, "validation": rows(["v"])})
    assert len(splits["heldout"]) == 200
    assert len(splits["train"]) == kept
    assert left_out.get("train rows repeated in heldout", 0) == repeated


def test_many_repeated_prompts_are_refused() -> None:
    own = rows([*MANY[:3], *(f"test {i}" for i in range(197))])
    with pytest.raises(UserError, match=r"test: 3 of 200 heldout prompts are train prompts too, as 'prompt 0'"):
        partition(rows(MANY), {"heldout": own})
    with pytest.raises(UserError, match=r"^options\.validation: 1 of 1 validation prompts are train prompts too"):
        partition(rows(MANY), {"validation": rows(["prompt 5"]), "heldout": rows("h")})
    with pytest.raises(UserError, match=r"^options\.test: 1 of 1 heldout prompts are validation prompts too"):
        partition(rows(MANY), {"validation": rows("h"), "heldout": rows("h")})

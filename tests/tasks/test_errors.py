"""Values in messages are cut to a length."""

from __future__ import annotations

import pytest

from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, shown
from ppo_vs_grpo.tasks.partition import partition


def test_a_value_is_cut_with_its_quotes() -> None:
    assert shown("x" * 198) == repr("x" * 198)
    assert shown("x" * 199) == f"'{'x' * 196}..."
    assert shown("abcdefgh", 8) == "'abcd..."


def test_examples_of_repeated_prompts_are_brief() -> None:
    rows = [Problem("x" * 150)]
    with pytest.raises(UserError) as error:
        partition(rows, {"heldout": rows})
    assert shown("x" * 150, BRIEF) in str(error.value)
    assert "x" * 60 not in str(error.value)

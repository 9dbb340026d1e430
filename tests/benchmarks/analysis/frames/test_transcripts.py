"""Transcripts beside each other: the same prompt, the same seed, the same random numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from handmade import made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.transcripts import Transcript, side_by_side

ARMS = ("ppo", "grpo")


def rows(arm: str, seed: int, update: int, passed: list[bool], **more: Any) -> list[dict[str, Any]]:
    """An evaluation's transcripts, a prompt each."""
    who = {"arm": arm, "task": "a", "seed": seed, "key": f"{arm}.a.s{seed}", "update": update}
    text = "" if update == 0 else f" {arm} {seed}"
    return [
        who | {"prompt": f"prompt {i}", "completion": f"answer {i}{text}", "reward": float(right), "passed": right}
        | {"tokens": 5 + i, "ended": right} | more
        for i, right in enumerate(passed)
    ]  # fmt: skip


def results(samples: list[dict[str, Any]], **shape: Any) -> Results:
    curves = {arm: {"a": [[0.1, 0.5]] * 2} for arm in ARMS}
    return replace(made(curves, **shape), samples=pd.DataFrame(samples))


BOTH = [
    *rows("ppo", 0, 0, [False] * 3), *rows("ppo", 0, 5, [True, True, False]), *rows("ppo", 0, 9, [False, True, True]),
    *rows("grpo", 0, 0, [False] * 3), *rows("grpo", 0, 9, [False, True, False]),
    *rows("ppo", 1, 9, [True] * 3), *rows("grpo", 1, 9, [True] * 3),
]  # fmt: skip


def test_each_prompt_has_both_arms_at_the_end_with_one_seed_and_those_that_differ_come_first() -> None:
    found = side_by_side(results(BOTH), "a")
    assert found is not None
    assert (found.seed, found.arms, found.left_out) == (0, ARMS, ())
    assert [(prompt.index, prompt.text, prompt.differs, prompt.solved_by) for prompt in found.prompts] == [
        (2, "prompt 2", True, ["ppo"]),
        (0, "prompt 0", False, []),
        (1, "prompt 1", False, ["ppo", "grpo"]),
    ]
    assert dict(found.prompts[0].ends) == {
        "ppo": Transcript("answer 2 ppo 0", True, 1.0, 7, True),
        "grpo": Transcript("answer 2 grpo 0", False, 0.0, 7, False),
    }
    assert found.prompts[0].common_start == Transcript("answer 2", False, 0.0, 7, False)


def test_starts_that_differ_are_no_common_start() -> None:
    other = [row | {"completion": "other"} if (row["arm"], row["update"]) == ("grpo", 0) else row for row in BOTH]
    found = side_by_side(results(other), "a")
    assert found is not None
    assert found.prompts[0].common_start is None
    assert [start.text for start in found.prompts[0].starts.values()] == ["answer 2", "other"]


def test_the_seed_is_the_first_that_most_arms_finished() -> None:
    stopped = results(BOTH, diverged=[("grpo", "a", 0)])
    short = replace(stopped, runs=stopped.runs.assign(completions=stopped.runs["completions"].where(
        stopped.runs["status"] == "ok", 50)))  # fmt: skip
    found = side_by_side(short, "a")
    assert found is not None
    assert (found.seed, found.arms) == (1, ARMS)
    alone = side_by_side(replace(short, samples=short.samples[short.samples["seed"] == 0]), "a")
    assert alone is not None
    assert (alone.seed, alone.arms, alone.left_out) == (0, ("ppo",), ("grpo",))
    assert not any(prompt.differs for prompt in alone.prompts)


def test_twenty_prompts_at_most_and_a_prompt_that_is_another_has_no_completion() -> None:
    many = [*rows("ppo", 0, 9, [True] * 30), *rows("grpo", 0, 9, [True] * 30)]
    found = side_by_side(results(many), "a")
    assert found is not None
    assert [prompt.index for prompt in found.prompts] == list(range(20))
    other = [row | {"prompt": "else"} if (row["arm"], row["prompt"]) == ("grpo", "prompt 1") else row for row in many]
    found = side_by_side(results([*other[:30], *other[30:35]]), "a")
    assert found is not None
    assert [list(prompt.ends) for prompt in found.prompts] == [list(ARMS), ["ppo"], *[list(ARMS)] * 3, *[["ppo"]] * 15]


def test_what_earlier_records_lack_is_unknown() -> None:
    before = pd.DataFrame(BOTH).drop(columns=["tokens", "ended"]).assign(reward=math.nan)
    found = side_by_side(replace(results(BOTH), samples=before), "a")
    assert found is not None
    assert found.prompts[0].ends["ppo"] == Transcript("answer 2 ppo 0", True, None, None, None)
    mixed = pd.concat([before[before["arm"] == "ppo"], pd.DataFrame(BOTH).query("arm == 'grpo'")])
    both = side_by_side(replace(results(BOTH), samples=mixed), "a")
    assert both is not None
    assert [end.tokens for end in both.prompts[0].ends.values()] == [None, 7]


@pytest.mark.parametrize("samples", [[], rows("ppo", 0, 0, [True])])
def test_without_a_transcript_of_the_end_there_is_nothing(samples: list[dict[str, Any]]) -> None:
    none = results(BOTH)
    columns = list(none.samples.columns)
    assert side_by_side(replace(none, samples=pd.DataFrame(samples, columns=columns)), "a") is None
    assert side_by_side(made({"ppo": {"a": [[0.1, 0.5]]}}), "a") is None

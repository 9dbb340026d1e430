"""Sentences on the lengths of right and wrong completions: there where there is something to say, and only there."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from handmade import made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.lengths import length_sentences

Lengths = tuple[float, float]
"""Mean tokens of completions that passed, and of those that failed."""


def results(start: Lengths, ends: list[Lengths], cut: tuple[int, int] = (0, 0)) -> Results:
    """An arm whose runs, a seed each, have 100 completions that passed and 100 that failed, so many of them cut off."""
    shape = made({"ppo": {"sorting": [[0.5, 0.5]] * len(ends)}})
    rows = [
        {"arm": "ppo", "task": "sorting", "seed": seed, "key": f"ppo.sorting.s{seed}", "update": update, "prompt": 0}
        | {"completions": 100 * update, "samples": 200, "passes": 100}
        | {"completion_tokens_mean": sum(lengths) / 2, "passed_tokens_mean": lengths[0]}
        | {"passed_cut": cut[0] * update, "failed_cut": cut[1] * update}
        for seed, end in enumerate(ends)
        for update, lengths in enumerate((start, end))
    ]
    return replace(shape, evals=pd.DataFrame(rows))


def test_wrong_completions_that_grow_alone_are_said() -> None:
    """Growth 2, 3 and 4: t = 4.303 with 2 degrees of freedom, 3 +- 4.303 / sqrt(3) = 0.516 to 5.484."""
    assert length_sentences(results((10, 12), [(10, 14), (10, 15), (10, 16)])) == [
        "On sorting, ppo's completions grow longer only when they are wrong: over 3 runs those that fail by 3.0 tokens "
        "(0.5 to 5.5) from 12.0, those that pass by 0.0 (0.0 to 0.0)."
    ]


@pytest.mark.parametrize(
    ("start", "ends"),
    [
        pytest.param((10, 12), [(13, 15), (14, 16), (15, 17)], id="both grow"),
        pytest.param((10, 12), [(11, 14), (12, 15), (13, 16)], id="both grow, the wrong ones more"),
        pytest.param((10, 12), [(11, 19), (11, 20), (11, 21)], id="both grow, far apart"),
        pytest.param((10, 12), [(10, 9), (10, 8), (10, 7)], id="they shrink"),
        pytest.param((10, 12), [(10, 12), (10, 22), (10, 12)], id="in one run of three"),
        pytest.param((10, 12), [(10, 15)], id="one run"),
        pytest.param((10, 120), [(10, 122), (10, 123), (10, 124)], id="by a fortieth"),
        pytest.param((10, 12), [(7, 14), (10, 15), (16, 16)], id="what passed may grow as much"),
    ],
)
def test_nothing_is_said_where(start: Lengths, ends: list[Lengths]) -> None:
    assert length_sentences(results(start, ends)) == []


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        ((0, 4), []),
        ((4, 4), []),
        ((0, 30), ["30% of ppo's completions that fail at the end and 0% of those that pass: some may fail because"]),
        ((6, 0), ["0% of ppo's completions that fail at the end and 6% of those that pass."]),
    ],
)
def test_what_the_limit_cuts_off_is_said_from_a_twentieth_on(cut: tuple[int, int], says: list[str]) -> None:
    found = length_sentences(results((10, 12), [(10, 12)], cut))
    assert len(found) == len(says)
    assert all(f"On sorting, the limit cuts off {words}" in line for line, words in zip(found, says, strict=True))


def test_of_several_arms_the_judged_two_are_spoken_of() -> None:
    one = results((10, 12), [(10, 12)], (0, 30))
    arms = ("ppo", "grpo", "dapo")
    evals = pd.concat([one.evals.assign(arm=arm, key=f"{arm}.sorting.s0") for arm in arms])
    three = replace(made({arm: {"sorting": [[0.5, 0.5]]} for arm in arms}), evals=evals)
    assert [line.split("of ")[1].split("'")[0] for line in length_sentences(three)] == ["ppo", "grpo"]

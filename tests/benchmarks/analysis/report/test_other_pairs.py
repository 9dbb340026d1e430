"""The pairs beside the judged one: an estimate of each, the largest on the first screen, and no winner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from handmade import made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.conditions import places_of_beta
from ppo_vs_grpo.benchmarks.analysis.report.other_pairs import largest_sentence, other_pairs, pairs_table

WAVE = np.array([0.01, -0.01] * 4)


def results(pairs: list[list[str]] | None, beta: float = 0.1, grpo: float = 0.5) -> Results:
    """ppo and grpo end at 0.5 on sorting, grpo elsewhere if asked; ppo-far at 0.9, grpo-far at 0.4 on recall."""
    ends = {"ppo": (0.5, None), "grpo": (grpo, None), "ppo-far": (None, 0.9), "grpo-far": (None, 0.4)}
    curves: dict[str, dict[str, Any]] = {
        arm: {
            task: [[0.1, float(end + wave)] for wave in (WAVE if arm.startswith("ppo") else np.roll(WAVE, 1))]
            for task, end in zip(("sorting", "recall"), both, strict=True)
            if end is not None
        }
        for arm, both in ends.items()
    }
    found = made(curves)
    arms = {arm: {**chosen, "tasks": list(curves[arm])} for arm, chosen in found.suite["arms"].items()}
    specs = {
        run.key: found.specs[run.key]
        | {"purpose": "train", "arm": run.arm, "train": found.specs[run.key]["train"] | {"beta": beta}}
        | {"config": {"kl": "k3"} if run.arm.startswith("grpo") else {}}
        for run in found.runs.itertuples()
    }
    return replace(
        found,
        suite={**found.suite, "arms": arms, "tasks": {"sorting": {}, "recall": {}}, "pairs": pairs},
        specs=specs,
    )


def test_a_suite_without_other_pairs_has_no_word_of_them() -> None:
    for pairs in (None, [["ppo", "grpo"]]):
        assert other_pairs(results(pairs)) == ()
        assert largest_sentence(results(pairs)) == ""
        assert pairs_table(results(pairs)).empty


def test_each_other_pair_has_a_row_a_task_and_the_largest_is_said() -> None:
    found = results([["ppo", "grpo"], ["ppo-far", "grpo-far"], ["ppo", "grpo-far"]])
    # Differences are -0.52 and -0.48 in turn: mean -0.5, sd 0.02138, t(7, 0.975) = 2.3646: half-width 0.01787.
    assert pairs_table(found).to_dict("records") == [
        {
            "pair": "ppo-far and grpo-far",
            "task": "recall",
            "first": "0.900",
            "second": "0.400",
            "second minus first, points": "\N{MINUS SIGN}50.0",
            "95% interval": "\N{MINUS SIGN}51.8 to \N{MINUS SIGN}48.2",
            "n": "8",
        }
    ]
    assert largest_sentence(found) == (
        "The suite's other pairs differ most on recall: ppo-far ends 50.0 points higher than grpo-far "
        "(95% interval 48.2 to 51.8, 8 paired seeds). The KL penalty acts differently by its place: ppo-far has beta "
        "0.1 in its rewards, grpo-far has beta 0.1 in its loss."
    )


def test_the_largest_difference_may_be_either_arms() -> None:
    found = results([["grpo-far", "ppo-far"], ["ppo", "grpo"], ["ppo-far", "grpo-far"]], grpo=0.6)
    assert pairs_table(found)["second minus first, points"].tolist() == ["+10.0", "\N{MINUS SIGN}50.0"]
    assert "on recall: ppo-far ends 50.0 points higher than grpo-far" in largest_sentence(found)


def test_pairs_that_end_alike_have_a_row_and_no_sentence() -> None:
    found = results([["ppo", "ppo-far"], ["ppo", "grpo"]])
    assert pairs_table(found)["second minus first, points"].tolist() == ["0.0"]
    assert largest_sentence(found) == ""


def test_a_penalty_that_is_absent_or_stands_in_one_place_is_not_said_to_differ() -> None:
    far = ("ppo-far", "grpo-far")
    assert places_of_beta(results(None, beta=0.0), far) == ""
    assert places_of_beta(results(None), ("ppo", "ppo-far")) == ""
    assert places_of_beta(results(None), ("ppo", "gone")) == ""
    assert places_of_beta(results(None), far) != ""

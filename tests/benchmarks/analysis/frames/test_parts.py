"""A part of a suite's results is what the suite's results would be, had it asked for that part alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from handmade import made
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair
from ppo_vs_grpo.benchmarks.analysis.frames.parts import Part, narrowed
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results

SMALL = {"updates": 4, "prompts": 8}
FRAMES = ("runs", "metrics", "evals", "memory", "timing", "missing", "samples")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    suite = make_suite(arms=("ppo", "grpo", "rloo"), tasks=("sorting", "recall"), seeds=3, **SMALL)
    return load(write_results(tmp_path_factory.mktemp("whole"), suite, missing=["grpo.recall.s2"]))


def test_a_part_has_the_frames_of_a_suite_of_that_part(whole: Results, tmp_path: Path) -> None:
    asked = make_suite(arms=("grpo", "ppo"), tasks=("recall",), seeds=2, **SMALL)
    alone, part = load(write_results(tmp_path, asked)), narrowed(whole, ("grpo", "ppo"), ("recall",), (2,))
    assert (part.arms, part.tasks, part.seeds) == (alone.arms, alone.tasks, alone.seeds)
    for name in FRAMES:
        one, other = (getattr(each, name).sort_values(["key"], kind="stable") for each in (part, alone))
        pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True), check_dtype=False)
    assert part.specs == alone.specs
    assert set(part.hashes) == set(part.environments) == set(part.runs["key"])
    old = replace(whole, unsealed=(*whole.specs, "suite.lock.yaml"))
    assert set(narrowed(old, ("grpo", "ppo"), ("recall",), (2,)).unsealed) == {*part.specs, "suite.lock.yaml"}


def test_seeds_are_left_out_of_training_and_not_repeats_of_the_timing_pass(whole: Results) -> None:
    part = narrowed(whole, without_seeds=(1,))
    assert set(part.runs.loc[part.runs["purpose"] == "train", "seed"]) == {0, 2}
    assert set(part.timing["seed"]) == {0, 1}
    assert set(part.memory.loc[part.memory["purpose"] == "timing", "seed"]) == {0, 1}
    assert part.missing["key"].tolist() == whole.missing["key"].tolist()


def test_the_first_two_arms_of_a_part_are_judged_in_its_order(whole: Results) -> None:
    assert choose_pair(whole) == ("ppo", "grpo")
    assert choose_pair(narrowed(whole, ("rloo", "grpo"))) == ("rloo", "grpo")
    assert choose_pair(narrowed(whole, ("grpo", "ppo"))) == ("grpo", "ppo")


def test_claims_and_attribution_that_need_more_are_left_out() -> None:
    claims = {name: {"arms": list(arms), "tasks": ["a"]} for name, arms in {"S1": "pg", "S2": "pr"}.items()}
    claims["S3"] = claims["S1"] | {"dial": {"points": {"1": {"arms": ["r"], "tasks": ["a"]}}}}
    results = made({arm: {"a": [(0.2, 0.4)]} for arm in "pgr"})
    results = Results(**vars(results) | {"suite": {**results.suite, "claims": claims, "attribution": {"ppo": "r"}}})
    part = narrowed(results, ("p", "g"))
    assert list(part.suite["claims"]) == ["S1"]
    assert part.suite["attribution"] == []
    assert narrowed(results, without_seeds=()) is results


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"arms": ("ppo", "grppo")}, "no arm 'grppo'; did you mean 'grpo'?"),
        ({"arms": ("ppo", "ppo")}, "arm 'ppo' twice"),
        ({"tasks": ("sort",)}, "no task 'sort'; did you mean 'sorting'?"),
        ({"without_seeds": (7,)}, "no seed 7; its seeds are 0, 1, 2"),
        ({"without_seeds": (0, 1, 2)}, "without seeds 0, 1, 2: no run is left"),
    ],
)
def test_a_part_that_does_not_exist_is_one_message(whole: Results, asked: dict[str, tuple[str]], says: str) -> None:
    with pytest.raises(UserError, match=says.replace("?", r"\?")):
        narrowed(whole, **asked)  # type: ignore[arg-type]


def test_a_parts_folder_is_called_by_what_is_in_it() -> None:
    assert Part(("a", "b"), ("x",), (3, 5)).folder == "report-a-b-on-x-without-3-5"
    many = Part(tuple(f"a-long-label-{number}" for number in range(9)))
    assert len(many.folder) == len("report-") + 8
    assert many.folder != Part(many.arms[:8]).folder

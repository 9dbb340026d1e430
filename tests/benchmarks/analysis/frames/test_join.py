"""Results of several folders as one, where they answer one question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from damage import edit_manifest, rehash, run_folder
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results

SMALL: dict[str, Any] = {"tasks": ("sorting", "recall"), "updates": 4, "prompts": 4}


def seeds(*chosen: int, **changes: Any) -> Suite:
    return make_suite(**SMALL | changes).model_copy(update={"seeds": list(chosen)})


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return write_results(tmp_path / "a", seeds(0, 1)), write_results(tmp_path / "b", seeds(2, 3, 4))


def test_more_seeds_are_one_suite(folders: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = folders
    joined, whole = load(a, b), load(write_results(tmp_path / "whole", seeds(0, 1, 2, 3, 4)))
    assert joined.seeds == [0, 1, 2, 3, 4]
    assert joined.suite["arms"] == load(a).suite["arms"]
    for arm, scores in whole.score_matrix().items():
        pd.testing.assert_frame_equal(joined.score_matrix()[arm], scores)
    assert set(joined.specs) == set(joined.environments) == set(joined.hashes) == set(joined.runs["key"])
    assert joined.compare("ppo", "grpo").primary == whole.compare("ppo", "grpo").primary
    assert joined.compare().primary.n == 5


def test_the_timing_pass_is_the_first_folders(folders: tuple[Path, Path]) -> None:
    a, b = folders
    joined, first = load(a, b), load(a)
    pd.testing.assert_frame_equal(joined.timing, first.timing)
    assert (
        (joined.runs["purpose"] == "timing").sum() == (joined.memory.query("purpose == 'timing'")["key"].nunique()) == 8
    )
    assert joined.ignored == tuple(sorted(first.timing["key"].unique()))  # both name their repeats alike


def test_other_arms_run_on_their_own_tasks(folders: tuple[Path, Path], tmp_path: Path) -> None:
    more = write_results(tmp_path / "more", seeds(0, 1, arms=("dapo",), tasks=("recall",)))
    joined = load(folders[0], more)
    assert joined.arms == ["ppo", "grpo", "dapo"]
    assert (joined.runs_on("dapo"), joined.runs_on("ppo")) == (["recall"], ["sorting", "recall"])
    assert joined.score_matrix()["dapo"]["recall"].notna().all()


def test_a_run_that_one_folder_lacks_and_the_other_has_is_there(tmp_path: Path) -> None:
    a = write_results(tmp_path / "a", seeds(0, 1), missing=["ppo.recall.s1", "grpo.recall.s1"])
    b = write_results(tmp_path / "b", seeds(1), missing=["grpo.recall.s1", "ppo.sorting.s1", "grpo.sorting.s1"])
    joined = load(a, b)
    assert joined.missing["key"].str.rpartition(".")[0].tolist() == ["grpo.recall.s1"]
    assert joined.score_matrix()["ppo"].notna().all(axis=None)


def test_a_run_in_two_folders_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    again = write_results(tmp_path / "again", seeds(4, 5))
    with pytest.raises(UserError, match=rf"{folders[1]} and {again} both have the run ppo\.sorting\.s4\."):
        load(*folders, again)
    with pytest.raises(UserError, match="both have the run"):
        load(again, again)
    empty = write_results(
        tmp_path / "empty", seeds(7, arms=("ppo",), tasks=("recall",), timing=False), missing=["ppo.recall.s7"]
    )
    with pytest.raises(UserError, match=r"empty: none of the 1 runs that suite\.lock\.yaml names is finished"):
        load(again, empty)


def rewrite_specs(folder: Path, cell: str, **changes: object) -> None:
    for run in (folder / "runs").glob(cell):
        spec = json.loads((run / "spec.json").read_text())
        (run / "spec.json").write_text(json.dumps(spec | changes))
        rehash(run)


@pytest.mark.parametrize(
    ("cell", "changes", "says"),
    [
        ("grpo.recall.*", {"config": {"normalize": "none"}},
         r"grpo on recall: config\.normalize is 'group_std' in .*a and 'none' in .*b;"),
        ("*", {"protocol": 2}, r"ppo on sorting: protocol is 1 in .*a and 2 in .*b;"),
        ("*.recall.*", {"start_hash": "1"}, r"ppo on recall: start_hash is '0' in .*a and '1' in .*b;"),
    ],
)  # fmt: skip
def test_what_differs_between_folders_is_named(
    folders: tuple[Path, Path], cell: str, changes: dict[str, object], says: str
) -> None:
    a, b = folders
    rewrite_specs(b, cell, **changes)
    with pytest.raises(UserError, match=says):
        load(a, b)


def test_arms_of_other_prompts_are_not_joined(folders: tuple[Path, Path], tmp_path: Path) -> None:
    more = write_results(tmp_path / "more", seeds(0, 1, arms=("dapo",), prompts=5))
    with pytest.raises(UserError, match=r"^sorting: eval\.prompts is 4 in .*a and 5 in .*more; "):
        load(folders[0], more)


def test_a_model_under_another_name_is_the_same(folders: tuple[Path, Path]) -> None:
    a, b = folders
    rewrite_specs(b, "*", start="elsewhere", suite="another")
    assert load(a, b).seeds == [0, 1, 2, 3, 4]
    edit_manifest(run_folder(b, "ppo.recall.s2"), status="failed")
    assert load(a, b).complete == load(a).complete | load(b).complete

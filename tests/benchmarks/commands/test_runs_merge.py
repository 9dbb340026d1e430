"""Two results folders as one: what is copied, what the lock says, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.records.lock import write_lock
from ppo_vs_grpo.benchmarks.records.union import Merged, merge
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results


def suite(seeds: list[int], beta: float = 0.1) -> Suite:
    made = make_suite(tasks=("recall",), seeds=4, updates=4, prompts=8)
    return made.model_copy(update={"seeds": seeds, "train": made.train.model_copy(update={"beta": beta})})


def lock(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "suite.lock.yaml").read_text())
    return content


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_merged_seeds_are_those_of_one_folder_that_ran_them_all(tmp_path: Path) -> None:
    a = write_results(tmp_path / "a", suite([0, 1]), failed=["ppo.recall.s1"])
    b = write_results(tmp_path / "b", suite([1, 2, 3]), missing=["grpo.recall.s3"])
    whole = load(write_results(tmp_path / "whole", suite([0, 1, 2, 3]), missing=["grpo.recall.s3"]))
    before = files(a), files(b)
    assert merge(a, b, tmp_path / "c") == Merged(seeds=(0, 1, 2, 3), copied=(7, 4), both=6)
    assert (files(a), files(b)) == before
    made = load(tmp_path / "c")
    for name in ("runs", "evals", "missing"):
        one, other = (getattr(each, name).sort_values("key", kind="stable") for each in (made, whole))
        pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    of_both = lock(tmp_path / "c")
    assert of_both["suite"]["seeds"] == [0, 1, 2, 3]
    assert of_both["changed"] == {"seeds": [[0, 1], [0, 1, 2, 3]]}
    assert set(of_both["seals"]) == set(made.runs["key"])
    assert sorted(of_both["keys"]) == sorted([*whole.runs["key"], *whole.missing["key"]])


def test_the_lock_keeps_what_was_changed_before(tmp_path: Path) -> None:
    a, b = (write_results(tmp_path / name, suite(seeds)) for name, seeds in (("a", [0]), ("b", [1])))
    write_lock(a, lock(a) | {"changed": {"train.beta": [0.2, 0.1], "seeds": [[0, 1], [0]]}}, lock(a)["seals"])
    merge(a, b, tmp_path / "c")
    assert lock(tmp_path / "c")["changed"] == {"train.beta": [0.2, 0.1]}


def test_suites_that_differ_are_refused_field_by_field(tmp_path: Path) -> None:
    a, b = write_results(tmp_path / "a", suite([0])), write_results(tmp_path / "b", suite([1], beta=0.5))
    with pytest.raises(UserError) as caught:
        merge(a, b, tmp_path / "c")
    assert str(caught.value) == f"{a} and {b} cannot be merged: train.beta is 0.1 in {a} and 0.5 in {b}"
    assert not (tmp_path / "c").exists()


def test_runs_of_two_protocols_are_refused_by_the_field_of_their_specs(tmp_path: Path) -> None:
    a, b = (write_results(tmp_path / name, suite(seeds)) for name, seeds in (("a", [0]), ("b", [1])))
    for path in list(b.rglob("spec.json")):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"start_hash": "7"}))
        path.parent.rename(path.parent.with_name(path.parent.name[:-8] + "01234567"))
    write_lock(b, lock(b) | {"keys": [key[:-8] + "01234567" for key in lock(b)["keys"]]}, {})
    with pytest.raises(UserError, match=f"recall: start_hash is 0 in {a} and 7 in {b}"):
        merge(a, b, tmp_path / "c")


def test_the_command_says_what_it_copied_and_overwrites_nothing(tmp_path: Path) -> None:
    a, b = (write_results(tmp_path / name, suite(seeds)) for name, seeds in (("a", [0]), ("b", [1])))
    arguments = ["merge", str(a), str(b), "--out", str(tmp_path / "c")]
    assert CliRunner().invoke(app, arguments).output.splitlines() == [
        f"{tmp_path / 'c'}: 6 runs of {a} and 2 of {b}, 2 seeds",
        f"4 runs lie in both; of these, those of {a} were taken, unless they failed",
        f"next: ppo-vs-grpo report {tmp_path / 'c'}",
    ]
    error = CliRunner().invoke(app, arguments).exception
    assert str(error) == f"{tmp_path / 'c'}: is there already; merge into a new folder"

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from damage import edit_manifest, rehash, run_folder
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.records.schema import METRIC_COLUMNS
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_specs, make_suite, write_results

SMALL: dict[str, Any] = {"tasks": ("sorting", "recall"), "seeds": 3, "updates": 8, "prompts": 8}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("made") / "small", make_suite(**SMALL))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "small"))


def test_frames_hold_every_run_once(folder: Path) -> None:
    results = load(folder)
    assert results.runs.groupby("purpose").size().to_dict() == {"train": 12, "timing": 8}
    assert len(results.metrics) == 12 * 8
    assert len(results.evals) == 12 * 5 * 8
    assert len(results.timing) == 8 * 23
    assert results.timing["warmup"].sum() == 8 * 3
    assert results.missing.empty
    for frame in (results.metrics, results.evals, results.memory, results.timing):
        assert list(frame.columns[:4]) == ["arm", "task", "seed", "key"]


def test_final_scores_are_the_passes_of_the_last_evaluation(folder: Path) -> None:
    rows = [
        json.loads(line) for line in (run_folder(folder, "grpo.recall.s1") / "evals.jsonl").read_text().splitlines()
    ]
    last = [row for row in rows if row["update"] == 8]
    results = load(folder)
    matrix = results.score_matrix()["grpo"]
    assert matrix.index.tolist() == [0, 1, 2]
    assert matrix.columns.tolist() == ["sorting", "recall"]
    assert matrix.loc[1, "recall"] == sum(row["passes"] for row in last) / (4 * 8)
    assert results.score_matrix("greedy_pass")["grpo"].loc[1, "recall"] == sum(row["greedy_pass"] for row in last) / 8


def test_area_is_a_mean_height(folder: Path) -> None:
    results = load(folder)
    curve = results.scores.query("arm == 'ppo' and task == 'sorting' and seed == 2")["pass_rate"].to_list()
    area = results.score_matrix("area_pass_rate")["ppo"].loc[2, "sorting"]
    assert area == pytest.approx((curve[0] / 2 + sum(curve[1:-1]) + curve[-1] / 2) / 4)


def test_an_unknown_metric_names_the_nearest(folder: Path) -> None:
    with pytest.raises(UserError, match=r"'pas_rate'; did you mean 'pass_rate'"):
        load(folder).score_matrix("pas_rate")


def test_parquet_and_json_lines_read_the_same(folder: Path) -> None:
    first = load(folder)
    for parquet in [*folder.glob("runs/*/metrics.parquet"), *folder.glob("runs/*/evals.parquet")]:
        parquet.unlink()
        rehash(parquet.parent)
    second = load(folder)
    pd.testing.assert_frame_equal(first.metrics, second.metrics)
    pd.testing.assert_frame_equal(first.evals, second.evals)


def test_missing_and_unfinished_cells_are_named(tmp_path: Path) -> None:
    write_results(tmp_path, make_suite(**SMALL), missing=["ppo.recall.s2"], unfinished=["grpo.sorting.r1"])
    results = load(tmp_path)
    assert results.missing[["purpose", "arm", "task", "seed", "state"]].to_numpy().tolist() == [
        ["train", "ppo", "recall", 2, "not started"],
        ["timing", "grpo", "sorting", 1, "unfinished"],
    ]
    assert np.isnan(results.score_matrix()["ppo"].to_numpy()[2, 1])


def test_failed_and_diverged_runs_stay_as_rows_and_have_no_final_score(tmp_path: Path) -> None:
    write_results(tmp_path, make_suite(**SMALL), failed=["ppo.recall.s0"], diverged=["grpo.recall.s1"])
    results = load(tmp_path)
    states = results.runs.set_index("key")["status"]
    assert sorted(states[states != "ok"]) == ["diverged", "failed"]
    assert results.missing.empty
    assert results.finals.query("arm == 'grpo' and task == 'recall' and seed == 1")["final_pass_rate"].isna().all()
    assert not results.scores.query("arm == 'grpo' and task == 'recall' and seed == 1")["complete"].any()
    assert results.scores.query("arm == 'ppo' and task == 'recall' and seed == 0").empty


def test_a_run_that_diverged_at_its_end_keeps_its_final_score(folder: Path) -> None:
    before = load(folder).score_matrix()["ppo"]
    edit_manifest(run_folder(folder, "ppo.recall.s0"), status="diverged")
    pd.testing.assert_frame_equal(load(folder).score_matrix()["ppo"], before)


def test_runs_of_an_earlier_configuration_are_ignored(folder: Path) -> None:
    before = load(folder)
    suite = make_suite(**{**SMALL, "updates": 9})
    write_results(folder, suite)
    results = load(folder)
    assert set(results.runs["key"]) == {spec.key for spec in make_specs(suite)}
    old = before.runs[before.runs["purpose"] == "train"]  # the timing pass is the same in both
    assert results.ignored == tuple(sorted(old["key"]))


def test_protocols_are_not_mixed(folder: Path) -> None:
    edit_manifest(run_folder(folder, "ppo.recall.s0"), protocol=2)
    with pytest.raises(UserError, match=r"protocol versions 1 \(as .*\), 2 \(as ppo\.recall\.s0"):
        load(folder)


def test_a_corrupt_line_is_named(folder: Path) -> None:
    path = run_folder(folder, "ppo.recall.s0") / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], lines[4][:30] + "\n", *lines[5:]]))
    with pytest.raises(UserError, match=r"ppo\.recall\.s0\.\w+/metrics\.jsonl, line 5: not JSON"):
        load(folder)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[1]", r"line 2: holds a list; expected an object"),
        ('{"update": 2}', r"line 2: 'completions' is missing"),
        ('{"update": 2, "completions": NaN, "x": 1}', r"line 2: 'completions' is nan; expected a finite number"),
    ],
)
def test_a_line_of_another_shape_is_named(folder: Path, line: str, says: str) -> None:
    path = run_folder(folder, "grpo.sorting.s2") / "metrics.jsonl"
    path.write_text('{"update": 1, "completions": 128, "x": 0}\n' + line + "\n")
    with pytest.raises(UserError, match=says):
        load(folder)


def test_a_changed_file_is_named_with_both_hashes(folder: Path) -> None:
    path = run_folder(folder, "ppo.recall.s0") / "evals.jsonl"
    path.write_text(path.read_text().replace('"passes": 1', '"passes": 4'))
    with pytest.raises(UserError, match=r"evals\.jsonl: changed since the run ended: its sha256 is \w{12}"):
        load(folder)


def test_a_lost_file_is_named(folder: Path) -> None:
    (run_folder(folder, "ppo.recall.s0") / "evals.parquet").unlink()
    with pytest.raises(UserError, match=r"evals\.parquet: missing, but manifest\.json names it"):
        load(folder)


def test_a_missing_column_names_the_nearest(folder: Path) -> None:
    run = run_folder(folder, "ppo.recall.s0")
    frame = pd.read_parquet(run / "metrics.parquet").rename(columns={"reward_mean": "rewards_mean"})
    frame.to_parquet(run / "metrics.parquet")
    rehash(run)
    with pytest.raises(UserError, match=r"metrics\.parquet: 'reward_mean' is missing; did you mean 'rewards_mean'"):
        load(folder)


def test_text_in_a_column_of_numbers_is_named(folder: Path) -> None:
    run = run_folder(folder, "ppo.recall.s0")
    pd.read_parquet(run / "metrics.parquet").assign(entropy="low").to_parquet(run / "metrics.parquet")
    rehash(run)
    with pytest.raises(UserError, match=r"metrics\.parquet: 'entropy' holds text; expected numbers or null"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "fine"}, r"status is 'fine'; expected one of ok, diverged, failed"),
        ({"key": "ppo.recall.s7.00000000"}, r"key is 'ppo\.recall\.s7\.00000000'; expected the folder's name"),
    ],
)
def test_a_manifest_that_does_not_fit_is_named(folder: Path, changes: dict[str, object], says: str) -> None:
    edit_manifest(run_folder(folder, "ppo.recall.s0"), **changes)
    with pytest.raises(UserError, match=says):
        load(folder)


def test_a_folder_without_results_names_the_nearest(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no suite\.lock\.yaml there; did you mean 'small'"):
        load(folder.parent / "smalll")


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        ("a: [", "not YAML"),
        ("suite: 3", "no 'suite' that is a dict"),
        (yaml.safe_dump({"suite": {}, "keys": []}), "no 'name' that is a str"),
    ],
)
def test_a_broken_lock_is_named(folder: Path, lock: str, says: str) -> None:
    (folder / "suite.lock.yaml").write_text(lock)
    with pytest.raises(UserError, match=rf"suite\.lock\.yaml(, line 1)?: {says}"):
        load(folder)


def test_nulls_read_as_numbers_that_are_missing(folder: Path) -> None:
    metrics = load(folder).metrics
    assert metrics["grad_norm_value"].dtype == np.float64
    assert metrics.loc[metrics["arm"] == "grpo", "value_loss"].isna().all()
    assert metrics.loc[metrics["arm"] == "ppo", "value_loss"].notna().all()
    assert set(METRIC_COLUMNS) <= set(metrics.columns)

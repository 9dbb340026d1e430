"""Tokens of completions that passed and that failed, against sums by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from damage import rehash, run_folder
from handmade import made
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.lengths import (
    length_changes,
    length_curves,
    length_table,
    lengths_by_run,
)
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results

EVALS = {
    # (seed, update, prompt): samples, passes, mean tokens, that of the passed, passed and cut, failed and cut
    (0, 0, 0): (4, 0, 5.0, None, 0, 1),
    (0, 0, 1): (4, 1, 4.0, 3, 0, 0),
    (0, 1, 0): (4, 3, 4.5, 3, 1, 1),
    (0, 1, 1): (4, 4, 3.0, 3, 0, 0),
    (1, 0, 0): (4, 2, 6.0, 4, 0, 2),
    (1, 0, 1): (4, 0, 8.0, None, 0, 4),
    (1, 1, 0): (4, 2, 7.0, 5, 0, 2),
    (1, 1, 1): (4, 1, 10.0, 4, 0, 3),
}
NAMES = ("samples", "passes", "completion_tokens_mean", "passed_tokens_mean", "passed_cut", "failed_cut")


@pytest.fixture
def results() -> Results:
    """One arm with two runs of two prompts, and another whose run stopped early."""
    shape = made({"ppo": {"a": [[0.1, 0.5]] * 2}, "grpo": {"a": [[0.1]]}}, diverged=[("grpo", "a", 0)])
    rows = [
        {"arm": "ppo", "task": "a", "seed": seed, "key": f"ppo.a.s{seed}", "update": update}
        | {"completions": 100 * update, "prompt": prompt}
        | dict(zip(NAMES, values, strict=True))
        for (seed, update, prompt), values in EVALS.items()
    ]
    other = rows[0] | {"arm": "grpo", "key": "grpo.a.s0"}
    return replace(shape, evals=pd.DataFrame([*rows, other]))


def test_a_run_has_counts_and_tokens_of_both_kinds(results: Results) -> None:
    runs = lengths_by_run(results).set_index(["seed", "completions"])
    assert len(runs) == 4  # none of the run that stopped early
    assert runs.loc[(0, 0), ["passed", "failed", "passed_tokens", "failed_tokens"]].tolist() == [1, 7, 3, 33]
    assert runs.loc[(0, 100), ["passed_cut", "failed_cut"]].tolist() == [1, 1]
    assert runs.loc[(1, 100), ["passed", "failed", "passed_tokens", "failed_tokens"]].tolist() == [3, 5, 14, 54]


def test_the_table_is_over_all_runs_together_at_start_and_end(results: Results) -> None:
    table = length_table(results)
    assert table.columns.tolist() == [
        *("task", "arm", "moment", "passed", "passed_tokens", "passed_cut"),
        *("failed", "failed_tokens", "failed_cut"),
    ]
    start, end = table.to_numpy().tolist()
    assert start == ["a", "ppo", "start", 3, pytest.approx(11 / 3), 0, 13, pytest.approx((33 + 48) / 13), 7]
    assert end == ["a", "ppo", "end", 10, pytest.approx(35 / 10), 1, 6, pytest.approx((9 + 54) / 6), 6]
    assert length_curves(results)["completions"].tolist() == [0, 100]


def test_a_run_changes_by_its_own_means(results: Results) -> None:
    changes = length_changes(results).set_index("seed")
    assert changes.loc[0, "passed_tokens"] == pytest.approx(21 / 7 - 3)
    assert changes.loc[0, "failed_tokens"] == pytest.approx(9 / 1 - 33 / 7)
    assert changes.loc[1, "failed_tokens"] == pytest.approx(54 / 5 - 48 / 6)


def test_a_run_that_solves_nothing_has_no_length_of_what_passed(results: Results) -> None:
    none = results.evals.assign(passes=0, passed_tokens_mean=math.nan)
    changes = length_changes(replace(results, evals=none))
    assert changes["passed_tokens"].isna().all()
    assert changes["failed_tokens"].notna().all()
    assert math.isnan(length_table(replace(results, evals=none)).loc[0, "passed_tokens"])


def test_records_of_before_have_no_such_table(results: Results) -> None:
    before = replace(results, evals=results.evals.drop(columns=["passed_tokens_mean", "passed_cut", "failed_cut"]))
    for frame in (lengths_by_run, length_curves, length_table, length_changes):
        assert frame(before).empty
    assert length_table(made({"ppo": {"a": [[0.1, 0.5]]}})).empty


def test_files_of_before_are_read_and_text_for_a_number_is_named(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "made", make_suite(tasks=("recall",), seeds=2, updates=4, prompts=4))
    assert counted(length_table(load(folder))) == [("ppo", 32), ("ppo", 32), ("grpo", 32), ("grpo", 32)]
    run = run_folder(folder, "ppo.recall.s0")
    evals = pd.read_parquet(run / "evals.parquet")
    evals.drop(columns=["passed_tokens_mean", "passed_cut", "failed_cut"]).to_parquet(run / "evals.parquet")
    rehash(run)
    assert counted(length_table(load(folder))) == [("ppo", 16), ("ppo", 16), ("grpo", 32), ("grpo", 32)]
    evals.assign(passed_cut="none").to_parquet(run / "evals.parquet")
    rehash(run)
    with pytest.raises(UserError, match=r"evals\.parquet: 'passed_cut' holds text; expected numbers or null"):
        load(folder)


def test_of_old_and_new_runs_the_new_ones_count(results: Results) -> None:
    evals = results.evals.astype({"passed_cut": float})
    evals.loc[evals["seed"] == 0, ["passed_tokens_mean", "passed_cut"]] = math.nan
    table = length_table(replace(results, evals=evals))
    assert table["passed"].tolist() == [2, 3]


def counted(table: pd.DataFrame) -> list[tuple[str, int]]:
    """Each row's arm, and the completions that it is of."""
    return list(zip(table["arm"], table["passed"] + table["failed"], strict=True))

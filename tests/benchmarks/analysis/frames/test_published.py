"""Published records are the results: every value, type and order."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.published import differing_records, read_published, write_records
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_probes, write_results

SUITE: dict[str, Any] = {"tasks": ("sorting", "recall"), "seeds": 2, "updates": 4, "prompts": 4}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    gone = {"failed": ["ppo.recall.s0"], "diverged": ["grpo.recall.s1"], "missing": ["ppo.recall.r1"]}
    folder = write_results(tmp_path / "made", make_suite(**SUITE), unfinished=["ppo.sorting.s1"], **gone)
    row = {"arm": "ppo", "runs": 2, "completions": 8, "slots": 1, "repeat": 0, "seconds": 0.1, "contended": False}
    (folder / "throughput.jsonl").write_text(json.dumps(row | {"error": None}) + "\n")
    (folder / "runs" / "ppo.other.s0.00000000").mkdir()
    return load(folder)


def assert_same(one: Results, other: Results) -> None:
    for each in dataclasses.fields(Results):
        a, b = (getattr(results, each.name) for results in (one, other))
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_exact=True, obj=each.name)
        else:
            assert a == b, each.name


def test_records_read_as_what_was_written(results: Results, tmp_path: Path) -> None:
    assert results.ignored
    assert results.throughput
    assert len(results.missing) == 2
    write_records(results, tmp_path / "out")
    assert_same(read_published(tmp_path / "out", results.suite), results)


def test_probes_and_numbers_that_hardly_recur_are_exact(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "made", make_suite(**SUITE))
    write_probes(folder)
    made = load(folder)
    numbers = np.random.default_rng(0).normal(size=len(made.metrics))
    numbers[:4] = [5e-324, -0.0, 0.1 + 0.2, np.nan]
    odd = dataclasses.replace(made, metrics=made.metrics.assign(kl_reference=numbers))
    write_records(odd, tmp_path / "out")
    again = read_published(tmp_path / "out", odd.suite)
    assert_same(again, odd)
    assert again.metrics["kl_reference"].to_numpy().tobytes() == numbers.tobytes()
    assert differing_records(odd, again) == []
    assert differing_records(made, again) == ["metrics"]


def test_a_changed_and_a_missing_file_are_named(results: Results, tmp_path: Path) -> None:
    place = write_records(results, tmp_path / "out")
    (place / "evals.parquet").write_bytes((place / "evals.parquet").read_bytes() + b" ")
    with pytest.raises(UserError, match=r"evals\.parquet: changed since it was published"):
        read_published(tmp_path / "out", results.suite)
    (place / "evals.parquet").unlink()
    with pytest.raises(UserError, match=r"evals\.parquet: missing"):
        read_published(tmp_path / "out", results.suite)


def test_records_are_small(tmp_path: Path) -> None:
    """The update's 34 values take 95 bytes, of which a dozen never recur; a held-out prompt's row less than two."""
    suite = make_suite(tasks=("sorting",), seeds=8, updates=100, prompts=128, timing=False)
    made = load(write_results(tmp_path / "made", suite))
    place = write_records(made, tmp_path / "out")
    sizes = {path.stem: path.stat().st_size for path in place.iterdir()}
    assert sizes["metrics"] < 95 * len(made.metrics)
    assert sizes["evals"] < 2 * len(made.evals)


def test_of_transcripts_the_first_and_the_last_evaluation_are_published(results: Results, tmp_path: Path) -> None:
    more = results.samples[results.samples["update"] == 0].assign(update=1, completion="half-way")
    whole = dataclasses.replace(results, samples=pd.concat([results.samples, more], ignore_index=True))
    write_records(whole, tmp_path / "out")
    again = read_published(tmp_path / "out", whole.suite)
    pd.testing.assert_frame_equal(again.samples, results.samples)
    assert differing_records(again, whole) == []
    other = dataclasses.replace(whole, samples=whole.samples.assign(tokens=3))
    assert differing_records(again, other) == ["samples"]

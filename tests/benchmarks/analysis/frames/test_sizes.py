"""The difference between two arms against the size of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle

from claimed import scored
from damage import relock, reseal
from handmade import WAVE
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.sizes import by_size, parameters, sized_pairs, slope
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.analysis.report.contents import drawings
from ppo_vs_grpo.benchmarks.analysis.report.figures.sizes import size_figure
from ppo_vs_grpo.benchmarks.analysis.report.sizes import size_sentences
from synthetic import make_suite, write_results

SIZES = {"small": 10_000_000, "nano": 100_000, "tiny": 1_000_000}
LEADS = {"nano": 0.0, "tiny": 0.1, "small": 0.2}


def sized(leads: dict[str, float] = LEADS, counts: dict[str, int] = SIZES, seeds: int = 8) -> Results:
    """Two arms on three tasks of different sizes, of which the second leads by `leads`."""
    finals = {
        "ppo": dict.fromkeys(SIZES, 0.4 + 0.01 * WAVE[:seeds]),
        "grpo": {task: 0.4 + leads[task] + 0.01 * np.roll(WAVE, at)[:seeds] for at, task in enumerate(leads, start=1)},
    }
    results = scored(finals)
    tasks = {task: {"task": "sorting", "options": {}, "start": task} for task in SIZES}
    return replace(
        results,
        suite={**results.suite, "tasks": tasks},
        runs=results.runs.assign(parameters=results.runs["task"].map(counts)),
    )


def test_a_row_a_size_the_smallest_first() -> None:
    table = by_size(sized())
    assert table["task"].tolist() == ["nano", "tiny", "small"]
    assert table["parameters"].tolist() == [100_000, 1_000_000, 10_000_000]
    assert table["start"].tolist() == ["nano", "tiny", "small"]
    assert table["difference"].tolist() == pytest.approx([0.0, 0.1, 0.2], abs=0.01)
    differences = 0.01 * (np.roll(WAVE, 1) - WAVE)
    low, high = oracle.t.interval(0.95, 7, differences.mean(), oracle.sem(differences))
    assert table[["low", "high"]].iloc[0].tolist() == pytest.approx([low, high])


def test_the_slope_is_the_change_for_ten_times_the_parameters() -> None:
    assert slope(sized(), ("ppo", "grpo")).mean == pytest.approx(0.1)
    # By hand: sizes are 5, 6 and 7 powers of ten, so a seed's slope is half of its last difference less its first.
    bent = sized({"nano": 0.0, "tiny": 0.3, "small": 0.1})
    assert slope(bent, ("ppo", "grpo")).mean == pytest.approx(0.05)


def test_suites_of_one_size_and_records_without_counts_have_none() -> None:
    one = sized(counts=dict.fromkeys(SIZES, 5))
    assert (parameters(one), sized_pairs(one), by_size(one).empty, size_sentences(one)) == ({}, [], True, [])
    before = sized()
    before = replace(before, runs=before.runs.drop(columns="parameters"))
    assert by_size(before).empty
    assert "sizes" not in drawings(before)


@pytest.mark.parametrize(
    ("leads", "says"),
    [
        (
            LEADS,
            "From nano to small, grpo minus ppo rises by 10.0 points for ten times the parameters (95% interval 9.",
        ),
        (
            {"nano": 0.2, "tiny": 0.1, "small": 0.0},
            "From nano to small, grpo minus ppo falls by 10.0 points for ten times the parameters (95% interval 9.",
        ),
        ({"nano": 0.1, "tiny": 0.1, "small": 0.103}, "these runs cannot tell whether it rises or falls."),
        ({"nano": 0.103, "tiny": 0.1, "small": 0.1}, "these runs cannot tell whether it rises or falls."),
    ],
)
def test_a_sentence_says_whether_it_grows(leads: dict[str, float], says: str) -> None:
    (said,) = size_sentences(sized(leads))
    assert says in said


def test_few_seeds_say_no_more_than_a_number() -> None:
    (said,) = size_sentences(sized(seeds=5))
    assert said.endswith("too few seeds to say more.")


def test_the_report_has_the_table_and_a_figure_with_a_mark_a_size() -> None:
    results = sized()
    assert drawings(results)["sizes"] is size_figure
    (ax,) = size_figure(results).axes
    (dots,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert dots.get_ydata() == pytest.approx([0, 10, 20], abs=1)
    assert np.asarray(dots.get_xdata()) == pytest.approx([1e5, 1e6, 1e7])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["nano\n0.1M", "tiny\n1M", "small\n10M"]


def test_a_suite_of_two_sizes_says_so_in_its_report(tmp_path: Path) -> None:
    folder = write_results(tmp_path, make_suite(tasks=("recall", "sorting"), updates=8, prompts=16, timing=False))
    for run in (folder / "runs").iterdir():
        reseal(run, parameters=100_000 if ".recall." in run.name else 2_000_000)
    relock(folder)
    page = write.write(load(folder), tmp_path / "report")
    assert "From recall to sorting, grpo minus ppo" in page.read_text()
    table = pd.read_csv(tmp_path / "report/tables/sizes.csv")
    assert table[["task", "parameters", "n"]].to_numpy().tolist() == [["recall", 100_000, 8], ["sorting", 2_000_000, 8]]

"""The report's first page: what its tables of verdicts say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from handmade import OTHER_WAVE, WAVE, made
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, judge
from ppo_vs_grpo.benchmarks.analysis.report import first_page

FIRST = Verdict(
    metric="final score",
    task="sorting",
    unit="share",
    effect="difference",
    first="ppo",
    second="grpo",
    first_value=0.5,
    second_value=0.625,
    estimate=0.125,
    low=0.1,
    high=0.15,
    level=0.95,
    p=0.001,
    n=8,
    test="paired t test",
    verdict="grpo better",
    reason="p = 0.001 is below 0.05",
    sentence="A sentence.",
)
LAST = replace(FIRST, task="all tasks", effect="ratio", estimate=1.25, low=None, high=None, verdict="inconclusive")


def test_a_row_has_the_verdict_both_arms_and_the_effect() -> None:
    (row,) = first_page.verdicts([FIRST]).to_dict("records")
    assert row == {
        "metric": "final score (share)",
        "verdict": "grpo better",
        "ppo": "0.500",
        "grpo": "0.625",
        "effect (95% interval)": "grpo less ppo 0.125 (0.100 to 0.150)",
        "n": "8",
    }


def test_of_several_tasks_the_row_over_all_is_shown_and_the_words_of_each() -> None:
    table = first_page.verdicts([FIRST, LAST])
    assert table["effect (95% interval)"].tolist() == ["grpo over ppo 1.25"]
    by_task = first_page.verdicts_by_task([FIRST, LAST]).to_dict("records")
    assert by_task == [{"metric": "final score", "sorting": "grpo better", "all tasks": "inconclusive"}]
    assert first_page.verdicts_by_task([FIRST]).empty


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ("difference", "grpo less ppo 0.125 (0.100 to 0.150)"),
        ("ratio", "grpo over ppo 0.125 (0.100 to 0.150)"),
        ("share of pairs", "grpo earlier: share 0.125 (0.100 to 0.150)"),
    ],
)
def test_an_effect_names_what_it_is(effect: str, words: str) -> None:
    assert first_page.effect(replace(FIRST, effect=effect)) == words
    assert first_page.effect(replace(FIRST, effect=effect, estimate=None)) == "-"


def test_one_arm_has_no_second_column_and_no_verdict() -> None:
    results = made({"ppo": {"sorting": [[0.1, 0.5]] * 8}})
    table = first_page.verdicts(judge(results))
    assert "grpo" not in table
    assert set(table["verdict"]) == {"no verdict"}
    assert set(table["ppo"]) == {"-"}


def test_real_judgements_fill_every_cell() -> None:
    curves = {
        arm: {task: [[0.1, float(x)] for x in base + 0.02 * wave] for task in ("recall", "sorting")}
        for arm, base, wave in (("ppo", 0.5, WAVE), ("grpo", 0.7, OTHER_WAVE))
    }
    judged = judge(made(curves))
    table = first_page.verdicts(judged)
    assert table["metric"].iloc[0] == "final held-out pass rate (share)"
    assert table["verdict"].iloc[0] == "grpo better"
    assert table["effect (95% interval)"].iloc[0].startswith("grpo less ppo 0.200 (")
    assert all(isinstance(cell, str) and cell for cell in table.to_numpy().ravel())
    assert list(first_page.verdicts_by_task(judged).columns) == ["metric", "recall", "sorting", "all tasks"]

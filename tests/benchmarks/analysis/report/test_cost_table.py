"""What the first screen says of costs."""

from __future__ import annotations

from dataclasses import replace

from claimed import probed
from handmade import OTHER_WAVE, WAVE, made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge
from ppo_vs_grpo.benchmarks.analysis.report.cost_table import costs_table

ENDS = {"ppo-critic": 0.6, "ppo": 0.5, "grpo": 0.7}
POLICY = {"policy.params": 6e6}
HELD = {"ppo-critic": POLICY | {"value.params": 9e6}, "ppo": POLICY | {"value.params": 2e6}, "grpo": POLICY}
SECONDS = {"ppo-critic": 9.0, "ppo": 5.0, "grpo": 4.0}
EXPLAINED = "true values' variance that the critic explains half-way"


def costly(*arms: str) -> Results:
    """Arms on one task, each with its memory and seconds."""
    wave = {arm: OTHER_WAVE if arm == "grpo" else WAVE for arm in arms}
    return made(
        {arm: {"sorting": [[0.1, float(x)] for x in ENDS[arm] + 0.02 * wave[arm]]} for arm in arms},
        tracked={arm: {"sorting": [HELD[arm]]} for arm in arms},
        seconds={arm: {"sorting": [SECONDS[arm]] * 8} for arm in arms},
    )


def test_the_costs_are_those_of_memory_seconds_and_completions_with_the_critics_part() -> None:
    results = costly("ppo", "grpo")
    table = costs_table(results, judge(results)).set_index("cost")
    assert list(table.index) == [
        "peak memory, MB", "of which the critic, MB", "seconds per 1,000 completions",
        "completions to half of the best gain",
    ]  # fmt: skip
    assert table.loc["of which the critic, MB"].tolist() == ["2", "none", "-"]
    assert table.loc["peak memory, MB"].tolist() == ["8", "6", "0.750, grpo lighter"]
    assert table.loc["seconds per 1,000 completions", "grpo ÷ ppo (95% interval)"].endswith("grpo faster")


def test_the_other_form_of_ppo_stands_between_the_two_with_the_costs_that_are_its_own() -> None:
    results = costly(*ENDS)
    results = replace(results, suite={**results.suite, "pairs": [["ppo-critic", "grpo"], ["ppo", "grpo"]]})
    table = costs_table(results, judge(results)).set_index("cost")
    assert list(table.columns) == ["ppo-critic", "ppo", "grpo", "grpo ÷ ppo-critic (95% interval)"]
    assert table.loc["peak memory, MB"].tolist()[:3] == ["15", "8", "6"]
    assert table.loc["of which the critic, MB"].tolist() == ["9", "2", "none", "-"]
    assert table.loc["seconds per 1,000 completions"].tolist()[:3] == ["9", "5", "4"]
    assert table.loc["completions to half of the best gain", "ppo"] == "-"


def test_beside_the_costs_stands_how_much_of_the_true_values_each_critic_explains() -> None:
    results = costly("ppo", "grpo")
    assert EXPLAINED not in costs_table(results, judge(results))["cost"].tolist()
    for at, first in ((0, 9.0), (50, 0.0), (100, 9.0)):
        values = {"ppo": {"sorting": [first, -0.2] + [-0.1] * 6}}
        results = probed(results, values, "value", "own", "explained_variance", at)
    table = costs_table(results, judge(results)).set_index("cost")
    assert table.loc[EXPLAINED].tolist() == ["-10%", "none", "-"]

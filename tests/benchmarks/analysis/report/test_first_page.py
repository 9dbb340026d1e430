"""The report's first page: what its tables of verdicts say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from claimed import claim, claiming
from handmade import OTHER_WAVE, WAVE, made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.claims import judge_claims
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, judge
from ppo_vs_grpo.benchmarks.analysis.report import first_page
from ppo_vs_grpo.benchmarks.analysis.report.answer import answer
from ppo_vs_grpo.benchmarks.analysis.report.cost_table import costs_table

FIRST = Verdict(
    metric="final score",
    primary=True,
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
    winner="grpo",
    reason="p = 0.001 is below 0.05",
    sentence="A sentence.",
)
LAST = replace(
    FIRST, task="all tasks", effect="ratio", estimate=1.25, low=None, high=None, verdict="inconclusive", winner=None,
    primary=False,
)  # fmt: skip


def test_a_row_has_the_verdict_both_arms_and_the_effect() -> None:
    (row,) = first_page.verdicts([FIRST]).to_dict("records")
    assert row == {
        "metric": "final score (share), primary",
        "verdict": "grpo better",
        "ppo": "0.500",
        "grpo": "0.625",
        "effect (95% interval)": "grpo minus ppo 0.125 (0.100 to 0.150)",
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
        ("difference", "grpo minus ppo 0.125 (0.100 to 0.150)"),
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
    assert table["metric"].iloc[0] == "final held-out pass rate (share), primary"
    assert table["verdict"].iloc[0] == "grpo better"
    assert table["effect (95% interval)"].iloc[0].startswith("grpo minus ppo 0.200 (")
    assert all(isinstance(cell, str) and cell for cell in table.to_numpy().ravel())
    assert list(first_page.verdicts_by_task(judged).columns) == ["metric", "recall", "sorting", "all tasks"]


def ended(ppo: float, grpo: float, **more: Any) -> Results:
    """Two arms on one task whose runs end about these rates."""
    finals = {"ppo": ppo + 0.02 * WAVE, "grpo": grpo + 0.02 * OTHER_WAVE}
    return made({arm: {"sorting": [[0.1, float(x)] for x in of]} for arm, of in finals.items()}, **more)


def test_a_suite_without_two_arms_says_what_is_missing() -> None:
    results = made({"ppo": {"sorting": [[0.1, 0.5]] * 8}})
    judged = judge(results)
    assert first_page.not_tested(results, judged) == []
    assert first_page.conditions_table(results, judged).empty
    assert set(costs_table(results, judged)["compared"]) == {"no verdict"}
    assert answer(judged) == "No comparison: the suite has 1 arm, ppo; a verdict needs two."


def test_conditions_stand_beside_the_verdicts() -> None:
    results = made(
        {"ppo": {"a": [[0.2, 0.05], [0.2], None], "b": [[0.2, 0.5]] * 3}, "grpo": {t: [[0.2, 0.5]] * 3 for t in "ab"}},
        diverged=[("ppo", "a", 1)],
        failed=[("grpo", "b", 2)],
    )
    known = results.metrics.assign(ended_fraction=0.5, silent_group_fraction=0.25)
    results = replace(results, metrics=known.assign(ended_fraction=known["task"].map({"a": 0.5, "b": 1.0})))
    table = first_page.conditions_table(results, judge(results)).set_index(["task", "arm"])
    assert table.loc[("a", "ppo")].tolist() == ["2", "2", "1", "0", "50%", "25%"]
    assert table.loc[("b", "grpo")].tolist() == ["3", "0", "0", "1", "100%", "25%"]
    assert table.loc[("all tasks", "ppo")].tolist() == ["5", "2", "1", "0", "75%", "25%"]
    parsed = replace(results, metrics=results.metrics.assign(reward_parsed=known["task"].map({"a": 0.9})))
    table = first_page.conditions_table(parsed, judge(parsed)).set_index(["task", "arm"])
    assert table["parsed"].loc[[("a", "ppo"), ("b", "ppo"), ("all tasks", "grpo")]].tolist() == [
        "90%",
        first_page.DASH,
        "90%",
    ]


def test_a_form_of_critic_that_the_suite_runs_beside_the_judged_pair_is_not_called_untested() -> None:
    results = made({arm: {"sorting": [[0.1, 0.5]] * 8} for arm in ("ppo-critic", "ppo", "grpo")})
    forms = {"ppo-critic": {"critic": {"kind": "model"}}, "ppo": {"critic": {"kind": "head"}}, "grpo": {}}
    shared = {"purpose": "train", "train": {"learning_rate": 1e-4}, "start": "nano"}
    arms = {key: key.partition(".")[0] for key in results.specs}
    specs = {key: results.specs[key] | shared | {"arm": arm, "config": forms[arm]} for key, arm in arms.items()}
    results = replace(results, specs=specs, suite={**results.suite, "pairs": [["ppo-critic", "grpo"]]})
    alone = first_page.not_tested(results, judge(results))
    assert "PPO with a value head on the policy: here ppo-critic has a critic network of its own." in alone
    both = replace(results, suite={**results.suite, "pairs": [["ppo-critic", "grpo"], ["ppo", "grpo"]]})
    assert len(first_page.not_tested(both, judge(both))) == len(alone) - 1


def test_what_was_not_tested_names_settings_critics_and_the_start() -> None:
    results = ended(0.5, 0.7)
    config: dict[str, dict[str, object]]
    config, train = {"critic": {"kind": "head", "detached": False}}, {"learning_rate": 1e-4}
    specs = {
        key: {"purpose": "train", "arm": key[:4].rstrip("."), "start": "nano", "train": train, "config": {}}
        for key in results.specs
    }
    for key, spec in specs.items():
        if key.startswith("ppo"):
            spec |= {"config": config, "train": {"learning_rate": 4e-4}}
    settings, critic, start = first_page.not_tested(replace(results, specs=specs), judge(results))
    assert "each arm ran with one set, and the two differ in learning_rate (ppo 0.0004, grpo 0.0001)." in settings
    assert critic == "PPO with a critic network of its own: here ppo has a value head on the policy."
    assert start.startswith("Other models, tasks and prompts: all runs start from nano,")
    assert "learnt before" not in settings
    config["critic"]["start"] = "values/critic@0123"
    settings, *_ = first_page.not_tested(replace(results, specs=specs), judge(results))
    assert "The critic of ppo had learnt before, on completions that this budget does not count." in settings
    for spec in specs.values():
        spec["config"] = {"critic": "of another kind"}
    assert len(first_page.not_tested(replace(results, specs=specs), judge(results))) == 2


def test_a_claims_interval_is_drawn_about_what_it_is_compared_with() -> None:
    """From -0.1 to 0.3 about 0: the farther end is at four fifths of the half, 60 + 48 pixels."""
    claimed = claiming(ended(0.5, 0.6), {"C": claim("final_score", ["ppo", "grpo"], ["sorting"], side="above")})
    (one,) = judge_claims(claimed)
    drawn = first_page.strip(replace(one, estimate=0.1, low=-0.1, high=0.3), ratio=False)
    assert '<path d="M44.0 8H108.0" class="reach"/><circle cx="76.0"' in drawn
    assert '<rect x="60.0" width="60"' in drawn
    assert first_page.strip(replace(one, estimate=None), ratio=False) == ""
    half = first_page.strip(replace(one, estimate=0.5, low=0.25, high=1.0, than=1.0, side="below"), ratio=True)
    assert '<path d="M12.0 8H60.0" class="reach"/><circle cx="36.0"' in half  # the logarithm is half-way
    assert '<rect x="0" width="60"' in half

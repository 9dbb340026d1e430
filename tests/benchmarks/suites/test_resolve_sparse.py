"""Suites whose arms run on some of the tasks only, and suites with claims: what they run, and what is refused."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import fake_suite
from ppo_vs_grpo.benchmarks.run.progress import Board
from ppo_vs_grpo.benchmarks.run.state import RunState
from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite, source_of
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError
from suite_files import specs

SUITE = """
tasks: [sorting, recall]
arms:
  ppo: {algorithm: ppo}
  grpo: {algorithm: grpo}
  short: {algorithm: grpo, tasks: [recall]}
seeds: 2
train: {completions: 640, prompts_per_update: 4, group_size: 8}
timing: {updates: 5, warmup_updates: 2}
claims:
  S1:
    says: something
    here: something to test
    measure: final_score
    arms: [ppo, grpo]
    tasks: [sorting, recall]
    side: above
    than: 0
    margin: 0.02
    dial:
      setting: length
      points: {"4": {arms: [ppo, short], tasks: [recall]}, "9": {arms: [ppo, grpo], tasks: [sorting]}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    return path


def names(path: Path, *overrides: str) -> list[str]:
    return [spec.key.rpartition(".")[0] for spec in specs(path, *overrides)]


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        specs(path, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{source_of(path, overrides)}: ")


def test_an_arm_runs_on_its_tasks_only_and_is_timed_there(path: Path) -> None:
    found = names(path)
    assert found[:5] == ["ppo.sorting.s0", "grpo.sorting.s0", "ppo.recall.s0", "grpo.recall.s0", "short.recall.s0"]
    assert len(found) == 2 * 5 + 2 * 5
    assert [name for name in found if name.startswith("short.sorting")] == []
    assert found[14:] == [
        *("ppo.recall.r0", "grpo.recall.r0", "short.recall.r0"),
        *("short.recall.r1", "grpo.recall.r1", "ppo.recall.r1"),
    ]


def test_the_suites_order_of_tasks_goes_before_the_arms(path: Path) -> None:
    suite = load_suite(path, ["arms.short.tasks=[recall, sorting]"])
    assert suite.runs_on("short") == ["sorting", "recall"] == suite.runs_on("ppo")


def test_repeats_go_forward_and_backward_in_turn(path: Path) -> None:
    found = names(path, "timing.repeats=3", "timing.arms=[short, ppo]")
    assert found[10:] == [
        *("ppo.sorting.r0", "ppo.sorting.r1", "ppo.sorting.r2"),
        *("ppo.recall.r0", "short.recall.r0", "short.recall.r1", "ppo.recall.r1", "ppo.recall.r2", "short.recall.r2"),
    ]
    assert names(path, "timing.repeats=1")[10:] == [
        *("ppo.sorting.r0", "grpo.sorting.r0", "ppo.recall.r0", "grpo.recall.r0", "short.recall.r0"),
    ]


def test_a_timing_run_keeps_its_key_when_others_are_timed_or_oftener(path: Path) -> None:
    def keys(*overrides: str) -> set[str]:
        return {spec.key for spec in specs(path, *overrides) if spec.purpose == "timing"}

    assert keys("timing.repeats=1") < keys() < keys("timing.repeats=4")
    assert keys("timing.arms=[ppo]") < keys()
    assert not keys("timing.updates=6") & keys()
    assert not keys("timing.updates=6", "timing.warmup_updates=1") & keys(), "as many updates, others of them measured"


def test_an_arms_tasks_do_not_change_the_keys_of_its_runs(path: Path) -> None:
    everywhere = {spec.key for spec in specs(path, "arms.short.tasks=null")}
    assert {spec.key for spec in specs(path)} < everywhere


def test_an_arms_budget_is_checked_against_its_own_tasks(path: Path) -> None:
    """An update of 32 completions with 3 continuations from every fourth token: 224 in 5 tokens, 416 in 15."""
    limits = ("tasks.recall.options.horizon=4", "tasks.sorting.options.length=14")
    arm = "arms.vine={{algorithm: vine-ppo, {} train: {{completions: 300}}}}"
    assert message(path, *limits, arm.format("")).startswith("arms.vine.train.completions: 300: less than one update")
    assert specs(path, *limits, arm.format("tasks: [recall],"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("arms.short.tasks=[recal]", "arms.short.tasks: recal: no task of this suite; did you mean 'recall'? Known: "),
        ("arms.short.tasks=[recall, recall]", "arms.short.tasks: recall: listed more than once"),
        ("arms.short.tasks=[]", "arms.short.tasks: []: "),
        (
            "arms={ppo: {algorithm: ppo, tasks: [recall]}}",
            "tasks.sorting: no arm runs on it; leave it out, or name it in an arm's `tasks`",
        ),
        ("timing.arms=[ppoo]", "timing.arms: ppoo: no arm of this suite; did you mean 'ppo'? Known: ppo, grpo, short"),
        ("timing.arms=[]", "timing.arms: []: "),
        ("timing.repeats=0", "timing.repeats: 0: should be greater than or equal to 1"),
        ("claims.S1.arms=[ppo, grp]", "claims.S1.arms: grp: no arm of this suite; did you mean 'grpo'?"),
        ("claims.S1.arms=[ppo, ppo]", "claims.S1.arms: ppo: listed more than once"),
        ("claims.S1.arms=[ppo, grpo, short]", "claims.S1.arms: ['ppo', 'grpo', 'short']: "),
        ("claims.S1.tasks=[sortin]", "claims.S1.tasks: sortin: no task that ppo runs on; did you mean 'sorting'?"),
        (
            "claims.S1.arms=[ppo, short]",
            "claims.S1.tasks: sorting: no task that short runs on; Known: recall",
        ),
        (
            "claims.S1.dial.points.9={arms: [short], tasks: [sorting]}",
            "claims.S1.dial.points.9.tasks: sorting: no task that short runs on; Known: recall",
        ),
        (
            "claims.S1.dial.points.9={arms: [sort], tasks: [recall]}",
            "claims.S1.dial.points.9.arms: sort: no arm of this suite; did you mean 'short'?",
        ),
        ("claims.S1.dial.points={}", "claims.S1.dial.points: {}: "),
        ("claims.S1.side=left", "claims.S1.side: 'left': should be 'above' or 'below'"),
        ("claims.S1.margin=0", "claims.S1.margin: 0: should be greater than 0"),
        ("claims.S1.measures=x", "claims.S1.measures: unknown key; did you mean 'measure'?"),
        ("claims.S1.measure=final_scor", "claims.S1.measure: final_scor: no measure; did you mean 'final_score'?"),
        ("claims.S1.measure=explained_variance", "claims.S1.arms: ppo, grpo: explained_variance is of one arm"),
    ],
)
def test_each_mistake_names_key_value_and_what_would_be_right(path: Path, override: str, expected: str) -> None:
    assert message(path, override).startswith(expected)


def test_claims_runs_each_arm_where_a_claim_needs_it() -> None:
    claims, attribution = specs(find_suite("claims")), specs(find_suite("attribution"))
    suite = load_suite(find_suite("claims"))
    assert not {spec.seed for spec in claims if spec.purpose == "train"} & {spec.seed for spec in attribution}
    shared = {s.train.model_dump_json() for s in attribution}
    assert {s.train.model_dump_json() for s in claims if s.purpose == "train" and s.arm in ("ppo", "grpo")} == shared
    assert {spec.train.batch_completions for spec in claims} == {128}
    learned = suite.tasks["learned"].options
    assert {seed % learned["models"] for seed in suite.seeds} == set(range(8)), "each seed has its own reward model"
    starts = {spec.task: spec.start_hash for spec in claims}
    assert starts["noisy-15"] == starts["noisy-30"] == starts["recall"]


def test_an_arm_may_run_with_the_first_few_seeds(path: Path) -> None:
    more = ("seeds=[7, 3, 5]", "arms.short={algorithm: grpo, tasks: [recall], seeds: 2}")
    suite = load_suite(path, more)
    made = [spec for spec in specs(path, *more) if spec.purpose == "train"]
    seeds = {arm: [spec.seed for spec in made if spec.arm == arm and spec.task == "recall"] for arm in suite.arms}
    assert seeds == {"ppo": [7, 3, 5], "grpo": [7, 3, 5], "short": [7, 3]}
    assert suite.planned == len(specs(path, *more))
    assert message(path, "arms.short.seeds=0").startswith("arms.short.seeds: 0: should be greater than or equal to 1")


def test_a_task_may_have_a_start_model_and_shared_settings_of_its_own(path: Path) -> None:
    more = ("tasks.recall={task: recall, start: tiny, train: {learning_rate: 2e-4, beta: 0.5}}", "claims={}")
    found = {(spec.arm, spec.task): spec for spec in specs(path, *more)}
    assert {spec.start for (_, task), spec in found.items() if task == "recall"} == {"tiny"}
    assert {spec.start for (_, task), spec in found.items() if task == "sorting"} == {"nano"}
    assert found["ppo", "recall"].train.learning_rate == 2e-4
    assert found["ppo", "sorting"].train.learning_rate == 4e-4
    assert "start" not in found["ppo", "recall"].task_choice.model_dump()
    own = specs(path, *more, "arms.ppo={algorithm: ppo, train: {beta: 0.1}}")
    assert {(s.train.beta, s.train.learning_rate) for s in own if (s.arm, s.task) == ("ppo", "recall")} == {(0.1, 2e-4)}


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("{task: recall, start: nanno}", "tasks.recall.start: 'nanno' is neither"),
        ("{task: recall, train: {learning_rte: 1}}", "tasks.recall.train.learning_rte: unknown key; did you mean"),
        ("{task: recall, train: {beta: -1}}", "tasks.recall.train.beta: -1: should be greater than or equal to 0"),
    ],
)
def test_a_mistake_in_a_task_of_its_own_names_the_task(path: Path, task: str, expected: str) -> None:
    assert message(path, f"tasks.recall={task}").startswith(expected)


def sparse() -> Suite:
    suite = fake_suite.make_suite(seeds=1).model_dump()
    suite["arms"]["grpo"]["tasks"] = ["blue"]
    return Suite.model_validate(suite)


def test_the_runner_runs_and_shows_what_there_is(tmp_path: Path) -> None:
    fake = fake_suite.FakeRun(tmp_path, suite=sparse())
    assert fake.run() == 0
    made = sorted(
        path.name.rpartition(".")[0] for part in ("runs", "timing") for path in (fake.results / part).iterdir()
    )
    assert made == [
        *("grpo.blue.r0", "grpo.blue.r1", "grpo.blue.s0", "ppo.blue.r0", "ppo.blue.r1", "ppo.blue.s0"),
        *("ppo.red.r0", "ppo.red.r1", "ppo.red.s0"),
    ]
    cells = [RunState(spec, tmp_path) for spec in fake_suite.make_specs(sparse())]
    console = Console(file=StringIO(), width=100)
    with console.capture() as capture:
        console.print(Board(console, "fake", cells, slots=1).render())
    lines = [line.split()[:2] for line in capture.get().splitlines()]
    assert ["red", "ppo"] in lines
    assert lines[lines.index(["red", "ppo"]) + 1 :][:2] == [["blue", "ppo"], ["grpo", "·"]]

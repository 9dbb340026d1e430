"""Metrics that went to wandb and came back as an export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.wandb_export import load_export
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.analysis.report.contents import judged, make_tables
from ppo_vs_grpo.benchmarks.tracking.course import Course
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    suite = make_suite(tasks=("sorting", "recall"), seeds=2, updates=12, prompts=5)
    return write_results(tmp_path_factory.mktemp("results") / "synthetic", suite)


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return load(folder)


@pytest.fixture
def exported(folder: Path) -> pd.DataFrame:
    """What the mirror logs, run by run, with the columns that wandb adds."""
    rows = []
    for key in yaml.safe_load((folder / "suite.lock.yaml").read_text())["keys"]:
        place = folder / ("timing" if ".r" in key.partition(".")[2][-12:] else "runs") / key
        for step, moment in Course(place).read(ended=True):
            added = {"_step": step, "_runtime": 1.5, "_timestamp": 1.7e9, "run_id": key, "group": "synthetic"}
            rows.append(moment | added | {"job_type": key.partition(".")[0]})
    return pd.DataFrame(rows)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    a, b = (frame.sort_values(["key", "update"]).reset_index(drop=True) for frame in (a, b))
    pd.testing.assert_frame_equal(a, b, check_like=True, check_exact=True)


@pytest.mark.parametrize("through", ["frame", "shuffled", "csv"])
def test_what_was_mirrored_comes_back_exactly(
    exported: pd.DataFrame, results: Results, tmp_path: Path, through: str
) -> None:
    if through == "csv":
        exported.to_csv(tmp_path / "core.csv", index=False)
    csv: pd.DataFrame | Path = tmp_path / "core.csv"
    again = load({"frame": exported, "shuffled": exported.sample(frac=1, random_state=0), "csv": csv}[through])
    same(again.metrics, results.metrics)
    same(again.timing, results.timing)
    assert (again.name, sorted(again.arms)) == ("synthetic", sorted(results.arms))
    assert (sorted(again.tasks), again.seeds) == (sorted(results.tasks), results.seeds)


@pytest.fixture
def row() -> dict[str, object]:
    """An update as wandb has it: numbers are floats, whatever they count."""
    row: dict[str, object] = dict.fromkeys(
        ("tokens", "optimizer_steps", "skipped_steps", "reward_mean", "reward_std", "pass_rate"), 2.0
    )
    row |= dict.fromkeys(("completion_tokens_mean", "ended_fraction", "entropy", "learning_rate", "train_s"), 0.5)
    row |= dict.fromkeys(("rollout_s", "reward_s", "reference_s", "value_s", "update_s"), 0.25)
    return row | {"update": 1.0, "completions": 128.0, "warmup": False, "reward_parts/format": 0.75}


def test_a_row_by_hand(row: dict[str, object]) -> None:
    start = {"update": 0, "completions": 0, "eval/pass_rate": 0.5}
    (read,) = load_export(pd.DataFrame([start, row]).assign(name="dr-grpo.recall.s7.0123abcd")).to_dict("records")
    identity = {"arm": "dr-grpo", "task": "recall", "seed": 7, "kind": "s", "key": "dr-grpo.recall.s7.0123abcd"}
    assert identity.items() <= read.items()
    assert (read["update"], read["completions"], read["warmup"], read["tokens"]) == (1, 128, False, 2)
    assert (read["value_s"], read["reward_parts/format"]) == (0.25, 0.75)
    assert pd.isna(read["value_loss"])
    assert "eval/pass_rate" not in read


@pytest.mark.parametrize(("text", "warmup"), [("true", True), ("True", True), ("false", False), ("False", False)])
def test_yes_and_no_may_be_words(row: dict[str, object], text: str, warmup: bool) -> None:
    (read,) = load_export(pd.DataFrame([row | {"warmup": text}]).assign(id="ppo.recall.s7.0123abcd"))["warmup"]
    assert bool(read) is warmup


def test_bytes_are_whole(row: dict[str, object]) -> None:
    made = load_export(pd.DataFrame([row | {"peak_rollout_bytes": 4e9 + 1}]).assign(id="ppo.recall.s7.0123abcd"))
    assert (made["peak_rollout_bytes"].dtype, made["peak_rollout_bytes"].tolist()) == ("int64", [4_000_000_001])


def test_seeds_are_in_order_of_number(row: dict[str, object]) -> None:
    rows = [row | {"id": f"ppo.recall.s{seed}.0123abcd"} for seed in (10, 9, 2)]
    assert load(pd.DataFrame(rows)).seeds == [2, 9, 10]


def test_tables_of_an_export_are_there_and_know_no_scores(exported: pd.DataFrame) -> None:
    again = load(exported)
    tables = make_tables(again, judged(again))
    assert tables["summary"]["n"].tolist() == [0] * 4
    assert tables["summary"]["final"].isna().all()
    assert not again.complete
    assert len(again.evals) == len(again.runs) == 0
    assert all(frame.isna().all(axis=None) for frame in again.score_matrix().values())


def test_a_report_of_an_export_says_what_it_lacks(exported: pd.DataFrame, tmp_path: Path) -> None:
    results = load(exported)
    page = write.write(results, tmp_path)
    for path in (page, page.with_suffix(".md")):
        assert "no held-out scores, memory or probes, nor how a run ended" in path.read_text()
    verdicts = json.loads((tmp_path / "claims.json").read_text())["verdicts"]
    assert {one["verdict"] for one in verdicts} == {"no verdict", "undefined"}
    assert (verdicts[0]["first"], verdicts[0]["second"]) == ("ppo", "grpo")
    assert {one["estimate"] for one in verdicts} == {None}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.drop(columns="run_id"), "no column of run keys; expected one of run_id, id, key, name"),
        (lambda frame: frame.rename(columns={"tokens": "tokn"}), "'tokens' is missing; did you mean 'tokn'?"),
        (lambda frame: frame.assign(run_id="lively-sun-3"), "run_id: 'lively-sun-3': not a run's key, such as ppo."),
        (lambda frame: frame[frame["update"] != 5], "22 rows, not each of updates 1 to 23 once; export the whole"),
        (lambda frame: pd.concat([frame, frame]), "46 rows, not each of updates 1 to 23 once"),
        (lambda frame: frame.assign(entropy="high"), "'entropy' holds text or gaps; expected numbers"),
        (lambda frame: frame.assign(tokens=frame["tokens"].where(frame["update"] != 3)), "'tokens' holds text or gaps"),
    ],
)
def test_an_export_that_lacks_something_is_one_clear_message(
    exported: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame], says: str
) -> None:
    with pytest.raises(UserError) as caught:
        load(change(exported))
    assert says in str(caught.value)
    assert str(caught.value).startswith("the frame: ")


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), ("", "not a CSV file")])
def test_a_csv_that_cannot_be_read(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "core.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=f"{path}: {says}"):
        load(path)

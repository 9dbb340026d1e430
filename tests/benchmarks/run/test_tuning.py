"""Tuning at equal budget: what is asked, what a score is, what is left, and that a search goes on where it was stopped.

Runs are written by hand, with a pass rate that follows from the learning rate: 1 at 1e-3, less on both sides.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ppo_vs_grpo.benchmarks.records.folder import is_finished, run_folder
from ppo_vs_grpo.benchmarks.records.lock import write_lock
from ppo_vs_grpo.benchmarks.records.recorder import Recorder
from ppo_vs_grpo.benchmarks.run import trials, tuning
from ppo_vs_grpo.benchmarks.run.trials import Trial
from ppo_vs_grpo.benchmarks.run.tuning import tune
from ppo_vs_grpo.benchmarks.suites.continuation import refuse_another
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document, resolve
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError

TEXT = """
name: mine
start: nano
tasks: [countdown, sorting]
arms: {ppo: {algorithm: ppo}, grpo: {algorithm: grpo}}
seeds: 8
train: {completions: 640, prompts_per_update: 8}
search: {completions: 128, seeds: 2}
"""
End = Callable[[RunSpec], str]


def suite(tmp_path: Path, text: str = TEXT) -> Suite:
    (tmp_path / "mine.yaml").write_text(text)
    return load_suite(tmp_path / "mine.yaml")


def finish(spec: RunSpec, folder: Path, status: str) -> None:
    """Leave a run whose last evaluation passes the more, the nearer its learning rate is to 1e-3."""
    run = run_folder(folder, spec.purpose, spec.key)
    run.mkdir(parents=True)
    (run / "spec.json").write_text(spec.model_dump_json())
    recorder = Recorder(run, spec.identity)
    passes = round(1000 * math.exp(-abs(math.log(spec.train.learning_rate / 1e-3))))
    for completions, passed in ((0, 100), (spec.train.completions, passes)):
        recorder.evals([{"completions": completions, "prompt": 0, "passes": passed, "samples": 1000}], [])
    counts = {"completions": spec.train.completions, "updates": 2, "tokens": 1, "optimizer_steps": 2}
    rest = {"wall_s": 2.0, "startup_s": 0.1, "eval_s": 0.1, "peak_rss_bytes": 1, "contended": True}
    recorder.finish({"status": status, "error": None, "train_s": 1.5, **counts, **rest})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What stands in for the runner: `ends` says how a run ends, `left` how many it may do until it is interrupted."""
    told: dict[str, Any] = {"ends": lambda spec: "ok", "left": math.inf, "made": []}

    def run_suite(suite: Suite, source: str, results: Path, **_: Any) -> int:
        specs = resolve(suite, source)
        refuse_another(results / suite.name, lock_document(suite, specs))
        (results / suite.name).mkdir(parents=True, exist_ok=True)
        write_lock(results / suite.name, lock_document(suite, specs), {})
        for spec in specs:
            if not is_finished(run_folder(results / suite.name, spec.purpose, spec.key)):
                if told["left"] <= 0:
                    return 130
                told["left"] -= 1
                told["made"].append(spec)
                finish(spec, results / suite.name, told["ends"](spec))
        return 0

    monkeypatch.setattr(tuning, "run_suite", run_suite)
    return told


def table(results: Path) -> list[dict[str, str]]:
    with (results / "mine.tuning" / trials.TRIALS).open() as file:
        return list(csv.DictReader(file))


def test_every_arm_has_the_same_budget_and_no_evaluations_seeds(tmp_path: Path, runs: dict[str, Any]) -> None:
    assert tune(suite(tmp_path), "mine.yaml", tmp_path, 8) == 0
    made: list[RunSpec] = runs["made"]
    for arm in ("ppo", "grpo"):
        mine = [spec for spec in made if spec.algorithm == arm]
        assert len(mine) == 8 * 2 * 2  # trials, tasks, seeds
        assert {spec.train.completions for spec in mine} == {128}
        assert {spec.train.batch_completions for spec in mine} == {64}
        assert len({spec.train.group_size for spec in mine}) > 1
    assert {spec.seed for spec in made} == {1000, 1001}
    assert all(spec.tuning and spec.purpose == "train" for spec in made)
    rows = table(tmp_path)
    assert [row["trial"] for row in rows] == [f"{arm}-t{n:02}" for arm in ("ppo", "grpo") for n in range(8)]
    assert (rows[0]["train.learning_rate"], rows[0]["score"]) == ("0.0004", "0.4")  # the arm's own settings come first
    assert {row["completions"] for row in rows} == {"512"}
    assert len({(row["arm"], row["train.learning_rate"]) for row in rows}) == 16  # no trial asks what another did
    assert {row["train_s"] for row in rows} == {"6.0"}


def test_a_sampler_finds_what_pays(tmp_path: Path, runs: dict[str, Any]) -> None:
    tune(suite(tmp_path), "mine.yaml", tmp_path, 24)
    late = {"True": 0.0, "False": 0.0}
    for arm in ("ppo", "grpo"):
        scores = [float(row["score"]) for row in table(tmp_path) if row["arm"] == arm]
        drawn = [row["random"] for row in table(tmp_path) if row["arm"] == arm]
        assert drawn == ["False", "True"] * 12  # the arm's own settings, then drawn and sought in turn
        assert max(scores) > 0.9
        late = {random: late[random] + sum(scores[place::2]) for random, place in (("True", 13), ("False", 12))}
    assert late["False"] > 1.15 * late["True"]  # what is sought beats what is drawn
    found = load_suite(tmp_path / "mine.tuning" / trials.TUNED).tuned
    assert found is not None
    for shares in found.importances.values():  # scores follow from the learning rate alone
        assert max(shares, key=lambda key: shares[key]) == "train.learning_rate"


def test_what_is_drawn_depends_on_no_score(
    tmp_path: Path, runs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(suite(tmp_path), "mine.yaml", tmp_path / "one", 14)
    monkeypatch.setattr(Trial, "score", property(lambda trial: trial.point["train.learning_rate"]))
    tune(suite(tmp_path), "mine.yaml", tmp_path / "other", 14)
    drawn, sought = (
        [[row["train.learning_rate"] for row in table(tmp_path / name) if row["random"] == random]
         for name in ("one", "other")]
        for random in ("True", "False")
    )  # fmt: skip
    assert drawn[0] == drawn[1]
    assert sought[0] != sought[1]


def test_the_tuned_suite_carries_its_trials(tmp_path: Path, runs: dict[str, Any]) -> None:
    runs["ends"] = lambda spec: "failed" if spec.arm == "ppo-t03" else "ok"
    tune(suite(tmp_path), "mine.yaml", tmp_path, 12)
    tuned = load_suite(tmp_path / "mine.tuning" / trials.TUNED).tuned
    assert tuned is not None
    assert tuned.starts == {"countdown": 0.1, "sorting": 0.1}
    rows = {row["trial"]: row for row in table(tmp_path)}
    for arm, records in tuned.arms.items():
        assert [record.trial for record in records] == [f"{arm}-t{place:02}" for place in range(12)]
        for record in records:
            row = rows[record.trial]
            assert (str(record.random), record.status) == (row["random"], row["status"])
            assert record.settings["train.learning_rate"] == float(row["train.learning_rate"])
            each = [row[f"score.{task}"] for task in ("countdown", "sorting")]
            assert list(map(str, record.scores.values())) == [score for score in each if score]
    assert rows["ppo-t03"]["score"] == ""
    assert not tuned.arms["ppo"][3].scores
    assert {arm: sum(shares.values()) for arm, shares in tuned.importances.items()} == pytest.approx(
        {"ppo": 1.0, "grpo": 1.0}, abs=1e-3
    )


def test_the_best_settings_are_a_suite_for_fresh_seeds(tmp_path: Path, runs: dict[str, Any]) -> None:
    tune(suite(tmp_path), "mine.yaml", tmp_path, 8)
    path = tmp_path / "mine.tuning" / trials.TUNED
    tuned = load_suite(path)
    best = {
        arm: max((r for r in table(tmp_path) if r["arm"] == arm), key=lambda r: float(r["score"])) for arm in tuned.arms
    }
    for spec in resolve(tuned, "tuned.yaml"):
        if spec.purpose == "train":
            assert spec.train.learning_rate == float(best[spec.arm]["train.learning_rate"])
            assert (spec.train.completions, spec.tuning) == (640, False)
    assert tuned.seeds == list(range(8))
    assert tuned.tuned is not None
    assert (tuned.tuned.trials, tuned.tuned.completions, tuned.tuned.train_s) == (8, 8192, 96.0)
    before = tuned.tuned.sha256
    tune(suite(tmp_path), "mine.yaml", tmp_path, 9)
    after = load_suite(path).tuned
    assert after is not None
    assert before != after.sha256


def test_a_search_that_was_stopped_asks_the_same_again(tmp_path: Path, runs: dict[str, Any]) -> None:
    tune(suite(tmp_path), "mine.yaml", tmp_path / "whole", 14)
    runs["made"].clear()
    codes = []
    for _ in range(5):  # 14 trials of 2 arms on 2 tasks with 2 seeds: 112 runs
        runs["left"] = 23
        codes.append(tune(suite(tmp_path), "mine.yaml", tmp_path / "pieces", 14))
    assert codes == [130, 130, 130, 130, 0]
    assert len(runs["made"]) == len({spec.key for spec in runs["made"]}) == 112
    assert table(tmp_path / "pieces") == table(tmp_path / "whole")


def test_a_run_that_diverged_scores_nothing_and_one_that_failed_gives_no_score(
    tmp_path: Path, runs: dict[str, Any]
) -> None:
    ends = {"ppo-t01": "diverged", "grpo-t02": "failed"}
    runs["ends"] = lambda spec: ends.get(spec.arm, "ok") if (spec.task, spec.seed) == ("sorting", 1001) else "ok"
    tune(suite(tmp_path), "mine.yaml", tmp_path, 3)
    rows = {row["trial"]: row for row in table(tmp_path)}
    assert [rows[name]["status"] for name in ("ppo-t00", "ppo-t01", "grpo-t02")] == ["ok", "diverged", "failed"]
    whole = math.exp(-abs(math.log(float(rows["ppo-t01"]["train.learning_rate"]) / 1e-3)))
    assert float(rows["ppo-t01"]["score"]) == pytest.approx(0.75 * whole, abs=1e-3)  # three of its four runs ended
    assert rows["grpo-t02"]["score"] == ""


@pytest.mark.parametrize(
    ("search", "why"),
    [
        ("{space: {grpo: {config.lam: [0.9, 1.0]}}}", r"arms.grpo.config.lam"),
        (
            "{space: {gspo: {train.beta: [0.0, 0.1]}}}",
            r"search.space.gspo: no arm of this suite; its arms are ppo, grpo",
        ),
        ("{space: {ppo: {train.group_size: [5, 8]}}}", r"search.space.ppo.train.group_size: 5: does not divide"),
        ("{completions: 60}", r"train.completions: 60: less than one update"),
    ],
)
def test_a_space_that_an_arm_does_not_have_is_named_before_the_first_run(
    tmp_path: Path, runs: dict[str, Any], search: str, why: str
) -> None:
    text = TEXT.replace("{completions: 128, seeds: 2}", search)
    with pytest.raises(UserError, match=why):
        tune(suite(tmp_path, text), "mine.yaml", tmp_path, 3)
    assert runs["made"] == []

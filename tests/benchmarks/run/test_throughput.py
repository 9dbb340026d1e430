"""Runs an hour: passes of short runs side by side with a worker that trains nothing, and the table by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fake_suite import FakeRun, make_suite, most_at_once
from handmade import made
from ppo_vs_grpo.benchmarks.analysis.frames.load import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.throughput import throughput_table
from ppo_vs_grpo.benchmarks.analysis.report.figures import speed
from ppo_vs_grpo.benchmarks.analysis.report.write import report_id
from ppo_vs_grpo.benchmarks.records.throughput import COLUMNS, FILE, of, read
from ppo_vs_grpo.benchmarks.run import throughput
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.run.machine import cores
from ppo_vs_grpo.benchmarks.suites.sections import Throughput
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError

ASKED = Throughput(arm="grpo", slots=[1, 3], runs=4, completions=16, repeats=2)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    monkeypatch.setattr(throughput, "busy_cores", lambda: 0.0)
    suite = make_suite(seeds=1).model_copy(update={"throughput": ASKED})
    return FakeRun(tmp_path, suite=suite, seconds=0.3)


def short_runs(fake: FakeRun, what: str = "began") -> list[dict[str, Any]]:
    """What the last runs told: those of the suite itself come first."""
    suites_own = 2 * 2 + 2 * 2 * 2  # arms, tasks, repeats of the timing pass
    return fake.events(what)[suites_own:]


def test_passes_go_forward_then_backward_with_so_many_runs_at_a_time(fake: FakeRun) -> None:
    assert fake.run() == 0
    rows = read(fake.results)
    assert [(row["slots"], row["repeat"]) for row in rows] == [(1, 0), (3, 0), (3, 1), (1, 1)]
    assert {(row["arm"], row["runs"], row["completions"], row["contended"], row["error"]) for row in rows} == {
        ("grpo", 4, 16, False, None)
    }
    began, ended = short_runs(fake), short_runs(fake, "ended")
    for number, row in enumerate(rows):
        part = slice(4 * number, 4 * number + 4)
        assert most_at_once(began[part], ended[part]) == row["slots"]
        assert [event["threads"] for event in began[part]] == [str(max(1, cores() // row["slots"]))] * 4
        # Processes that start together may tell of it in any order.
        assert sorted(event["key"].rsplit(".", 1)[0] for event in began[part]) == [f"grpo.red.s{i}" for i in range(4)]
        # The fake worker says that its process took 3 s, which is how far the first one's start lies before its end.
        span = ended[part][-1]["time_s"] - ended[part][0]["time_s"] + 3
        assert row["seconds"] == pytest.approx(span, abs=0.15)
    specs = [json.loads(path.read_text()) for path in (fake.results / "throughput").glob("*/*/spec.json")]
    assert len(specs) == 16
    assert {(spec["train"]["completions"], spec["purpose"]) for spec in specs} == {(16, "train")}


def test_measured_passes_are_kept_and_those_of_other_settings_are_not(fake: FakeRun) -> None:
    assert fake.run() == 0
    before = (fake.results / FILE).read_text()
    count = len(fake.events())
    assert fake.run() == 0
    assert (fake.results / FILE).read_text() == before
    assert len(fake.events()) == count
    fake.suite = fake.suite.model_copy(update={"throughput": ASKED.model_copy(update={"slots": [1, 2]})})
    assert fake.run() == 0
    assert sorted((row["slots"], row["repeat"]) for row in read(fake.results)) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    fake.suite = fake.suite.model_copy(update={"throughput": ASKED.model_copy(update={"runs": 2, "repeats": 1})})
    assert fake.run() == 0
    assert [(row["slots"], row["runs"]) for row in read(fake.results)] == [(1, 2), (3, 2)]


def test_a_run_that_fails_is_named_and_its_pass_measured_again(fake: FakeRun) -> None:
    fake.ends = {"grpo.red.s3": "silent"}  # only the short runs have a seed 3
    assert fake.run() == 1
    rows = read(fake.results)
    assert [row["seconds"] for row in rows] == [None] * 4
    assert "grpo.red.s3" in rows[0]["error"]
    assert "failed: exit code 3 without a manifest; last line of stdout.log: the last words" in rows[0]["error"]
    fake.ends = {}
    assert fake.run() == 0
    assert all(row["seconds"] for row in read(fake.results))


def test_other_work_on_the_machine_is_noted(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "busy_cores", lambda: 0.3)
    assert fake.run() == 0
    assert all(row["contended"] for row in read(fake.results))


def test_a_broken_line_is_named(fake: FakeRun) -> None:
    assert fake.run() == 0
    path = fake.results / FILE
    path.write_text(path.read_text().replace('"slots": 3', '"slot": 3', 1))
    with pytest.raises(UserError, match=rf"{FILE}, line 2: 'slots' is missing"):
        read(fake.results)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arm": "ppp"}, "throughput.arm: ppp: no arm of this suite on its first task; did you mean 'ppo'"),
        ({"slots": [2, 2]}, r"throughput.slots: \[2, 2\]: a number is listed more than once"),
        ({"slots": [0, 2]}, "greater than or equal to 1"),
        ({"slots": [2]}, "at least 2 items"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], message: str) -> None:
    settings = make_suite().model_dump() | {"throughput": {"arm": "grpo", "slots": [1, 2]} | changes}
    with pytest.raises(ValueError, match=message):
        Suite.model_validate(settings)


def row(slots: int, repeat: int, seconds: float | None, **changes: Any) -> dict[str, Any]:
    settings = dict(zip(COLUMNS, ("grpo", 4, 16, slots, repeat, seconds, False, None), strict=True))
    return settings | changes


def results(*rows: dict[str, Any]) -> Results:
    base = made({"grpo": {"task": [(0.1, 0.2)]}})
    return replace(base, suite={**base.suite, "throughput": ASKED.model_dump()}, throughput=rows)


def test_runs_an_hour_and_ratios_by_hand() -> None:
    table = throughput_table(results(row(1, 0, 40.0), row(3, 0, 20.0), row(3, 1, 25.0), row(1, 1, 100.0)))
    assert table["slots"].tolist() == [1, 3]
    assert table["runs_per_hour"].tolist() == [(360 + 144) / 2, (720 + 576) / 2]
    assert table["least"].tolist() == [144, 576]
    assert table["most"].tolist() == [360, 720]
    assert table["times"].tolist() == [1, 3]  # the median of 2 and 4
    assert table["note"].tolist() == ["", ""]


def test_a_shared_machine_counts_only_where_there_is_no_other_pass() -> None:
    rows = (row(1, 0, 40.0), row(3, 0, 20.0), row(1, 1, 90.0), row(3, 1, 9.0))
    table = throughput_table(results(*(one | {"contended": place != 1} for place, one in enumerate(rows))))
    assert table["n"].tolist() == [2, 1]
    assert table["note"].tolist() == ["contended", ""]
    assert table["times"].tolist() == [1, 2]


def test_what_failed_or_was_not_run_is_said() -> None:
    table = throughput_table(results(row(1, 0, None, error="grpo.red.s3 failed: no memory")))
    assert table["note"].tolist() == ["grpo.red.s3 failed: no memory", "not run"]
    assert table["n"].tolist() == [0, 0]
    assert pd.isna(table["runs_per_hour"]).all()
    speed.throughput_figure(results(row(1, 0, None, error="no")))
    speed.throughput_figure(results())


def test_only_the_passes_that_are_asked_for_and_went_well_are_kept() -> None:
    good = row(3, 1, 5.0)
    rows = [good, row(2, 0, 5.0), row(3, 2, 5.0), row(1, 0, 5.0, runs=5), row(1, 0, None, error="no")]
    rows += [row(1, 0, 5.0, arm="ppo"), row(1, 0, 5.0, completions=17)]
    assert of(ASKED.model_dump(), rows) == [good]


def test_a_report_is_another_one_if_its_passes_are() -> None:
    bare = replace(results(), runs=results().runs.iloc[:0])
    passes = ((), (row(1, 0, 40.0),), (row(1, 0, 41.0),))
    assert len({report_id(replace(bare, throughput=rows)) for rows in passes}) == 3


def test_results_have_the_passes(fake: FakeRun) -> None:
    assert fake.run() == 0
    lock = fake.results / "suite.lock.yaml"
    assert "throughput:" in lock.read_text()
    assert load(fake.results, strict=False).throughput == tuple(read(fake.results))

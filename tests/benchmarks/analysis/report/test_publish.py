"""What is published answers as the runs do: the same report byte for byte, and `verify` on it alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.published import write_records
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.analysis.report.publish import publish
from ppo_vs_grpo.benchmarks.analysis.report.verify import Mismatch, verify
from ppo_vs_grpo.benchmarks.records.lock import read_seals, run_names
from synthetic import make_suite, write_results

SUITE = make_suite(tasks=("recall",), seeds=3, updates=8, prompts=16)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The runs, and what is published of them."""
    place = tmp_path_factory.mktemp("suites")
    runs = write_results(place / "core", SUITE, failed=["ppo.recall.s0"])
    publish([runs], place / "published" / "core")
    return runs, place / "published" / "core"


def test_what_is_published_answers_as_its_runs_do(published: tuple[Path, Path]) -> None:
    runs, out = published
    assert write.report_id(load(out)) == write.report_id(load(runs))
    assert load(out).compare().sentences == load(runs).compare().sentences
    assert {path.name for path in out.iterdir()} == {
        *(
            "report.html",
            "transcripts.html",
            "report.md",
            "claims.json",
            "figures",
            "tables",
            "suite.lock.yaml",
            "records",
        )
    }


def test_its_report_is_made_again_byte_for_byte_without_the_runs(published: tuple[Path, Path]) -> None:
    assert verify(published[1]) == []


def test_what_differs_from_its_runs_is_named(published: tuple[Path, Path], tmp_path: Path) -> None:
    runs, out = published[0], Path(shutil.copytree(published[1], tmp_path / "out"))
    page, made = out / "report.md", load(out)
    page.write_text(page.read_text() + "more\n")
    write_records(replace(made, evals=made.evals.assign(passes=0)), out)
    assert verify(out, runs) == [
        Mismatch("report.md", "other content", "otherwise; look at the tables first"),
        Mismatch("records: evals", "other values", "what the runs give"),
    ]


def test_seeds_of_two_nights_are_published_as_one_suite(published: tuple[Path, Path], tmp_path: Path) -> None:
    more = write_results(tmp_path / "core", SUITE.model_copy(update={"seeds": [3, 4]}))
    out = tmp_path / "out"
    publish([published[1], more], out)
    both = load(out)
    assert both.seeds == [0, 1, 2, 3, 4]
    assert both.compare().primary == load(published[0], more).compare().primary
    assert verify(out) == []
    assert {name.key for name in run_names(out)} == set(both.runs["key"]) | set(both.missing["key"])
    seals = (read_seals(more) or {}) | (read_seals(published[0]) or {})
    assert read_seals(out) == {key: seals[key] for key in both.runs["key"]}
    publish([out], tmp_path / "again")
    assert write.report_id(load(tmp_path / "again")) == write.report_id(both)

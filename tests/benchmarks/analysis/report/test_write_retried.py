"""Runs that diverged and were tried again: a choice among attempts, which a report says."""

from __future__ import annotations

from pathlib import Path

from damage import edit_manifest, run_folder
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.published import differing_records
from ppo_vs_grpo.benchmarks.analysis.report import publish, write
from synthetic import make_suite, write_results

SENTENCE = (
    "Runs that had diverged were tried again (grpo 2 of 5): their last attempts stand here, so these arms look "
    "steadier than they are."
)


def test_a_report_says_that_diverged_runs_were_tried_again(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "suite", make_suite(tasks=("recall",), seeds=3, updates=6, prompts=4))
    edit_manifest(run_folder(folder, "ppo.recall.s0"), retried="failed")
    results = load(folder)
    assert results.retried_sentence == ""
    write.write(results, folder / "report")
    pages = [folder / "report" / name for name in ("report.md", "report.html")]
    assert not any("tried again" in page.read_text() for page in pages)
    for seed in (1, 2):
        edit_manifest(run_folder(folder, f"grpo.recall.s{seed}"), retried="diverged")
    results = load(folder)
    assert results.retried_sentence == SENTENCE
    write.write(results, folder / "report")
    assert all(SENTENCE in page.read_text() for page in pages)
    publish.publish([folder], tmp_path / "published")
    assert load(tmp_path / "published").retried_sentence == SENTENCE
    assert differing_records(results, load(tmp_path / "published")) == []


def test_results_without_attempts_before_have_the_columns_that_they_had(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "suite", make_suite(tasks=("recall",), seeds=1, updates=6, prompts=4))
    assert "retried" not in load(folder).runs
    assert load(folder).retried_sentence == ""

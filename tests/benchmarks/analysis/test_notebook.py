"""What a notebook asks of results: two arms compared, the report's figures, prompts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.prompts import prompt_rates
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge, table_of
from ppo_vs_grpo.benchmarks.analysis.notebook import NotebookResults
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    suite = make_suite(("ppo", "grpo", "dapo"), tasks=("sorting", "recall"), seeds=8, updates=4, prompts=8)
    return write_results(tmp_path_factory.mktemp("made"), suite)


@pytest.fixture(scope="module")
def results(folder: Path) -> NotebookResults:
    return load(folder)


def test_a_comparison_is_the_verdicts_on_two_arms(results: NotebookResults) -> None:
    found = results.compare("grpo", "dapo")
    assert found.verdicts == judge(results, "grpo", "dapo")
    pd.testing.assert_frame_equal(found.table, table_of(judge(results, "grpo", "dapo")))
    assert (found.primary.metric, found.primary.task) == ("final held-out pass rate", "all tasks")
    assert found.sentences[0] == found.primary.sentence
    assert sorted(found.sentences) == sorted(found.table["sentence"])
    assert results.compare().verdicts == judge(results)
    with pytest.raises(UserError, match="no arm 'gpro'; did you mean 'grpo'"):
        results.compare("ppo", "gpro")


def test_a_comparison_shows_its_sentence_and_tables_uncut(results: NotebookResults) -> None:
    found = results.compare("ppo", "grpo")
    shown = repr(found)
    assert shown.startswith(found.primary.sentence + "\n\n")
    lines = shown.splitlines()
    assert [line.split()[0] for line in lines if line.strip().startswith("metric")] == ["metric", "metric"]
    assert len(lines) == 23  # the sentence, and two tables of nine metrics, each after a blank line
    page = found._repr_html_()
    assert page.count("<table") == 2
    assert "final held-out pass rate (share)" in page
    assert "..." not in page
    assert found.primary.sentence in page


def test_html_of_a_comparison_is_escaped(tmp_path: Path) -> None:
    suite = make_suite(tasks=("sorting",), seeds=2, updates=4, prompts=4, timing=False)
    odd = load(write_results(tmp_path, suite)).compare()
    (first, *rest) = odd.verdicts
    shown = type(odd)((type(first)(**{**vars(first), "sentence": "a <b>"}), *rest))._repr_html_()
    assert "<p>a &lt;b&gt;</p>" in shown
    assert shown.count("<table") == 1  # one task has no table by task


def test_figures_are_those_of_the_report(results: NotebookResults) -> None:
    assert dir(results.plot) == ["curves", "forest", "forest_narrow", "overview", "task_recall", "task_sorting"]
    assert isinstance(results.plot.task_recall(), Figure)
    with pytest.raises(AttributeError, match="suite synthetic has no figure 'overvew'; did you mean 'overview'"):
        results.plot.overvew()
    assert not hasattr(results.plot, "_repr_png_")


def test_curves_are_drawn_on_given_or_new_axes(results: NotebookResults) -> None:
    figure = Figure()
    ax = figure.add_subplot()
    assert results.plot.curves("recall", ax) is ax
    assert ax.get_title(loc="left") + ax.get_title() == "recall"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ppo", "grpo", "dapo"]
    assert len(ax.lines) == 3 + 1  # the arms' means, and the start
    assert [len(seeds.get_segments()) for seeds in ax.collections] == [8, 8, 8]
    with pytest.raises(UserError, match="no task 'recal'; did you mean 'recall'"):
        results.plot.curves("recal")


def test_prompts_are_a_copy_that_may_be_changed(results: NotebookResults) -> None:
    changed = results.prompts
    changed.loc[:, "ppo"] = 7.0
    pd.testing.assert_frame_equal(results.prompts, prompt_rates(results))
    assert results.prompts["ppo"].le(1).all()


def test_loading_draws_nothing(folder: Path) -> None:
    code = (
        "import sys; from ppo_vs_grpo.benchmarks import load; load(sys.argv[1]).compare(); "
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

"""The overview and a task's figure: what their titles find, what they show, and that a phone shows it readably."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from claimed import claiming, scored
from drawn import assert_readable, drawn_texts
from handmade import OTHER_WAVE, WAVE
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge_primary
from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas, costs, probes
from ppo_vs_grpo.benchmarks.analysis.report.figures.overview import finding, overview_figure, task_figure
from synthetic import make_suite, write_probes, write_results

SMALL: dict[str, Any] = {"tasks": ("sorting", "recall"), "seeds": 3, "updates": 12, "prompts": 16}
MANY = ("ppo", "grpo-without-std", *(f"grpo-{i}" for i in range(8)))


def ends(**finals: Any) -> Results:
    """Results of arms whose final pass rates on task `a` are given."""
    return claiming(scored({arm: {"a": rates} for arm, rates in finals.items()}), {})


def test_a_title_says_who_ends_higher_and_how_sure_that_is() -> None:
    """Differences of 4 points and a wave of 1 point: sd sqrt(5 / 7), t of 7 degrees of freedom 2.3646."""
    flat = np.full(8, 0.5)
    half = 2.364624251592785 * float(np.std(OTHER_WAVE, ddof=1)) / 8**0.5
    words = f"interval {4 - half:.1f} to {4 + half:.1f}"
    assert finding(ends(x=flat, y=flat + 0.04 + 0.01 * OTHER_WAVE), "a") == f"y ends 4.0 points higher; {words}"
    assert finding(ends(x=flat + 0.04 + 0.01 * OTHER_WAVE, y=flat), "a") == f"x ends 4.0 points higher; {words}"


def test_a_title_calls_nobody_higher_where_the_interval_holds_zero() -> None:
    flat = np.full(8, 0.5)
    half = 2.364624251592785 * float(np.std(WAVE, ddof=1)) / 8**0.5
    words = finding(ends(x=flat, y=flat + 0.002 + 0.01 * WAVE), "a")
    assert words == f"y minus x +0.2 points; interval \u2212{half - 0.2:.1f} to {half + 0.2:.1f}"
    assert finding(ends(x=flat, y=[0.7, *[None] * 7]), "a") == "1 finished pair of seeds: no interval"
    assert finding(ends(x=flat, y=[None] * 8), "a") == "0 finished pairs of seeds: no interval"


def test_a_title_calls_nobody_higher_where_only_the_interval_excludes_zero() -> None:
    """A difference of 4 points and a wave of 5: p is 0.03 where the task is alone, and 0.06 where it is one of two."""
    flat = np.full(8, 0.5)
    ahead = flat + 0.04 + 0.05 * OTHER_WAVE
    assert finding(ends(x=flat, y=ahead), "a") == "y ends 4.0 points higher; interval 0.5 to 7.5"
    one_of_two = claiming(scored({"x": {"a": flat, "b": flat}, "y": {"a": ahead, "b": flat + 0.05 * WAVE}}), {})
    assert judge_primary(one_of_two)[0].verdict == "inconclusive"
    assert finding(one_of_two, "a") == "y minus x +4.0 points; interval 0.5 to 7.5"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Results]:
    """Suites of two and of ten arms, with probes; in the first the timing pass shared the machine."""
    found = {}
    for arms in (("ppo", "grpo"), MANY):
        folder = tmp_path_factory.mktemp("drawn")
        write_results(folder, make_suite(**SMALL, arms=arms), contended_timing=len(arms) == 2)
        write_probes(folder)
        found[len(arms)] = load(folder)
    return found


DRAWN: dict[str, Callable[[Results, str], Figure]] = {
    "overview": overview_figure,
    "task": lambda results, caption: task_figure(results, "recall", caption),
    "costs": costs.cost_figure,
    "budgets": costs.budget_figure,
    "probes": probes.probe_figure,
}


@pytest.mark.parametrize("arms", [2, 10])
@pytest.mark.parametrize("name", DRAWN)
def test_no_text_of_a_figure_overlaps_another_leaves_it_or_is_small(
    results: dict[int, Results], arms: int, name: str
) -> None:
    figure = DRAWN[name](results[arms], "synthetic \u00b7 report 01234567")
    assert_readable(figure)
    for text in drawn_texts(figure):
        assert text.get_fontsize() / 72 * 390 / canvas.WIDTH_IN >= 11 - 0.1, text.get_text()
    assert not [text for text in drawn_texts(figure) if text.get_text() == "not measured"]


def test_resident_memory_is_in_no_figure(tmp_path: Path) -> None:
    figure = task_figure(load(write_results(tmp_path, make_suite(**SMALL))), "recall")
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        *("Held-out pass rate", "grpo minus ppo, points", "Its sd over seeds"),
        *("Reward sd in a group", "Silent groups", "Wall-clock"),
    ]


def test_an_accelerators_memory_is_drawn_by_phase(tmp_path: Path) -> None:
    results = load(write_results(tmp_path, make_suite(**SMALL)))
    results.memory.loc[:, "source"] = "accelerator_allocated"
    assert task_figure(results, "recall").axes[-1].get_title(loc="left") == "Memory"


def test_every_evaluation_is_a_point_of_the_curve_and_of_the_difference(tmp_path: Path) -> None:
    suite = make_suite(**SMALL).model_dump()
    suite["eval"]["points"] = 11
    results = load(write_results(tmp_path, type(make_suite()).model_validate(suite)))
    curve, difference = overview_figure(results).axes[:2]
    bold = [line for line in curve.lines if line.get_linewidth() > 2]
    assert [len(np.asarray(line.get_xdata())) for line in (*bold, difference.lines[-1])] == [11, 11, 11]
    titles = [text.get_text() for text in curve.texts]
    assert titles[-1].replace("\n", " ") == f"sorting: {finding(results, 'sorting')}"


def test_a_task_without_the_two_arms_shows_each_arms_end(tmp_path: Path) -> None:
    results = load(write_results(tmp_path, make_suite(**SMALL, arms=("ppo",))))
    _, beside, *_ = overview_figure(results).axes
    assert beside.get_ylabel() == "at the end"
    assert "Training reward" in [ax.get_title(loc="left") for ax in task_figure(results, "recall").axes]

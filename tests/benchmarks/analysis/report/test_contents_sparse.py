"""Tables and figures of a suite whose arms run on some tasks only: no rows, bars or names of what was never to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames import outcomes
from ppo_vs_grpo.benchmarks.analysis.frames.attribution import attribution_table
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, unmatched
from ppo_vs_grpo.benchmarks.analysis.report import tables
from ppo_vs_grpo.benchmarks.analysis.report.figures import attribution, canvas, costs, overview, probes, style
from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite
from synthetic import make_suite, write_probes, write_results

ARMS = ("ppo", "grpo", "grpo-left", "ppo-right")
SPARSE: dict[str, Any] = {
    **{"tasks": ("sorting", "recall"), "arms": ARMS, "seeds": 3, "updates": 12, "prompts": 16},
    "tasks_of": {"grpo-left": ["sorting"], "ppo-right": ["recall"]},
    "train_of": {"grpo-left": {"beta": 0.5}},
    "timed": ["ppo", "grpo-left"],
}
CELLS = [("sorting", "ppo"), ("sorting", "grpo"), ("sorting", "grpo-left")]
CELLS += [("recall", "ppo"), ("recall", "grpo"), ("recall", "ppo-right")]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = write_results(tmp_path_factory.mktemp("sparse"), make_suite(**SPARSE))
    write_probes(folder)
    return load(folder)


def arms_named(figure: Figure) -> list[str]:
    """What the figure's first legend says: the arms and their numbers of runs."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def panels(figure: Figure, columns: int) -> list[list[Axes]]:
    """The axes of a grid, row by row."""
    return [figure.axes[at : at + columns] for at in range(0, len(figure.axes), columns)]


def hues(ax: Axes) -> set[str]:
    """The colours of an axes' bold lines."""
    return {to_hex(str(line.get_color())) for line in ax.lines if line.get_linewidth() > 2}


def test_what_was_never_to_run_is_not_missing(results: Results, tmp_path: Path) -> None:
    assert results.missing.empty
    assert results.runs.groupby("purpose").size().to_dict() == {"train": 6 * 3, "timing": 3 * 2}
    assert results.runs_on("grpo-left") == ["sorting"]
    assert results.runs_on("ppo") == ["sorting", "recall"]
    write_results(tmp_path, make_suite(**SPARSE), missing=["ppo-right.recall.s1"])
    short = load(tmp_path)
    assert short.missing[["arm", "task", "seed"]].to_numpy().tolist() == [["ppo-right", "recall", 1]]
    assert tables.unfinished(short)["arm"].tolist() == ["ppo-right"]


def test_tables_have_a_row_for_what_was_to_run(results: Results) -> None:
    summary, variance = outcomes.summary(results), tables.variance(results)
    assert list(zip(summary["task"], summary["arm"], strict=True)) == CELLS
    assert list(zip(variance["task"], variance["arm"], strict=True)) == CELLS
    assert set(summary["n"]) == set(summary["planned"]) == {3}
    for table in (outcomes.final_scores(results), tables.memory(results), tables.seconds(results)):
        assert list(dict.fromkeys(zip(table["task"], table["arm"], strict=True))) == CELLS


def test_an_arm_that_is_not_timed_has_no_seconds_and_says_so(results: Results) -> None:
    summary = outcomes.summary(results).set_index(["task", "arm"])
    timed = [("sorting", "ppo"), ("sorting", "grpo-left"), ("recall", "ppo")]
    assert summary["seconds_per_1000"].notna().to_dict() == {cell: cell in timed for cell in CELLS}
    assert summary["note"].to_dict() == {cell: "-" if cell in timed else "not timed" for cell in CELLS}


def test_arms_differ_where_they_run_on_a_common_task(results: Results) -> None:
    differing, shared = tables.configuration(results)
    (beta,) = differing[differing["setting"] == "train.beta"].to_dict("records")
    assert beta == {"setting": "train.beta", "task": "all"} | dict(
        zip(ARMS, ("0.01", "0.01", "0.5", "0.01"), strict=True)
    )
    assert set(differing["setting"]) == {"algorithm", "train.beta", *(f"config.{name}" for name in SETTINGS)}
    clip = shared[shared["setting"] == "train.clip_low"].to_dict("records")
    assert clip == [{"setting": "train.clip_low", "task": "all", "value": "0.2"}]
    chosen = shared[shared["setting"] == "task_choice.task"].to_dict("records")
    assert chosen == [{"setting": "task_choice.task", "task": t, "value": t} for t in ("sorting", "recall")]


SETTINGS = ("critic.kind", "gamma", "lam", "value_coefficient", "normalize")


def test_a_setting_of_one_task_is_no_difference_between_arms(results: Results) -> None:
    """Two arms on two tasks with unlike options differ in nothing; a setting that no arm of a task has is no row."""
    specs = {
        key: spec | {"task_choice": {"task": "x", "options": {"length": 4}}} if spec["task"] == "recall" else spec
        for key, spec in results.specs.items()
        if spec["arm"] in ("grpo-left", "ppo-right")
    }
    differing, shared = tables.configuration(with_specs(results, specs))
    assert "task_choice.options.length" not in set(differing["setting"])
    rows = shared[shared["setting"].str.startswith("task_choice.options")].to_dict("records")
    assert rows == [
        {"setting": "task_choice.options", "task": "sorting", "value": "{}"},
        {"setting": "task_choice.options.length", "task": "recall", "value": "4"},
    ]


def test_a_value_that_changes_with_the_task_has_a_row_a_task(results: Results) -> None:
    """`ppo` has another length on each task; the arm that does not run on a task has a dash there."""

    def altered(spec: dict[str, Any]) -> dict[str, Any]:
        tokens = 99 if spec["arm"] == "grpo" else {"sorting": 11, "recall": 13}[spec["task"]]
        return spec | {"train": spec["train"] | {"max_new_tokens": tokens}}

    differing, _ = tables.configuration(with_specs(results, {key: altered(s) for key, s in results.specs.items()}))
    rows = differing[differing["setting"] == "train.max_new_tokens"].drop(columns="setting").to_numpy().tolist()
    assert rows == [["sorting", "11", "99", "11", "-"], ["recall", "13", "99", "-", "13"]]


def with_specs(results: Results, specs: dict[str, dict[str, Any]]) -> Results:
    return Results(**{name: getattr(results, name) for name in Results.__dataclass_fields__} | {"specs": specs})


def test_unmatched_budgets_are_those_of_a_tasks_arms(tmp_path: Path) -> None:
    suite = make_suite(**SPARSE | {"train_of": {"grpo-left": {"completions": 768}}})
    results = load(write_results(tmp_path, suite))
    assert unmatched(results, "recall") == ""
    assert unmatched(results, "sorting") == ("budgets unmatched: ppo 1,536, grpo 1,536, grpo-left 768 completions")


def test_a_tasks_figure_names_and_draws_its_own_arms(results: Results) -> None:
    figure = overview.task_figure(results, "sorting")
    assert arms_named(figure) == ["ppo (n = 3)", "grpo (n = 3)", "grpo-left (n = 3)"]
    colours = style.arm_colours(canvas.algorithms(results))
    assert hues(figure.axes[0]) == {colours[arm].lower() for arm in ("ppo", "grpo", "grpo-left")}
    assert list(canvas.arms_on(results, "recall").items()) == [
        (arm, colours[arm]) for arm in ("ppo", "grpo", "ppo-right")
    ]
    clock, memory = figure.axes[5:]
    assert [label.get_text() for label in clock.get_yticklabels()] == ["ppo", "grpo-left"]
    assert [label.get_text() for label in memory.get_yticklabels()] == ["ppo", "grpo", "grpo-left"]


def test_the_overview_names_every_arm_and_has_a_place_for_those_of_a_row(results: Results) -> None:
    figure = overview.overview_figure(results)
    assert arms_named(figure) == [f"{arm} (n = 3)" for arm in ARMS]
    for curve, difference in panels(figure, 2):
        assert len(hues(curve)) == 3
        assert difference.get_ylabel() == "grpo minus ppo,\npoints"


def test_costs_have_a_bar_for_each_arm_of_the_task(results: Results) -> None:
    figure = costs.cost_figure(results)
    rows = [[label.get_text() for label in row[0].get_yticklabels()] for row in panels(figure, 3)]
    assert rows == [["ppo", "grpo", "grpo-left"], ["ppo", "grpo", "ppo-right"]]
    widths = [[text.get_text() for text in row[1].texts] for row in panels(figure, 3)]
    assert [len(texts) for texts in widths] == [2, 1]


def test_curves_by_cost_leave_out_seconds_of_arms_that_are_not_timed(results: Results) -> None:
    figure = costs.budget_figure(results)
    assert arms_named(figure) == [f"{arm} (n = 3)" for arm in ARMS]
    assert [[len(hues(ax)) for ax in row] for row in panels(figure, 4)] == [[3, 3, 3, 2], [3, 3, 3, 1]]
    assert not [text for ax in figure.axes for text in ax.texts if text.get_text() == "contended"]


def test_probes_name_every_arm_with_its_runs(results: Results) -> None:
    assert arms_named(probes.probe_figure(results)) == [f"{arm} (n = 3)" for arm in ARMS]


def test_an_arm_with_fewer_runs_on_one_of_its_tasks_has_both_numbers(tmp_path: Path) -> None:
    write_results(tmp_path, make_suite(**SPARSE), missing=["ppo.recall.s0", "ppo-right.recall.s0"])
    named = arms_named(overview.overview_figure(load(tmp_path)))
    assert named == ["ppo (n = 2 to 3)", "grpo (n = 3)", "grpo-left (n = 3)", "ppo-right (n = 2)"]


def test_attribution_is_of_the_tasks_on_which_all_four_run(tmp_path: Path) -> None:
    arms = ("ppo", "ppo-group", "grpo-value", "grpo")
    shape = SPARSE | {"arms": arms, "tasks_of": {"ppo-group": ["recall"]}, "timed": None}
    suite = make_suite(**shape).model_dump()
    suite["attribution"] = dict(zip(("ppo", "ppo_group", "grpo_value", "grpo"), arms, strict=True))
    results = load(write_results(tmp_path, type(make_suite()).model_validate(suite)))
    table = attribution_table(results)
    assert table["task"].unique().tolist() == ["recall"]
    assert set(table["n"]) == {3}
    assert attribution.attribution_figure(results).axes


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Fourteen arms on one task, two of them on another one too."""
    arms = ("ppo", "grpo", *(f"ppo-variant{i}" for i in range(6)), *(f"grpo-variant{i}" for i in range(6)))
    tasks_of = {arm: ["sorting"] for arm in arms[2:]}
    shape = SPARSE | {"arms": arms, "tasks_of": tasks_of, "timed": None}
    folder = write_results(tmp_path_factory.mktemp("wide"), make_suite(**shape))
    write_probes(folder)
    return load(folder)


@pytest.mark.parametrize("draw", [overview.overview_figure, costs.budget_figure, probes.probe_figure])
def test_a_long_legend_leaves_room_for_the_panels(wide: Results, draw: Callable[[Results], Figure]) -> None:
    figure = draw(wide)
    figure.draw_without_rendering()
    low = min(text.get_window_extent().y0 for text in figure.legends[0].get_texts())
    assert max(box.y1 for ax in figure.axes if (box := ax.get_tightbbox())) <= low + 1


def test_a_row_of_costs_is_as_high_as_its_arms_need(wide: Results) -> None:
    heights = [row[0].get_position().height for row in panels(costs.cost_figure(wide), 3)]
    assert heights[0] / heights[1] == pytest.approx((0.55 + 0.4 * 14) / (0.55 + 0.24 * 2))


def test_arms_side_by_side_in_a_row_stay_in_it() -> None:
    """Two arms have their old distance; many share the row, and none reaches into the next one's half."""
    for count, distance in ((2, 0.16), (5, 0.16), (10, 0.08)):
        arms = [f"arm{i}" for i in range(count)]
        table = pd.DataFrame({"arm": arms, "name": "x", "value": 1.0, "se": 0.1})
        ax = probes.dots(table, "name", "value", "se", Figure().add_subplot(), dict.fromkeys(arms, "k"), ["x", "y"])
        heights = [float(np.asarray(line.get_ydata())[0]) for line in ax.lines]
        assert np.diff(heights) == pytest.approx([distance] * (count - 1))
        assert max(map(abs, heights)) < 0.5


def test_each_arm_of_a_large_suite_has_a_colour_of_its_own() -> None:
    suite = load_suite(find_suite("claims"))
    colours = style.arm_colours({label: arm.algorithm for label, arm in suite.arms.items()})
    assert len(set(colours.values())) == len(suite.arms)
    every = [colour for looks in style.FAMILIES.values() for colour, _ in looks]
    assert len({colour.lower() for colour in every}) == len(every)

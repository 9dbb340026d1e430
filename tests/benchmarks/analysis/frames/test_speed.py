"""Peers beside their counterparts, by hand: ratios within a repeat, what counts, what is said where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from handmade import made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.speed import pairs, ratios, sentences, speed_runs
from ppo_vs_grpo.benchmarks.analysis.report.figures import speed
from ppo_vs_grpo.benchmarks.records.schema import PHASES, RUN_COLUMNS

ARMS = {"ours": "grpo", "trl": "trl-grpo", "critic": "ppo-critic"}
SUITES = files("ppo_vs_grpo.benchmarks") / "suites"
Steps = dict[tuple[str, str, int], list[float]]
"""Seconds of each update, the first a warm-up, by cell, arm and repeat."""


def results(
    steps: Steps,
    contended: tuple[tuple[str, str, int], ...] = (),
    failed: dict[str, str] | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
) -> Results:
    """Timing runs of cells: peak memory is 100 MB a second of the first step, tokens 10 a completion of 4."""
    cells = list(dict.fromkeys(cell for cell, _, _ in steps)) + list(failed or {})
    base = made({"grpo": {"task": [(0.1, 0.2)]}})
    suite = {
        **base.suite,
        "arms": {arm: {"algorithm": algorithm} for arm, algorithm in ARMS.items()},
        "timing": {"cells": {cell: {} for cell in cells}},
    }
    rows, runs, memory, specs = [], [], [], {}
    for (cell, arm, repeat), seconds in steps.items():
        key = f"{arm}.{cell}.r{repeat}.00000000"
        who = {"arm": arm, "task": cell, "seed": repeat, "key": key}
        runs.append(_run(who, (cell, arm, repeat) in contended))
        memory.append(who | {"phase": "process", "role": "process", "source": "peak_rss", "bytes": seconds[0] * 1e8})
        dials = {"new_tokens": 16, "start": "tiny", "epochs": 1, "group_size": 2, **(settings or {}).get(cell, {})}
        train = {"prompts_per_update": 4 // dials["group_size"], "max_new_tokens": dials["new_tokens"]}
        train |= {name: dials[name] for name in ("group_size", "epochs")}
        options = {"mean_tokens": dials.get("mean_tokens", 0)}
        specs[key] = {"start": dials["start"], "train": train, "task_choice": {"options": options}}
        for update, taken in enumerate(seconds):
            spent = dict.fromkeys((f"{phase}_s" for phase in PHASES), taken / len(PHASES))
            rows.append(who | spent | {"update": update, "warmup": update == 0, "completion_tokens_mean": 10.0})
    for cell, error in (failed or {}).items():
        who = {"arm": "trl", "task": cell, "seed": 0, "key": f"trl.{cell}.r0.00000000"}
        runs.append(_run(who, False) | {"status": "failed", "error": error})
    return replace(
        base,
        suite=suite,
        runs=pd.DataFrame(runs, columns=list(RUN_COLUMNS)),
        speed=pd.DataFrame(rows),
        speed_memory=pd.DataFrame(memory),
        specs=specs,
    )


def _run(who: dict[str, Any], contended: bool) -> dict[str, Any]:
    return who | {"purpose": "timing", "status": "ok", "error": None, "contended": contended}


STEPS: Steps = {
    ("a", "ours", 0): [9.0, 1.0, 8.0, 2.0],
    ("a", "ours", 1): [9.0, 4.0, 4.0, 4.0],
    ("a", "trl", 0): [18.0, 3.0, 50.0, 4.0],
    ("a", "trl", 1): [18.0, 4.0, 4.0, 4.0],
    ("b", "ours", 0): [1.0, 1.0, 1.0, 1.0],
    ("b", "trl", 0): [1.0, 3.0, 3.0, 3.0],
}


def test_a_run_is_its_median_step_without_the_warm_up() -> None:
    runs = speed_runs(results(STEPS)).set_index(["cell", "arm", "repeat"])
    assert runs["step_s"].round(9).tolist() == [2.0, 4.0, 4.0, 4.0, 1.0, 3.0]
    assert runs.loc[("a", "ours", 0), "tokens"] == 40
    assert runs.loc[("a", "trl", 0), "peak_mb"] == 1800
    assert set(runs["completions"]) == {4}


def test_a_ratio_is_taken_within_its_repeat() -> None:
    table = ratios(results(STEPS)).set_index("cell")
    assert table.loc["a", ["times", "least", "most"]].astype(float).round(9).tolist() == [1.5, 1.0, 2.0]
    assert table.loc["a", "memory_times"] == 2
    assert table.loc["b", ["n", "times", "note"]].tolist() == [1, pytest.approx(3), ""]


def test_a_peer_is_paired_with_the_arm_that_it_stands_for() -> None:
    assert pairs(results(STEPS)) == [("ours", "trl")]


def test_a_repeat_on_a_shared_machine_counts_only_where_there_is_no_other() -> None:
    shared = results(STEPS, contended=(("a", "trl", 1), ("b", "ours", 0)))
    table = ratios(shared).set_index("cell")
    assert table.loc["a", ["n", "times", "note"]].tolist() == [1, pytest.approx(2), ""]
    assert table.loc["b", ["n", "times", "note"]].tolist() == [1, pytest.approx(3), "contended"]
    (said,) = sentences(shared)
    assert said == ("On equal work trl takes 2.00 times the seconds of ours (1 cell, medians of 1 repeat or more).")
    assert "no cell was measured alone" in sentences(results(STEPS, contended=tuple(STEPS)))[0]


def test_a_peer_that_failed_is_named_and_the_rest_stands() -> None:
    table = ratios(results(STEPS, failed={"c": "UserError: trl-grpo: TRL is not installed"})).set_index("cell")
    assert table.loc["c", "note"] == "trl failed: UserError: trl-grpo: TRL is not installed"
    assert pd.isna(table.loc["c", "times"])
    assert table.loc["b", "times"] == pytest.approx(3)


def test_a_dial_is_turned_by_cells_that_differ_in_it_alone() -> None:
    settings = {"a": {}, "b": {"new_tokens": 64}, "c": {"new_tokens": 256, "start": "nano"}}
    steps = STEPS | {("c", "ours", 0): [1.0, 1.0]}
    runs = speed_runs(results(steps, settings=settings))
    part = speed.turned(runs, "new_tokens")
    assert part is not None
    assert set(part["cell"]) == {"a", "b"}
    assert speed.turned(runs, "epochs") is None
    assert speed.turned(runs, "start") is None


def test_a_cell_has_the_pairs_that_it_asks_for() -> None:
    found = results(STEPS)
    for arms, rows in ((["ours", "trl"], 1), (["ours", "critic"], 0), (None, 1)):
        for place in ("cell", "timing"):
            timing = {"cells": {"a": {"arms": arms if place == "cell" else None}}}
            timing |= {"arms": arms if place == "timing" else None}
            assert len(ratios(replace(found, suite={**found.suite, "timing": timing}))) == rows


def test_start_models_are_in_the_suites_order_and_may_be_folders() -> None:
    settings = {"a": {"start": "small"}, "b": {"start": "/models/mine"}}
    figure = speed.scaling_figure(results(STEPS, settings=settings))
    (labels,) = {
        tuple(text.get_text() for text in ax.get_xticklabels())
        for ax in figure.axes
        if ax.get_xlabel() == "start model"
    }
    assert labels == ("small", "mine")


@pytest.mark.parametrize("draw", [speed.ratio_figure, speed.scaling_figure])
def test_legends_and_marks_of_axes_have_room(draw: Callable[[Results], Figure]) -> None:
    """All arms of the suite `peers`, whose names are long, and its three start models."""
    shapes: dict[str, dict[str, Any]] = {"b": {"start": "tiny"}, "a": {"start": "nano"}, "c": {"start": "small"}}
    shapes |= {"d": {"new_tokens": 256}, "e": {"new_tokens": 64}, "f": {"group_size": 4}, "g": {"epochs": 4}}
    steps: Steps = {(cell, arm, 0): [1.0 + 1.4 * (arm == "trl")] * 3 for cell in shapes for arm in ARMS}
    found = results(steps, settings=shapes)
    arms = yaml.safe_load(SUITES.joinpath("peers.yaml").read_text())["arms"]
    figure = draw(replace(found, suite={**found.suite, "arms": {**found.suite["arms"], **arms}}))
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x1 <= figure.bbox.x1
    assert max(box.y1 for ax in figure.axes if (box := ax.get_tightbbox())) <= legend.y0 + 1
    for ax in figure.axes:
        marks = [text.get_window_extent() for text in ax.get_xticklabels() if text.get_text()]
        assert all(left.x1 + 4 < right.x0 for left, right in pairwise(marks))


def test_figures_are_drawn_whatever_is_there() -> None:
    settings = {"a": {"mean_tokens": 3}, "b": {"new_tokens": 64}}
    for found in (
        results(STEPS, settings=settings, failed={"c": "it broke"}),
        results({("a", "ours", 0): [1.0, 1.0]}),
        results(STEPS, contended=tuple(STEPS)),
    ):
        ratio, scaling = speed.ratio_figure(found, "report 0"), speed.scaling_figure(found, "report 0")
        assert len(ratio.axes) == 2
        assert scaling.axes

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.costs import alone_means, peak_memory, phase_seconds
from ppo_vs_grpo.benchmarks.analysis.report.figures import panels
from synthetic import make_suite, write_results

SMALL: dict[str, Any] = {"tasks": ("sorting", "recall"), "seeds": 3, "updates": 12, "prompts": 16}
COLOURS = {"ppo": "#0072B2", "grpo": "#D55E00"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plots")
    return write_results(place, make_suite(**SMALL), diverged=["grpo.recall.s1"])


def axes() -> Axes:
    return Figure().add_subplot()


def heights(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata(), dtype=float)


def test_the_curve_draws_each_seed_and_a_mean_of_the_complete(folder: Path) -> None:
    scores = load(folder).scores.query("task == 'recall'")
    ax = panels.learning_curve(scores, axes(), COLOURS)
    grpo = [line for line in ax.lines if to_hex(str(line.get_color())) == "#d55e00"]
    (thin,) = [lines for lines in ax.collections if to_hex(lines.get_edgecolor()[0]) == "#d55e00"]  # type: ignore[arg-type]
    assert len(thin.get_paths()) == 3
    (bold,) = [line for line in grpo if line.get_linewidth() > 2]
    whole = scores.query("arm == 'grpo' and seed != 1")
    np.testing.assert_allclose(heights(bold), whole.groupby("completions")["pass_rate"].mean())
    assert [line.get_marker() for line in grpo].count("x") == 1
    assert ax.get_ylim()[0] == 0


def test_without_a_complete_run_there_is_no_mean_and_nothing_beside_the_panel(folder: Path) -> None:
    scores = load(folder).scores.query("task == 'recall'").assign(complete=False)
    ax = panels.learning_curve(scores, axes(), COLOURS)
    assert [line for line in ax.lines if line.get_linewidth() > 2] == []
    box = ax.get_tightbbox()
    assert box is not None
    assert box.x0 > 0
    assert box.y0 > 0


def test_the_spread_over_seeds_is_the_sample_standard_deviation(folder: Path) -> None:
    scores = load(folder).scores.query("task == 'sorting' and arm == 'ppo'")
    (line,) = panels.seed_spread(scores, axes(), COLOURS).lines
    last = scores[scores["completions"] == scores["completions"].max()]["pass_rate"]
    assert heights(line)[-1] == pytest.approx(np.std(last, ddof=1))
    alone = panels.seed_spread(scores[scores["seed"] == 0], axes(), COLOURS)
    assert [text.get_text() for text in alone.texts] == ["needs two finished seeds"]


def test_the_difference_is_paired_by_seed_with_its_t_interval() -> None:
    """At 100 completions seeds differ by 0.1 and 0.3: 20 points, 12.7062 standard errors of 10 to both sides."""
    rows = [("ppo", 0, 0.2, 0.3), ("grpo", 0, 0.2, 0.4), ("ppo", 1, 0.2, 0.4), ("grpo", 1, 0.2, 0.7)]
    scores = pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "completions": at, "pass_rate": rate, "complete": True}
            for arm, seed, *rates in rows
            for at, rate in zip((0, 100), rates, strict=True)
        ]
    )
    late = scores.iloc[[-1]].assign(seed=2, pass_rate=0.9)
    stopped = scores.iloc[[0]].assign(arm="grpo", seed=1, completions=100, complete=False, pass_rate=0.0)
    ax = panels.difference(pd.concat([scores, late, stopped]), ("ppo", "grpo"), axes())
    mean = ax.lines[-1]
    np.testing.assert_allclose(heights(mean), [0.0, 20.0], atol=1e-9)
    assert np.asarray(mean.get_xdata()).tolist() == [0, 100]
    (band,) = ax.collections
    ends = band.get_paths()[0].get_extents()  # type: ignore[union-attr]
    assert (ends.y0, ends.y1) == pytest.approx((20 - 127.062047364, 20 + 127.062047364))
    alone = panels.difference(scores.query("seed == 0"), ("ppo", "grpo"), axes())
    np.testing.assert_allclose(heights(alone.lines[-1]), [0.0, 10.0], atol=1e-9)
    nothing = panels.difference(scores.query("arm == 'ppo'"), ("ppo", "grpo"), axes())
    assert [text.get_text() for text in nothing.texts] == ["no finished pair"]


def test_the_word_start_stands_above_its_line_where_below_is_the_axis() -> None:
    for start, place in ((0.02, "bottom"), (0.5, "top")):
        rows = [{"arm": "ppo", "key": "k", "completions": at, "pass_rate": rate, "complete": True}
                for at, rate in ((0, start), (10, 1.0))]  # fmt: skip
        (word,) = panels.learning_curve(pd.DataFrame(rows), axes(), COLOURS).texts
        assert (word.get_text(), word.get_va()) == ("start", place)


def test_a_long_trace_keeps_its_mean_in_few_points() -> None:
    rows = 5000
    metrics = pd.DataFrame({"arm": "ppo", "completions": np.arange(1, rows + 1) * 8, "reward_mean": np.arange(rows)})
    (line,) = panels.trace(metrics, "reward_mean", axes(), COLOURS).lines
    assert len(heights(line)) == panels.TRACE_POINTS
    assert np.mean(heights(line)) == pytest.approx(metrics["reward_mean"].mean())


def test_negative_rewards_are_not_cut_off() -> None:
    metrics = pd.DataFrame({"arm": "ppo", "completions": [8, 16], "reward_mean": [-1.0, 0.5]})
    assert panels.trace(metrics, "reward_mean", axes(), COLOURS).get_ylim()[0] < -1


def test_seconds_leave_out_warm_up(folder: Path) -> None:
    results = load(folder)
    row = phase_seconds(results).query("arm == 'ppo' and task == 'sorting' and seed == 0").iloc[0]
    measured = results.timing[(results.timing["key"] == row["key"]) & ~results.timing["warmup"]]
    assert len(measured) == 20
    assert row["rollout_s"] == pytest.approx(measured["rollout_s"].sum() / (20 * 128) * 1000)
    assert row["total_s"] == pytest.approx(
        sum(row[f"{p}_s"] for p in ("rollout", "reward", "reference", "value", "update"))
    )


def test_stacked_seconds_add_up_from_zero(folder: Path) -> None:
    seconds = phase_seconds(load(folder)).query("task == 'recall'")
    ax = panels.seconds_by_phase(seconds, axes(), list(COLOURS))
    bars = [bar for bar in ax.patches if isinstance(bar, Rectangle)]
    ends = {round(bar.get_y() + bar.get_height() / 2): bar.get_x() + bar.get_width() for bar in bars}
    assert ends[0] == pytest.approx(seconds.query("arm == 'ppo'")["total_s"].mean())
    assert min(bar.get_x() for bar in bars) == 0 == ax.get_xlim()[0]


def test_contended_runs_are_labelled_and_count_in_no_mean(tmp_path: Path) -> None:
    write_results(tmp_path, make_suite(**SMALL), contended_timing=True)
    seconds = phase_seconds(load(tmp_path))
    assert seconds["contended"].all()
    assert alone_means(seconds, "total_s").empty
    ax = panels.seconds_by_phase(seconds.query("task == 'recall'"), axes(), list(COLOURS))
    assert "contended: runs shared the machine" in [text.get_text() for text in ax.texts]


def test_memory_falls_back_to_the_peak_of_the_process(tmp_path: Path) -> None:
    write_results(tmp_path, make_suite(**SMALL, timing=False), memory=False)
    results = load(tmp_path)
    memory = peak_memory(results)
    assert set(memory["phase"]) == {"process"}
    assert set(memory["origin"]) == {"training runs"}
    key = results.runs["key"].iloc[0]
    mb = memory.set_index("key").at[key, "mb"]
    assert mb == results.runs["peak_rss_bytes"].iloc[0] / 1e6


def test_the_accelerators_memory_goes_before_the_process(folder: Path) -> None:
    results = load(folder)
    row = results.memory.iloc[[-1]].assign(source="accelerator_allocated", bytes=5_000_000)
    results.memory.loc[len(results.memory)] = row.iloc[0]
    memory = peak_memory(results)
    assert memory["mb"].tolist() == [5.0]
    ax = panels.memory_by_phase(memory, axes(), COLOURS)
    assert ax.get_xlabel() == "peak allocated on the accelerator (MB)"


def test_bars_of_memory_start_at_zero_in_the_arms_colours(folder: Path) -> None:
    ax = panels.memory_by_phase(peak_memory(load(folder)).query("task == 'recall'"), axes(), COLOURS)
    assert ax.get_xlim()[0] == 0
    assert {to_hex(bar.get_facecolor()) for bar in ax.patches} == {"#0072b2", "#d55e00"}
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["load", "rollout"]

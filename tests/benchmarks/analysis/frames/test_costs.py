"""Costs of probed runs: memory by role, operations by phase, and learning curves against each of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.costs import (
    BUDGETS,
    alone_means,
    flops_by_phase,
    memory_by_role,
    phase_seconds,
    scores_by_cost,
)
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report.figures import costs, panels
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import blank
from ppo_vs_grpo.benchmarks.analysis.report.tables import step_noise_scale
from synthetic import make_suite, write_probes, write_results


@cache
def results(probed: bool = True, timing: bool = True) -> Results:
    folder = write_results(
        Path(mkdtemp()), make_suite(tasks=("recall",), seeds=2, updates=8, prompts=16, timing=timing)
    )
    if probed:
        write_probes(folder)
    return load(folder)


def test_memory_by_role_is_a_mean_over_runs_in_mb() -> None:
    table = memory_by_role(results())
    total = table[(table["phase"] == "total") & (table["arm"] == "grpo")].set_index("role")
    assert total["tracked_mb"].to_dict() == {"policy.params": 0.4, "activations.policy": 2.0, "kv_cache": 0.0}
    assert set(total["runs"]) == {2}
    assert memory_by_role(results(probed=False)).empty


def test_operations_are_millions_for_a_completion() -> None:
    table = flops_by_phase(results())
    assert set(table["mflops"]) == {1.0}
    assert len(table) == 4 * 3 * 2  # runs, moments, phases
    assert table["critic_mflops"].isna().all()  # synthetic runs do not say


def test_a_curve_has_what_each_evaluation_had_cost() -> None:
    scores = scores_by_cost(results())
    curve = scores[(scores["arm"] == "ppo") & (scores["seed"] == 1)].sort_values("completions")
    metrics = results().metrics[lambda frame: frame["key"] == curve["key"].iloc[0]].set_index("completions")
    assert list(curve["completions"]) == [0, 256, 512, 768, 1024]
    assert list(curve["tokens"]) == [0, *metrics.loc[[256, 512, 768, 1024], "tokens"]]
    assert list(curve["optimizer_steps"]) == [0, 4, 8, 12, 16]
    assert list(curve["flops"]) == pytest.approx(list(2e6 * curve["completions"]))  # two phases of 1e6 each
    pace = alone_means(phase_seconds(results()), "total_s")["recall", "ppo"] / 1000
    assert list(curve["seconds"]) == pytest.approx(list(pace * curve["completions"]))
    assert not curve["contended"].any()


def test_operations_between_moments_are_added_up_on_a_straight_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of 1, 3 and 5 per completion at 0, 512 and 1024: 768 to the middle of the first half, and so on."""
    found = results()
    probes = found.probes.copy()
    flops = probes["probe"] == "flops"
    probes.loc[flops, "value"] = 0.5 * (1 + probes.loc[flops, "completions"] / 256)
    changed = Results(**{**{f: getattr(found, f) for f in found.__dataclass_fields__}, "probes": probes})
    curve = scores_by_cost(changed).query("arm == 'grpo' and seed == 0")
    assert list(curve["flops"]) == pytest.approx([0, 256 + 128, 512 + 512, 768 + 1152, 1024 + 2048])


def test_seconds_of_a_run_that_went_on_after_a_kill_count_as_contended() -> None:
    found = results(timing=False)
    runs = found.runs.assign(contended=False, resumed=0)
    assert not scores_by_cost(replace(found, runs=runs))["contended"].any()
    runs.loc[runs.index[1], "resumed"] = 2
    seconds = phase_seconds(replace(found, runs=runs))
    assert set(seconds.loc[seconds["contended"], "key"]) == {runs["key"].iloc[1]}
    assert scores_by_cost(replace(found, runs=runs.assign(resumed=1)))["contended"].all()


def test_without_probes_or_an_idle_machine_the_curve_says_so() -> None:
    scores = scores_by_cost(results(probed=False, timing=False))
    assert scores["flops"].isna().all()
    assert scores["contended"].all()
    last = scores.sort_values("completions").groupby("key").last()
    runs = results(probed=False, timing=False).runs.set_index("key")
    assert last["seconds"].to_dict() == pytest.approx(runs["train_s"].to_dict())


def test_every_curve_can_be_drawn_against_every_budget() -> None:
    scores, colours = scores_by_cost(results()), {"ppo": "#0072B2", "grpo": "#D55E00"}
    for budget in BUDGETS:
        ax = blank(2).add_subplot()
        panels.learning_curve(scores, ax, colours, x=budget)
        bold = [line for line in ax.lines if line.get_linewidth() > 2]
        for line, arm in zip(bold, colours, strict=True):
            own = scores[scores["arm"] == arm]
            means = own.assign(x=own[budget]).groupby("completions")[["x", "pass_rate"]].mean()
            np.testing.assert_allclose(line.get_xdata(), means["x"])
            np.testing.assert_allclose(line.get_ydata(), means["pass_rate"])


def test_bars_stack_roles_and_outline_the_prediction() -> None:
    ax = blank(2).add_subplot()
    memory = memory_by_role(results())
    memory = memory[memory["phase"] == "total"].assign(predicted_mb=lambda frame: 1.5 * frame["tracked_mb"])
    costs.stack(ax, ["ppo", "grpo"], costs.roles(memory), costs.predictions(memory))
    filled = [bar for bar in ax.patches if bar.get_fill() and bar.get_width() > 0]
    assert [bar.get_width() for bar in filled] == [0.4, 2.0] * 2
    assert [bar.get_x() for bar in filled] == [0.0, 0.4] * 2
    assert [bar.get_width() for bar in ax.patches if not bar.get_fill()] == pytest.approx([3.6, 3.6])
    assert [text.get_text() for text in ax.texts] == ["2.40", "2.40"]
    assert ax.get_xlim()[1] > 3.6
    empty = costs.stack(blank(2).add_subplot(), ["ppo"], {})
    assert [text.get_text() for text in empty.texts] == ["not measured"]


def test_the_critics_part_of_the_operations_is_hatched_at_the_phases_end() -> None:
    rows = [("ppo", "value", 3.0, 3.0), ("ppo", "forward", 4.0, 1.0), ("grpo", "forward", 3.0, 0.0)]
    flops = pd.DataFrame(rows, columns=["arm", "phase", "mflops", "critic_mflops"])
    segments = costs.flop_segments(flops)
    assert [(width, "hatch" in style) for width, style in segments["ppo"] if width] == [
        (3.0, True),
        (3.0, False),
        (1.0, True),
    ]
    assert [(width, "hatch" in style) for width, style in segments["grpo"] if width] == [(3.0, False)]


def test_a_steps_noise_is_a_ratio_of_sums() -> None:
    steps = pd.DataFrame({"gradient_signal": [2.0, -1.0, None], "gradient_trace": [8.0, 4.0, None]})
    assert step_noise_scale(steps) == 12.0
    assert np.isnan(step_noise_scale(steps[1:]))
    assert np.isnan(step_noise_scale(steps[2:]))
    assert np.isnan(step_noise_scale(pd.DataFrame({"update": [1]})))

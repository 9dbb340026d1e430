"""The figure of when the critic is the baseline, from updates written by hand."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from handmade import made
from ppo_vs_grpo.benchmarks.analysis.report.contents import drawings
from ppo_vs_grpo.benchmarks.analysis.report.figures.gate import EXPLAINED, GATE, gate_figure, tasks_gated

BY_CRITIC = {1: [0, 0, 1, 1], 2: [0, 1, 1, 1]}
"""By seed and update."""


def test_it_shows_the_explained_variance_and_the_share_of_updates_whose_baseline_was_the_critic() -> None:
    results = made({arm: {task: [(0.2, 0.3)] * 2 for task in ("a", "b")} for arm in ("evpo", "grpo")})
    assert tasks_gated(results) == []
    assert "gate" not in drawings(results)
    rows = [
        {"arm": arm, "task": task, "seed": seed, "key": f"{arm}{task}{seed}", "completions": 10 * update}
        | ({EXPLAINED: gate - 0.5, GATE: gate} if (arm, task) == ("evpo", "b") else {EXPLAINED: None, GATE: None})
        for arm in ("evpo", "grpo")
        for task in ("a", "b")
        for seed, gates in BY_CRITIC.items()
        for update, gate in enumerate(gates, start=1)
    ]
    results = replace(results, metrics=pd.DataFrame(rows))
    assert tasks_gated(results) == ["b"]
    assert drawings(results)["gate"] is gate_figure
    explained, gate = gate_figure(results).axes
    assert gate.lines[0].get_ydata() == pytest.approx([0, 0.5, 1, 1])
    assert gate.lines[0].get_xdata() == pytest.approx([10, 20, 30, 40])
    assert explained.lines[0].get_ydata() == pytest.approx([-0.5, 0, 0.5, 0.5])
    assert len(gate.lines) == 1

"""What all figures share: a grid of panels."""

from __future__ import annotations

from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas


def test_a_grid_without_rows_has_its_title_alone() -> None:
    with canvas.grid([], "Nothing here", caption="report 01234567") as (figure, axes):
        assert axes == []
    assert [text.get_text() for text in figure.texts] == ["Nothing here", "report 01234567"]

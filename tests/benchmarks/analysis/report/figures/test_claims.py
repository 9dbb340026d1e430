"""The figure of the claims' dials: what each panel shows, and what it does not."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from claimed import claim, claiming, scored
from drawn import drawn_texts
from handmade import OTHER_WAVE, WAVE
from ppo_vs_grpo.benchmarks.analysis.report.figures.canvas import WIDTH_IN, grid
from ppo_vs_grpo.benchmarks.analysis.report.figures.claims import HOLDS, dial, dial_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.files import save


def cells(*arms: str, task: str = "a") -> dict[str, Any]:
    return {"arms": list(arms), "tasks": [task]}


def drawn(**claims: Any) -> Figure:
    """Of arms whose final pass rates are 0.5, 0.6 and 0.7 with waves; `gone` has no run."""
    finals = {name: {"a": level + 0.02 * wave} for name, level, wave in (("x", 0.5, WAVE), ("z", 0.7, OTHER_WAVE))}
    finals["y"] = {"a": 0.6 + 0.04 * OTHER_WAVE}
    return dial_figure(claiming(scored({**finals, "gone": {"a": [None] * 8}}), claims), "suite · report 01234567")


def score(*points: str, side: str = "above", **more: Any) -> dict[str, Any]:
    dial = {"setting": "how much", "points": {f"at {arm}": cells(arm) for arm in points}}
    return claim("final_score", ["x"], side=side, dial=dial, than=0.62, **more)


def shaded(ax: Axes) -> list[tuple[float, float]]:
    """Lower and upper ends of what is shaded."""
    spans = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    colour = tuple(int(HOLDS[i : i + 2], 16) / 255 for i in (1, 3, 5))
    assert all(span.get_facecolor()[:3] == pytest.approx(colour) for span in spans)
    return [(span.get_y(), span.get_y() + span.get_height()) for span in spans]


def test_a_panel_a_dial_with_its_points_intervals_and_line() -> None:
    figure = drawn(S1=score("x", "y", "z"), S2=claim("final_score", ["x"]), S3=score("z", "x", side="below"))
    assert figure.get_size_inches()[0] == WIDTH_IN
    first, second = figure.axes
    assert first.get_title(loc="left").replace("\n", " ") == "S1: final held-out pass rate, x"
    assert second.get_title(loc="left").startswith("S3: ")
    assert first.get_xlabel() == "how much"
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["at x", "at y", "at z"]
    means, points, *_ = first.lines
    for line in (means, points):
        assert np.asarray(line.get_ydata(), float) == pytest.approx([0.5, 0.6, 0.7])
    (bars,) = first.collections
    half = 2.364624251592785 * np.array([0.02, 0.04, 0.02]) * (5 / 7 / 8) ** 0.5
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])  # type: ignore[attr-defined]
    assert ends == pytest.approx(np.array([0.5, 0.6, 0.7])[:, None] + half[:, None] * [-1, 1])
    assert [line.get_ydata() for line in first.lines if line.get_linestyle() == "--"] == [[0.62, 0.62]]
    assert shaded(first) == [pytest.approx((0.62, first.get_ylim()[1]))]
    assert shaded(second) == [pytest.approx((second.get_ylim()[0], 0.62))]
    assert [text.get_text() for text in figure.texts] == ["handmade: claims by setting", "suite · report 01234567"]


@pytest.mark.parametrize("than", [-5.0, 5.0])
def test_the_line_is_inside_though_every_point_is_far_from_it(than: float) -> None:
    (ax,) = drawn(S1={**score("x", "y"), "than": than}).axes
    low, high = ax.get_ylim()
    assert low < min(than, 0.5)
    assert high > max(than, 0.6)


def test_a_point_without_a_value_is_left_out_said_and_not_bridged() -> None:
    (ax,) = drawn(S1=score("x", "gone", "z")).axes
    (note,) = ax.texts
    assert (note.get_text(), note.xy[0]) == ("none", 1)  # type: ignore[attr-defined]
    means, points, *_ = ax.lines
    assert np.isnan(np.asarray(means.get_ydata(), float)).tolist() == [False, True, False]
    assert np.asarray(points.get_xdata()).tolist() == [0, 2]


def test_ratios_have_a_logarithmic_axis_with_the_claims_side() -> None:
    dial = {"setting": "arm", "points": {"y": cells("x", "y"), "z": cells("x", "z")}}
    (ax,) = drawn(S=claim("seed_spread", ["x", "y"], side="below", than=1.0, margin=1.25, dial=dial)).axes
    assert ax.get_yscale() == "log"
    assert np.asarray(ax.lines[0].get_ydata(), float) == pytest.approx([2.0, 1.0])
    assert shaded(ax) == [pytest.approx((ax.get_ylim()[0], 1.0))]
    low, high = ax.get_ylim()
    ends = np.concatenate([segment[:, 1] for segment in ax.collections[0].get_segments()])  # type: ignore[attr-defined]
    assert low < ends.min()
    assert ends.max() < high
    assert ax.get_title(loc="left").replace("\n", " ") == "S: seed spread of the final pass rate, y over x"


@pytest.mark.parametrize(("low", "high"), [(0.7, 1.3), (0.3, 1.4), (0.06, 11), (0.0044, 100), (1e-6, 1e5)])
def test_the_numbers_at_an_axis_of_ratios_do_not_touch(low: float, high: float) -> None:
    turned = {"setting": "arm", "points": {"y": cells("x", "y"), "z": cells("x", "z")}}
    given = claim("seed_spread", ["x", "y"], side="below", than=1.0, margin=1.25, dial=turned)
    with grid([(2.0, 1)]) as (figure, ((ax,),)):
        dial(pd.DataFrame({"point": ["y", "z"], "estimate": 1.0, "low": [low, 0.9], "high": [high, 1.1]}), given, ax)
    inside = [text for text in drawn_texts(figure) if re.fullmatch(r"[0-9.e+-]+", text.get_text())]
    boxes = sorted((label.get_window_extent() for label in inside), key=lambda box: box.y0)
    assert len(boxes) >= 2
    assert all(below.y1 < above.y0 for below, above in itertools.pairwise(boxes))


def test_a_dial_of_one_arm_has_no_side_of_a_claim_of_two() -> None:
    dial = {"setting": "arm", "points": {"x": cells("x"), "y": cells("y")}}
    (ax,) = drawn(S=claim("final_score", ["x", "y"], dial=dial)).axes
    assert shaded(ax) == []
    assert not [line for line in ax.lines if line.get_linestyle() == "--"]
    assert ax.get_title(loc="left").replace("\n", " ") == "S: final held-out pass rate, one arm"
    assert ax.get_ylim()[0] > 0.4  # nothing draws it to 0, the claim's line


def test_dials_without_a_value_and_suites_without_a_dial_are_drawn(tmp_path: Path) -> None:
    dial = {"setting": "arm", "points": {"y": cells("x", "gone"), "z": cells("gone", "z")}}
    nothing = drawn(S=claim("seed_spread", ["x", "y"], side="below", than=1.0, margin=1.25, dial=dial))
    save(nothing, tmp_path / "nothing.svg")
    assert len(nothing.axes[0].texts) == 2
    none = drawn(S=claim("final_score", ["x"]))
    save(none, tmp_path / "none.svg")
    assert none.axes == []


def test_titles_and_panels_stay_inside_the_figure() -> None:
    longest = {f"S{i}-critic": claim("critic_excess_error", ["ppo-critic-model"]) for i in range(3)}
    dial = {"setting": "a setting of some length (characters)", "points": {"a": cells("x"), "b": cells("y")}}
    figure = drawn(**{name: {**one, "dial": dial} for name, one in longest.items()})
    figure.canvas.draw()
    width, height = figure.bbox.width, figure.bbox.height
    for ax in figure.axes:
        box = ax.get_tightbbox()
        assert box is not None
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height

"""The exact variances: the shipped file is what the code makes, every shortcut is the long sum, the figure draws it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.linalg import hadamard
from torch import Tensor

from exact import EXACT, WORLD, Moments, group_moments
from ppo_vs_grpo.algorithms.shared import advantages as adv
from ppo_vs_grpo.benchmarks.analysis.report.figures import canvas, files
from ppo_vs_grpo.benchmarks.analysis.report.figures import theory as theoryfigure
from ppo_vs_grpo.benchmarks.theory import variance
from ppo_vs_grpo.benchmarks.theory.enumeration import PROMPTS

TWO_D = torch.tensor([[[1.0, 0.0], [3.0, 0.0]], [[0.0, 2.0], [0.0, 6.0]]], dtype=torch.float64)


def gae(values_BT: Tensor, lam: float) -> Moments:
    rewards_BT = adv.terminal(WORLD.rewards_B, WORLD.mask_BT)
    advantages_BT, _ = adv.gae(rewards_BT, values_BT, WORLD.mask_BT, 1.0, lam)
    return group_moments(WORLD, 1, lambda rewards_N, group_N, row_N: advantages_BT[row_N])


def bias(moments: Moments) -> float:
    return float((moments.mean_D - WORLD.gradient_D()).square().sum())


def test_the_file_is_what_the_code_makes() -> None:
    made, shipped = variance.variance_table(), theoryfigure.read()
    labels, numbers = ["panel", "baseline", "x", "world"], ["within", "between", "bias"]
    pd.testing.assert_frame_equal(shipped[labels], made[labels])
    np.testing.assert_allclose(shipped[numbers], made[numbers], rtol=0, atol=1e-9)
    assert variance.FILE.stat().st_size < 60_000


def test_parts_by_hand() -> None:
    """Prompt means (2, 0) and (0, 3), variances 1 and 3; the mean is (1, 1.5)."""
    weight_PK = torch.tensor([[0.5, 0.5], [0.75, 0.25]], dtype=torch.float64)
    target_D = torch.tensor([1.0, 1.0], dtype=torch.float64)
    assert variance.parts(weight_PK, TWO_D, target_D).tolist() == [2.0, 3.25, 0.25]
    assert variance.parts(weight_PK, torch.stack([TWO_D, 2 * TWO_D]), target_D).tolist()[1] == [8.0, 13.0, 5.0]


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_a_critics_variance_and_bias_are_the_enumerations(lam: float) -> None:
    values_BT = WORLD.values_BT()
    prompt_BT = torch.where(WORLD.mask_BT, values_BT[:, :1], 0.0)
    found = variance.by_critic(WORLD, lam)
    for name, known_BT in {"none": 0 * values_BT, "value_prompt": prompt_BT, "value": values_BT}.items():
        moments = gae(known_BT, lam)
        assert float(found[name][:2].sum()) == pytest.approx(moments.variance, abs=EXACT), name
        assert float(found[name][2]) == pytest.approx(bias(moments), abs=EXACT), name


def test_there_are_seven_prefixes_a_prompt_and_each_position_has_one() -> None:
    prefixes_KBT = variance.prefixes_KBT(WORLD)
    assert len(prefixes_KBT) == PROMPTS * (1 + 2 + 4)
    assert torch.equal(prefixes_KBT.sum(0), WORLD.mask_BT.double())
    weight_B = WORLD.probability_B
    for here_BT in prefixes_KBT:  # V is one number on a prefix
        seen = WORLD.values_BT()[here_BT.bool()]
        assert float(seen.max() - seen.min()) < EXACT
        assert float((here_BT.sum(1) * weight_B).sum()) > 0


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_errors_of_v_are_a_mean_over_errors(lam: float) -> None:
    """Sixteen patterns of signs, mean 0 and uncorrelated over prefixes: second moments are those of any such error."""
    reward_sd = (sum(variance_of_reward(p) for p in range(PROMPTS)) / PROMPTS) ** 0.5
    prefixes_KBT = variance.prefixes_KBT(WORLD)
    signs_SK = torch.tensor(hadamard(16)[:, 1 : 1 + len(prefixes_KBT)], dtype=torch.float64)
    for name, share in {"value_error_half": 0.5, "value_error_one": 1.0}.items():
        errors_SBT = share * reward_sd * torch.einsum("sk,kbt->sbt", signs_SK, prefixes_KBT)
        seen = [gae(WORLD.values_BT() + error_BT, lam) for error_BT in errors_SBT]
        found = variance.by_critic(WORLD, lam)[name]
        assert float(found[:2].sum()) == pytest.approx(np.mean([m.variance for m in seen]), abs=EXACT)
        assert float(found[2]) == pytest.approx(np.mean([bias(m) for m in seen]), abs=EXACT)


def variance_of_reward(prompt: int) -> float:
    mine_B = WORLD.prompt_B == prompt
    weight_R, reward_R = WORLD.probability_B[mine_B], WORLD.rewards_B[mine_B]
    return float((weight_R * reward_R**2).sum() - (weight_R * reward_R).sum() ** 2)


@pytest.mark.parametrize("size", [2, 3])
def test_leave_one_out_is_the_sum_over_all_groups(size: int) -> None:
    moments = group_moments(WORLD, size, lambda r, g, row: adv.leave_one_out(r, g))
    oneself = group_moments(WORLD, size, lambda r, g, row: adv.group_centered(r, g) / (1 - 1 / size))
    found = variance.leave_one_out(WORLD, size)
    for known in (moments, oneself):
        assert float(found[:2].sum()) == pytest.approx(size * known.variance, abs=EXACT)
    assert float(found[2]) == pytest.approx(0, abs=EXACT)


def test_in_large_groups_the_mean_of_the_others_is_as_good_as_the_true_v_of_the_prompt() -> None:
    known = variance.by_critic(WORLD, 1.0)["value_prompt"]
    sizes = [2, 8, 64, 10**6]
    within = [float(variance.leave_one_out(WORLD, size)[0]) for size in sizes]
    assert within == sorted(within, reverse=True)
    assert within[-1] == pytest.approx(float(known[0]), rel=1e-5)
    between = [float(variance.leave_one_out(WORLD, size)[1]) for size in sizes]
    assert between == pytest.approx([size * float(known[1]) for size in sizes])


@pytest.mark.parametrize("size", [2, 3])
def test_the_scaled_advantage_is_the_sum_over_all_groups(size: int) -> None:
    known = group_moments(WORLD, size, lambda r, g, row: adv.group_relative(r, g))
    gradient_D, found = WORLD.gradient_D(), variance.group_relative(WORLD, size)
    ratio = float(gradient_D.square().sum() / known.mean_D.square().sum())
    cosine = float(known.mean_D @ gradient_D / (known.mean_D.norm() * gradient_D.norm()))
    assert float(found[:2].sum()) == pytest.approx(size * ratio * known.variance, abs=EXACT)
    assert float(found[2] / gradient_D.square().sum()) == pytest.approx(2 - 2 * cosine, abs=EXACT)


@pytest.mark.parametrize("name", ["none", "value_prompt", "value", "value_error_half", "value_error_one"])
def test_completions_of_a_group_that_share_no_baseline_share_only_their_prompt(name: str) -> None:
    frame = theoryfigure.read().query("baseline == @name")
    alone = frame.query("panel == 'lambda' and x == 1")
    for size in variance.SIZES:
        group = frame.query("panel == 'size' and x == @size")
        np.testing.assert_allclose(group["within"], alone["within"], atol=1e-8)
        np.testing.assert_allclose(group["between"], size * alone["between"], atol=1e-7)


def test_the_units_of_the_file() -> None:
    """No baseline at lambda 1 is 1; lambda 1 and the true V are unbiased; the rest as enumerated."""
    frame = theoryfigure.read()
    frame["total"] = frame["within"] + frame["between"]
    np.testing.assert_allclose(
        frame.query("panel == 'lambda' and baseline == 'none' and x == 1")["total"], 1, atol=2e-9
    )
    assert frame.query("panel == 'lambda' and (baseline == 'value' or x == 1)")["bias"].max() == 0
    alone, pair = (group_moments(WORLD, size, lambda r, g, row: r).variance for size in (1, 2))
    (found,) = frame.query("panel == 'size' and baseline == 'none' and x == 2 and world == 3")["total"]
    assert found == pytest.approx(2 * pair / alone, abs=2e-9)
    wrong = gae(0 * WORLD.values_BT(), 0.0)
    (found,) = frame.query("panel == 'lambda' and baseline == 'none' and x == 0 and world == 3")["bias"]
    assert found == pytest.approx(bias(wrong) / float(WORLD.gradient_D().square().sum()), abs=2e-9)


@pytest.fixture(scope="module")
def figure() -> Figure:
    return theoryfigure.theory_figure("report 0badcafe")


def bold(ax: Axes, colour: str, style: str) -> np.ndarray:
    (line,) = [
        line for line in ax.lines
        if line.get_linewidth() > 1 and line.get_color() == colour and line.get_linestyle() == style
    ]  # fmt: skip
    return np.asarray(line.get_ydata(), dtype=float)


def test_the_figure_draws_means_over_worlds(figure: Figure) -> None:
    mean = theoryfigure.read().groupby(["panel", "baseline", "x"])[["within", "between", "bias"]].mean()
    total = mean["within"] + mean["between"]
    by_lambda, within, bias_ax, total_ax = figure.axes
    np.testing.assert_allclose(bold(by_lambda, "#0072B2", "-"), total["lambda", "value"])
    np.testing.assert_allclose(bold(bias_ax, "#009E73", "-"), mean.loc[("lambda", "value_prompt"), "bias"].iloc[:-1])
    np.testing.assert_allclose(bold(within, "#D55E00", "-"), mean.loc[("size", "leave_one_out"), "within"])
    np.testing.assert_allclose(bold(total_ax, "#D55E00", "None"), total["size", "group_relative"])
    thin = [len(lines.get_paths()) for lines in within.collections]
    assert thin == [len(variance.WORLDS)] * 6


def test_the_figure_names_every_baseline_and_nothing_is_outside_it(figure: Figure) -> None:
    assert set(theoryfigure.BASELINES) == set(theoryfigure.read()["baseline"])
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [label for label, _ in theoryfigure.BASELINES.values()]
    assert "report 0badcafe" in [text.get_text() for text in figure.texts]
    assert figure.get_figwidth() == canvas.WIDTH_IN
    everything = figure.get_tightbbox()  # in inches
    assert min(everything.x0, everything.y0) >= 0
    assert everything.x1 <= figure.get_figwidth()
    assert everything.y1 <= figure.get_figheight()
    boxes = [legend.get_window_extent(), *filter(None, (ax.get_tightbbox() for ax in figure.axes))]
    assert len(boxes) == 5
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_a_rebuild_is_the_same_bytes_and_needs_no_torch(figure: Figure, tmp_path: Path) -> None:
    for suffix in (".svg", ".png"):
        files.save(figure, tmp_path / f"here{suffix}")
    code = (
        "import sys; from pathlib import Path;"
        "from ppo_vs_grpo.benchmarks.analysis.report.figures import files, theory;"
        "figure = theory.theory_figure('report 0badcafe');"
        f"[files.save(figure, Path({str(tmp_path)!r}) / f'there{{suffix}}') for suffix in ('.svg', '.png')];"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, check=True)
    for suffix in (".svg", ".png"):
        assert (tmp_path / f"here{suffix}").read_bytes() == (tmp_path / f"there{suffix}").read_bytes()

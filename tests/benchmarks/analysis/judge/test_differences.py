"""The difference of two arms in full, by hand."""

from __future__ import annotations

import math

import pytest

from handmade import WAVE, made
from ppo_vs_grpo.benchmarks.analysis.judge.differences import COLUMNS, difference_table

SEEDS = [0.1 * seed for seed in range(8)]


def curves(ahead: list[float]) -> dict[str, dict[str, list[list[float]]]]:
    """`grpo` is ahead of `ppo` by 0.1 and a wave on `a`, and by `ahead` on `b`."""
    ppo = [[0.0, base] for base in SEEDS]
    on_a = [[0.0, base + 0.1 + 0.02 * float(wave)] for base, wave in zip(SEEDS, WAVE, strict=True)]
    on_b = [[0.0, base + more] for base, more in zip(SEEDS, ahead, strict=True)]
    return {"ppo": {"a": ppo, "b": ppo}, "grpo": {"a": on_a, "b": on_b}}


def test_a_row_has_every_view_of_the_difference() -> None:
    table = difference_table(made(curves([0.2] * 8))).set_index("task")
    row, sd = table.loc["a"], 0.02 * math.sqrt(5 / 7)
    half = 2.364624251592785 * sd / math.sqrt(8)  # t of 7 degrees of freedom at 97.5%
    assert row[["difference", "low", "high"]].tolist() == pytest.approx([0.1, 0.1 - half, 0.1 + half])
    assert row["n"] == 8
    assert row["sign_flip_p"] == row["smallest_p"] == 2**-7  # all eight are ahead: as extreme as signs can be
    assert row["share_higher"] == 1
    assert row["share_low"] == pytest.approx(0.025 ** (1 / 8))  # 8 of 8: p^8 = 0.025
    assert row["standardised"] == pytest.approx(0.1 / sd)
    # Of the middle four of eight seeds, 0.2 to 0.5, the waves add up to nothing.
    assert row["iqm_difference"] == pytest.approx(0.1)


def test_over_all_tasks_are_the_means_of_tasks_and_seeds() -> None:
    ahead = [-0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    row = difference_table(made(curves(ahead))).set_index("task").loc["all tasks"]
    assert row["difference"] == pytest.approx((0.1 + 0.05) / 2)
    means = [(0.1 + 0.02 * float(wave) + more) / 2 for wave, more in zip(WAVE, ahead, strict=True)]
    assert row["share_higher"] == sum(mean > 0 for mean in means) / 8 == 7 / 8
    assert row["n"] == 8
    assert row["smallest_p"] == 2**-7 < row["sign_flip_p"]
    scores = {arm: sorted(base + more for base, more in runs) for arm, runs in pooled(ahead).items()}
    middle = {arm: sum(values[4:12]) / 8 for arm, values in scores.items()}  # 16 runs without four at either end
    assert row["iqm_difference"] == pytest.approx(middle["grpo"] - middle["ppo"])


def pooled(ahead: list[float]) -> dict[str, list[tuple[float, float]]]:
    on_a = [0.1 + 0.02 * float(wave) for wave in WAVE]
    pairs = [(base, more) for column in (on_a, ahead) for base, more in zip(SEEDS, column, strict=True)]
    return {"ppo": [(base, 0.0) for base, _ in pairs], "grpo": pairs}


def test_what_little_data_cannot_tell_is_nothing() -> None:
    one = difference_table(made({"ppo": {"a": [[0.1, 0.5]]}, "grpo": {"a": [[0.1, 0.6]]}})).iloc[0]
    assert (one["n"], one["difference"], one["smallest_p"]) == (1, pytest.approx(0.1), 1)
    assert one[["low", "high", "standardised"]].isna().all()
    none = difference_table(made({"ppo": {"a": [[0.1, 0.5], None]}, "grpo": {"a": [None, [0.1, 0.6]]}})).iloc[0]
    assert none["n"] == 0
    assert none[["difference", "sign_flip_p", "share_higher", "standardised"]].isna().all()
    alone = difference_table(made({"ppo": {"a": [[0.1, 0.5]]}}))
    assert (list(alone), len(alone)) == (list(COLUMNS), 0)

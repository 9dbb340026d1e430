"""Residual variance and break-even group size where their closed forms are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ppo_vs_grpo.benchmarks.probes.baselines import baseline_quality, break_even_group_size
from ppo_vs_grpo.benchmarks.probes.estimates import Floats
from ppo_vs_grpo.benchmarks.probes.prefixes import Prefixes, States
from probe_oracle import by_name, columns, near, prefixes_of, spread_of, value

GROUP = 8
WITHIN, BETWEEN = 1 / 6, 1 / 12
"""Of 0/1 rewards whose pass rates are uniform: E v(1 - v) and Var v; their sum is 1/4."""


def coin_flips(prompts: int, k: int, error: float = 0.0, seed: int = 0) -> tuple[Floats, States, States]:
    """Rewards 0/1 of prompts with uniform pass rates, and states: the prompt; and it and one after a step.

    The step moves the pass rate v up or down by half of min(v, 1 - v). V is exact but for an error at every state.
    """
    rng = np.random.default_rng(seed)
    rate_P = rng.random(prompts)
    step_PG = rng.choice([-0.5, 0.5], (prompts, GROUP)) * np.minimum(rate_P, 1 - rate_P)[:, None]
    true_PG = rate_P[:, None] + step_PG
    rewards_PG = (rng.random((prompts, GROUP)) < true_PG).astype(float)

    def prefixes(true_N: Floats, prompt_N: np.ndarray) -> Prefixes:
        mean_N = rng.binomial(k, true_N) / k
        variance_N = mean_N * (1 - mean_N) * k / (k - 1)
        value_N = true_N + rng.normal(0, error, len(true_N))
        return Prefixes(prompt_N, 0 * true_N, mean_N, variance_N, np.full(len(true_N), k), value_N)

    rows_B = np.arange(prompts * GROUP)
    at_prompts = prefixes(rate_P, np.arange(prompts)).at(rows_B // GROUP)
    after = prefixes(true_PG.ravel(), rows_B // GROUP)
    both = Prefixes(*(np.concatenate(pair) for pair in zip(columns(at_prompts), columns(after), strict=True)))
    return rewards_PG, States(rows_B, at_prompts), States(np.tile(rows_B, 2), both)


def test_every_baseline_leaves_the_variance_that_its_closed_form_says() -> None:
    error, whole = 0.2, WITHIN + BETWEEN
    made = by_name(baseline_quality(*coin_flips(4_000, 4, error)))
    inside = (WITHIN + (WITHIN - 1 / 48)) / 2  # half of the states are after the step: E step^2 = 1/48
    closed = {
        "none": 1.0,
        "batch_mean": 1.0,
        "group_mean": (1 - 1 / GROUP) * WITHIN / whole,
        "leave_one_out": (1 + 1 / (GROUP - 1)) * WITHIN / whole,
        "value_prompt": (WITHIN + error**2) / whole,
        "monte_carlo_prompt": WITHIN / whole,
        "value": (inside + error**2) / whole,
        "monte_carlo": inside / whole,
    }
    assert set(made) == set(closed)
    for name, expected in closed.items():
        assert made[name].plain.value == pytest.approx(expected, rel=0.03), name
        if name not in ("none", "batch_mean"):  # those two have no error at all
            assert near(made[name].plain, expected), name
            assert not near(made[name].plain, expected * 1.15), name
            assert made[name].square.value == pytest.approx(value(made[name].comparable), rel=1e-3), name
    assert value(made["none"].plain) == pytest.approx(1, rel=1e-12)
    assert near(made["none"].square, (1 / 4 + whole) / whole)
    assert value(made["batch_mean"].plain) == pytest.approx(1, rel=1e-9)
    batch = 4_000 * GROUP
    assert value(made["batch_mean"].comparable) == pytest.approx((batch / (batch - 1)) ** 2, rel=1e-9)


def test_the_group_mean_is_comparable_only_as_the_leave_one_out_mean() -> None:
    made = by_name(baseline_quality(coin_flips(50, 4)[0]))
    own, others = made["group_mean"], made["leave_one_out"]
    assert value(own.comparable) == pytest.approx(value(others.plain), rel=1e-12)
    assert value(own.plain) == pytest.approx(value(others.plain) * (1 - 1 / GROUP) ** 2, rel=1e-12)


def test_an_error_is_undefined_where_one_prompt_holds_all_the_variance() -> None:
    rewards_PG = np.full((9, 7), 0.1)
    rewards_PG[0] = np.linspace(0.05, 0.93, 7)
    for made in baseline_quality(rewards_PG):
        assert made.plain.value is not None
        assert made.plain.se is None  # without that prompt there is nothing, rounding aside


def test_a_long_completion_weighs_what_a_short_one_does() -> None:
    seen = prefixes_of([0.5, 0.7, 0.5, 0.5, 1.0], [0.0] * 5)
    along = States(np.array([0, 0, 1, 2, 3]), seen)
    made = by_name(baseline_quality(np.array([[1.0, 0.0], [1.0, 1.0]]), None, along))["value"]
    # Var(R) = 3/4 - (9 - 5) / (16 - 8) = 1/4; residuals .5 and .3 share the first row.
    assert value(made.square) == pytest.approx(((0.25 + 0.09) / 2 + 0.25 + 0.25 + 0) / 4 / 0.25)
    # Means by prompt: (.4 - .5) and (.5 + 0): (.4)^2 less .01 and .25, over 8 pairs.
    assert value(made.plain) == pytest.approx((0.67 / 4 - (0.16 - 0.26) / 8) / 0.25)


def test_all_baselines_see_the_same_rows() -> None:
    rewards_PG, at_prompt, along = coin_flips(40, 4, 0.1)
    holes_PG = rewards_PG.copy()
    holes_PG[0, 0] = np.nan
    holes_PG[1, 1:] = np.nan  # the one row left has no group
    kept = (np.arange(holes_PG.size) != 0) & (np.arange(holes_PG.size) // GROUP != 1)
    lost = along.row_M != 17  # a row without a state
    fewer = States(along.row_M[lost], along.prefixes_M.at(lost))
    made = by_name(baseline_quality(holes_PG, at_prompt, fewer))
    rewards_B = rewards_PG.ravel()[kept & (np.arange(holes_PG.size) != 17)]
    for name in ("none", "value_prompt", "value", "monte_carlo"):
        assert made[name].plain.se is not None
    whole = spread_of(np.arange(320)[kept & (np.arange(320) != 17)] // GROUP, rewards_B)
    assert whole is not None
    assert value(made["none"].square) == pytest.approx((rewards_B**2).mean() / whole)


def at_prompts(states: States) -> Prefixes:
    """The states of the first row of every group: the prompts."""
    return states.prefixes_M.at(states.row_M % GROUP == 0)


def test_the_break_even_group_size_is_recovered() -> None:
    error = 0.14
    rewards_PG, at_prompt, _ = coin_flips(3_000, 8, error)
    made = break_even_group_size(rewards_PG, at_prompts(at_prompt))
    expected = 1 + WITHIN / error**2
    assert made.group_size == pytest.approx(expected, rel=0.1)
    assert made.low is not None
    assert made.high is not None
    assert made.low < expected < made.high < 1.2 * expected
    assert near(made.within_variance, WITHIN)
    assert near(made.value_mse, error**2)
    assert made.note == ""


def test_the_interval_of_the_break_even_group_size_covers() -> None:
    covered = 0
    for seed in range(200):
        rewards_PG, at_prompt, _ = coin_flips(40, 8, 0.2, seed)
        made = break_even_group_size(rewards_PG, at_prompts(at_prompt))
        assert made.low is not None
        covered += made.low <= 1 + WITHIN / 0.04 <= (made.high or np.inf)
    assert 0.9 <= covered / 200 <= 0.99


def test_break_even_by_hand_and_at_its_edges() -> None:
    rewards_PG = np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, np.nan, 0.0], [0.0, np.nan, np.nan, np.nan]])
    made = break_even_group_size(rewards_PG, prefixes_of([0.5, 0.5, 9.0], [0.7, 0.3, 0.5]))
    assert made.group_size == pytest.approx(1 + 1 / 3 / 0.04)  # the third prompt has one reward
    terrible = break_even_group_size(rewards_PG, prefixes_of([5.0, 5.0, 5.0], [0.5, 0.5, 0.5]))
    assert terrible.group_size == 2
    perfect = break_even_group_size(rewards_PG, prefixes_of([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]))
    assert (perfect.group_size, perfect.low, perfect.high) == (None, None, None)
    assert "better than any group" in perfect.note
    noisy = replace(prefixes_of([0.5, 0.5, 0.5], [0.75, 0.5, 0.5]), variance_N=np.array([0.0, 0.32, 0.0]))
    unsure = break_even_group_size(rewards_PG, noisy)  # MSE_c = (0.0625 - 0.08) / 2
    assert unsure.group_size is None
    assert unsure.low is not None
    assert unsure.high is None
    flat = break_even_group_size(np.ones((2, 4)) * 0.1, prefixes_of([0.5, 0.5], [0.1, 0.1]))
    assert flat.group_size == 2
    assert "no reward varies" in flat.note
    agreed = break_even_group_size(np.ones((2, 4)) * 0.1, prefixes_of([0.1, 0.1], [0.1, 0.1]))
    assert agreed.group_size is None

"""Gradient noise of a training step, from the norms of its two halves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from copying import llama
from gaussians import MEAN_D, SIGNAL, TRACE, TRAIN, arm, certain, gaussian, gradients_of, prepared, units_of
from ppo_vs_grpo.algorithms.shared.networks.models import Models
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, micro_batches, micro_batches_by_half
from ppo_vs_grpo.algorithms.shared.update import learner, split_noise, update
from ppo_vs_grpo.benchmarks.probes import noise


def test_norms_of_parts_give_what_their_gradients_give() -> None:
    small_KD = gaussian(24, seed=0).view(6, 4, -1).mean(1)
    seen = split_noise(float(small_KD.square().sum(1).mean()), 4, float(small_KD.mean(0).square().sum()), 24)
    whole = noise.statistics(small_KD)
    assert seen["gradient_trace"] == pytest.approx(4 * certain(whole.trace), rel=1e-12)
    assert seen["gradient_signal"] == pytest.approx(certain(whole.signal), rel=1e-12)
    assert split_noise(1.5, 1, 1.0, 2) == {"gradient_signal": 0.5, "gradient_trace": 1.0}


def test_the_halves_of_many_steps_tell_a_gaussians_noise() -> None:
    """4,000 steps of 16 units, of which 6 are the first part: both means within three standard errors."""
    steps_SUD = gaussian(16 * 4000, seed=3).view(4000, 16, len(MEAN_D))
    small_S, big_S = (steps_SUD[:, :units].mean(1).square().sum(1).tolist() for units in (6, 16))
    seen = [split_noise(small, 6, big, 16) for small, big in zip(small_S, big_S, strict=True)]
    for name, truth in (("gradient_signal", SIGNAL), ("gradient_trace", TRACE)):
        values = np.array([one[name] for one in seen])
        error = 3 * values.std(ddof=1) / len(values) ** 0.5
        assert values.mean() == pytest.approx(truth, abs=error)
        assert error < 0.1 * truth


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_a_step_tells_the_noise_of_its_halves(name: str) -> None:
    """Two of five prompts against all five, whatever the order of the rows, before the gradient is clipped."""
    train = TRAIN.model_copy(update={"max_grad_norm": 1e-3, "micro_batch_tokens": 1})
    models, sequences, batch, group_B = prepared(arm(name))
    units_UD = gradients_of(units_of(group_B), arm(name), models, sequences, batch, train).double()
    policy = llama(0)
    learning = learner(Models(policy, None, None, None), arm(name), train)
    seen = update(learning, arm(name), sequences, batch, np.random.default_rng(7), False)
    squares = [float(units_UD[:units].mean(0).square().sum()) for units in (2, 5)]
    assert {key: seen[key] for key in ("gradient_signal", "gradient_trace")} == pytest.approx(
        split_noise(squares[0], 2, squares[1], 5), rel=1e-4
    )


def test_a_step_whose_halves_are_not_free_or_that_trains_the_critic_alone_tells_nothing() -> None:
    models, sequences, batch, _ = prepared(arm("ppo"))
    for budget, critic_only in ((10_000, False), (1, True)):
        train = TRAIN.model_copy(update={"micro_batch_tokens": budget})
        learning = learner(Models(llama(0), None, models.value_head, None), arm("ppo"), train)
        seen = update(learning, arm("ppo"), sequences, batch, np.random.default_rng(7), critic_only)
        assert seen["gradient_signal"] is None
        assert seen["gradient_trace"] is None


@pytest.mark.parametrize("packed", [False, True])
def test_the_halves_hold_every_row_once_and_share_no_prompt(packed: bool) -> None:
    group_B, tokens_B = torch.tensor([3, 1, 0, 3, 2, 1, 0, 2, 5]), torch.tensor([4, 9, 2, 5, 5, 3, 8, 1, 6])
    every = torch.arange(9)

    def sequences(group_B: Tensor) -> Sequences:
        return Sequences(torch.zeros(9, 9), torch.zeros_like(tokens_B), tokens_B, group_B, 9, packed)

    one, other = micro_batches_by_half(sequences(group_B), every, 12 if packed else 10)
    assert sorted(torch.cat(one).tolist()) == [1, 2, 5, 6]  # prompts 0 and 1 of 0, 1, 2, 3, 5
    assert sorted(torch.cat(other).tolist()) == [0, 3, 4, 7, 8]
    # One pass is enough; one prompt; as a whole fewer passes than the halves need.
    # Three: padded 9, 8 | 6, 5, 5 | 4, 3, 2, 1, packed 10 | 12, 6 | 9, 6; two for either half.
    for group, budget in ((group_B, 1000), (torch.zeros_like(group_B), 10), (group_B, 18)):
        alone, none = micro_batches_by_half(sequences(group), every, budget)
        assert none == []
        assert [a.tolist() for a in alone] == [a.tolist() for a in micro_batches(sequences(group), every, budget)]

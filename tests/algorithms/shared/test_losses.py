"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ppo_vs_grpo.algorithms.shared import losses
from ppo_vs_grpo.algorithms.shared.config import Clip
from ppo_vs_grpo.algorithms.shared.losses import clipped, k1, k3, sequence_mean, squared_value_error, token_mean
from ppo_vs_grpo.algorithms.shared.types import Denominators

MASK = torch.tensor([[True, True, True], [True, False, False]])
LOSS = torch.tensor([[1.0, 2.0, 6.0], [5.0, 77.0, 77.0]])


def test_the_clipped_surrogate_in_its_four_regions() -> None:
    # ratio 1.5 and 0.5 with advantages of both signs, clip 0.2 below and 0.3 above
    logp = torch.tensor([1.5, 1.5, 0.5, 0.5]).log()
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    loss = clipped(logp, advantages, Clip(low=0.2, high=0.3))
    torch.testing.assert_close(loss, torch.tensor([-1.3, 1.5, -0.5, 0.8]))


def test_a_clipped_token_has_no_gradient_and_an_unclipped_one_has_the_advantage() -> None:
    logp = torch.tensor([math.log(1.5), 0.0], requires_grad=True)
    clipped(logp, torch.tensor([2.0, 2.0]), Clip()).sum().backward()
    assert logp.grad is not None
    torch.testing.assert_close(logp.grad, torch.tensor([0.0, -2.0]))


def test_the_value_loss_takes_the_worse_of_plain_and_clipped() -> None:
    values, old, returns = torch.tensor([1.0, 0.1]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0])
    torch.testing.assert_close(squared_value_error(values, old, returns, 0.2), torch.tensor([0.5 * 0.64, 0.5 * 0.81]))
    torch.testing.assert_close(squared_value_error(values, old, returns, None), torch.tensor([0.0, 0.5 * 0.81]))


def test_the_clipped_value_may_fall_as_far_as_it_may_rise() -> None:
    # It fell by 0.5 from 1, of which 0.2 count: (0.8 - 0.3)^2 is worse than (0.5 - 0.3)^2.
    made = squared_value_error(torch.tensor([0.5, 0.9]), torch.tensor([1.0, 1.0]), torch.tensor([0.3, 0.3]), 0.2)
    torch.testing.assert_close(made, torch.tensor([0.5 * 0.25, 0.5 * 0.36]))


def test_a_row_without_tokens_weighs_nothing_and_breaks_nothing() -> None:
    mask = torch.tensor([[True, True, True], [False, False, False]])
    assert float(sequence_mean(LOSS, mask, Denominators(tokens=3, rows=2, max_tokens=3))) == pytest.approx(3 / 2)
    assert losses.mean_sequence_ratio(LOSS, torch.zeros(2, 3), mask)[:, 0].tolist() == [3.0, 0.0]


def test_the_divergence_estimates() -> None:
    logp, reference = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    torch.testing.assert_close(k1(logp, reference), torch.tensor([math.log(2)]))
    torch.testing.assert_close(k3(logp, reference), torch.tensor([0.5 - 1 + math.log(2)]))
    assert float(k3(logp, logp)) == 0


def test_token_mean_weighs_tokens_and_sequence_mean_weighs_completions() -> None:
    whole = Denominators(tokens=4, rows=2, max_tokens=3)
    assert float(token_mean(LOSS, MASK, whole)) == (1 + 2 + 6 + 5) / 4
    assert float(sequence_mean(LOSS, MASK, whole)) == (3 + 5) / 2


def test_parts_of_a_step_add_up_to_the_step() -> None:
    whole = Denominators(tokens=4, rows=2, max_tokens=3)
    for mean in (token_mean, sequence_mean):
        parts = sum(mean(LOSS[i : i + 1], MASK[i : i + 1], whole) for i in range(2))
        torch.testing.assert_close(parts, mean(LOSS, MASK, whole))


def test_a_dual_clip_bounds_the_loss_of_a_bad_token_only() -> None:
    ratio = torch.tensor([4.0, 2.0, 4.0, 0.5]).log()
    advantages = torch.tensor([-1.0, -1.0, 1.0, -1.0])
    loss = clipped(ratio, advantages, Clip(low=0.2, high=0.2, dual=3.0))
    torch.testing.assert_close(loss, torch.tensor([3.0, 2.0, -1.2, 0.8]))


def test_the_ratio_of_a_token_of_a_completion_and_its_mean() -> None:
    logp, old = torch.tensor([[0.1, 0.2, 0.6], [0.4, 9.0, 9.0]]), torch.tensor([[0.0, 0.1, 0.1], [0.1, 3.0, 3.0]])
    torch.testing.assert_close(losses.token_ratio(logp, old)[0], torch.tensor([0.1, 0.1, 0.5]))
    torch.testing.assert_close(losses.sequence_ratio(logp, old, MASK), torch.tensor([[0.7, 0.7, 0.7], [0.3, 0.3, 0.3]]))
    means = losses.mean_sequence_ratio(logp, old, MASK)
    torch.testing.assert_close(means[:, 0], torch.tensor([0.7 / 3, 0.3]))


def test_the_source_term_is_minus_log_likelihood_times_advantage() -> None:
    torch.testing.assert_close(
        losses.source(torch.tensor([-0.5, -2.0]), torch.tensor([2.0, -1.0])), torch.tensor([1.0, -2.0])
    )


def test_the_other_divergence_estimates() -> None:
    logp, old, reference = (torch.tensor([[math.log(x)]]) for x in (0.5, 0.4, 0.25))
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert float(losses.k3_ratio(logp, old, reference)) == pytest.approx(0.5 / 0.4 * (0.5 - 1 + math.log(2)))
    assert float(losses.forward_kl(logp, old, reference, mask)) == pytest.approx(0.25 / 0.4 * math.log(0.25 / 0.5))


def test_the_exact_divergence_by_hand() -> None:
    first, second = torch.tensor([[[0.5, 0.25, 0.25]]]).log(), torch.tensor([[[0.25, 0.25, 0.5]]]).log()
    expected = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert float(losses.exact_kl(first, second)) == pytest.approx(expected)


def test_the_sum_and_the_constant_denominator() -> None:
    step = Denominators(tokens=8, rows=4, max_tokens=10)
    assert float(losses.sequence_sum(LOSS, MASK, step)) == pytest.approx(14 / 4)
    assert float(losses.constant(LOSS, MASK, step)) == pytest.approx(14 / 40)

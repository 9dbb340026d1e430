"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math

import torch

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

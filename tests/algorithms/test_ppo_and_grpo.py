"""The two arms on a batch of two rows worked out by hand: what each takes from its configuration, and where."""

from __future__ import annotations

import math

import pytest
import torch

from copying import prompts
from ppo_vs_grpo.algorithms.grpo import GRPO
from ppo_vs_grpo.algorithms.ppo import PPO
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.types import (
    Batch,
    Context,
    Denominators,
    PolicyOutput,
    Rollouts,
    ScoredRollouts,
)

TRAIN = TrainConfig(beta=0.1)
MASK = torch.tensor([[True, True], [True, False]])
LOGP = torch.tensor([[-1.0, -2.0], [-0.5, 0.0]])
REFERENCE = torch.tensor([[-1.5, -1.0], [-1.5, 0.0]])
VALUES = torch.tensor([[0.2, 0.6], [0.5, 0.0]])
STEP = Denominators(tokens=3, rows=2, max_tokens=2)


def scored() -> ScoredRollouts:
    rollouts = Rollouts(prompts((3,)), torch.tensor([0, 0]), torch.zeros(2, 2).long(), MASK, LOGP, LOGP, MASK.any(1), 2)
    return ScoredRollouts(rollouts, torch.tensor([1.0, 0.0]), torch.tensor([True, False]), {})


def batch(advantages: torch.Tensor, returns: torch.Tensor | None) -> Batch:
    return Batch(MASK, LOGP, advantages, REFERENCE, VALUES if returns is not None else None, returns)


def test_ppo_puts_the_penalty_in_the_reward_and_the_critic_under_it() -> None:
    algorithm = PPO(PPO.Config(whiten=False, lam=0.5), TRAIN)
    made = algorithm.advantages(scored(), Context(REFERENCE, VALUES))
    # r = -0.1 * (0.5, -1) + (0, 1) = (-0.05, 1.1) and -0.1 * 1 = -0.1
    last = 1.1 - 0.6
    first = (-0.05 + 0.6 - 0.2) + 0.5 * last
    torch.testing.assert_close(made.advantages_BT, torch.tensor([[first, last], [-0.1 - 0.5, 0.0]]))
    torch.testing.assert_close(made.returns_BT, torch.tensor([[first + 0.2, 1.1], [-0.1, 0.0]]))


def test_ppo_may_give_the_critic_a_lambda_of_its_own() -> None:
    plain = PPO(PPO.Config(whiten=False, lam=0.5), TRAIN).advantages(scored(), Context(REFERENCE, VALUES))
    apart = PPO(PPO.Config(whiten=False, lam=0.5, value_lam=1.0), TRAIN).advantages(
        scored(), Context(REFERENCE, VALUES)
    )
    assert torch.equal(plain.advantages_BT, apart.advantages_BT)
    torch.testing.assert_close(apart.returns_BT, torch.tensor([[1.05, 1.1], [-0.1, 0.0]]))


def test_ppo_may_take_lambda_from_each_rows_length() -> None:
    config = PPO.Config(whiten=False, lam=0.9, lam_alpha=1.0, value_lam=1.0)
    made = PPO(config, TRAIN).advantages(scored(), Context(REFERENCE, VALUES))
    # Two tokens: lambda 1 - 1/2; one token: 0. As above otherwise, and the critic keeps its own.
    first = (-0.05 + 0.6 - 0.2) + 0.5 * 0.5
    torch.testing.assert_close(made.advantages_BT, torch.tensor([[first, 0.5], [-0.6, 0.0]]))
    torch.testing.assert_close(made.returns_BT, torch.tensor([[1.05, 1.1], [-0.1, 0.0]]))


def test_ppo_whitens_by_default() -> None:
    made = PPO(PPO.Config(), TRAIN).advantages(scored(), Context(REFERENCE, VALUES))
    kept = made.advantages_BT[MASK]
    torch.testing.assert_close(torch.stack([kept.mean(), kept.var()]), torch.tensor([0.0, 1.0]))


def test_ppo_averages_over_tokens_and_adds_the_value_error() -> None:
    algorithm = PPO(PPO.Config(value_coef=0.5, value_clip=None), TRAIN)
    advantages, returns = torch.tensor([[1.0, 2.0], [-3.0, 0.0]]), torch.tensor([[0.2, 1.6], [0.5, 0.0]])
    loss = algorithm.loss(batch(advantages, returns), PolicyOutput(LOGP, LOGP, VALUES), STEP)
    assert float(loss.policy) == pytest.approx(0.0)  # ratio 1: -(1 + 2 - 3) / 3, and no penalty here
    assert loss.value is not None
    assert float(loss.value) == pytest.approx(0.5 * 0.5 * 1.0 / 3)


def test_ppo_without_a_critic_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a critic"):
        PPO(PPO.Config(), TRAIN).advantages(scored(), Context(REFERENCE, None))


@pytest.mark.parametrize("ddof", [0, 1])
def test_grpo_compares_inside_the_group_and_says_the_same_on_every_token(ddof: int) -> None:
    made = GRPO(GRPO.Config(ddof=ddof), TRAIN).advantages(scored(), Context(REFERENCE, None))
    a = 0.5 / (math.sqrt(0.5 / (2 - ddof)) + 1e-4)
    torch.testing.assert_close(made.advantages_BT, torch.tensor([[a, a], [-a, 0.0]]))
    assert made.returns_BT is None


def test_grpo_averages_over_completions_and_puts_the_penalty_in_the_loss() -> None:
    advantages = torch.tensor([[1.0, 2.0], [-3.0, 0.0]])
    loss = GRPO(GRPO.Config(), TRAIN).loss(batch(advantages, None), PolicyOutput(LOGP, LOGP, None), STEP)
    k3 = [math.exp(-d) - 1 + d for d in (0.5, -1.0, 1.0)]
    first, second = -1.5 + 0.1 * (k3[0] + k3[1]) / 2, 3.0 + 0.1 * k3[2]
    assert float(loss.policy) == pytest.approx((first + second) / 2)
    assert loss.value is None

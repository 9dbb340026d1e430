"""The arms beside PPO and GRPO: what each takes from where, on a batch worked out by hand; and that each learns."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from copying import prompts
from ppo_vs_grpo.algorithms import ALGORITHMS, entry, find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.types import (
    Advantages,
    Batch,
    Context,
    Denominators,
    PolicyOutput,
    Rollouts,
    ScoredRollouts,
)
from ppo_vs_grpo.tasks.errors import UserError
from small_trainer import AnyLetter, trainer

MASK = torch.tensor([[True, True], [True, False]])
LOGP = torch.tensor([[-1.0, -2.0], [-0.5, 0.0]])
REFERENCE = torch.tensor([[-1.5, -1.0], [-1.5, 0.0]])
VALUES = torch.tensor([[0.2, 0.6], [0.5, 0.0]])
ONE_STEP = {"epochs": 1, "mini_batches": 1}
K1 = torch.tensor([[0.5, -1.0], [1.0, 0.0]])
K3 = torch.tensor([[math.exp(-0.5) - 0.5, math.exp(1.0) - 2], [math.exp(-1.0), 0.0]])


def made(name: str, beta: float = 0.1, **config: Any) -> Algorithm:
    """An algorithm by its name, with what the name declares."""
    kind, declared = find(name), entry(name)
    shared = TrainConfig(beta=beta)
    train = TrainConfig.model_validate(shared.model_dump() | declared.train(shared) | {"beta": beta})
    return kind(kind.Config.model_validate(declared.config | config), train)


def scored(ended: tuple[bool, bool] = (True, True)) -> ScoredRollouts:
    """Two completions of one prompt, of two tokens with reward 1 and of one token with reward 0; at most two tokens."""
    rollouts = Rollouts(
        prompts((3,)), torch.tensor([0, 0]), torch.zeros(2, 2).long(), MASK, LOGP, LOGP, torch.tensor(ended), 2
    )
    return ScoredRollouts(rollouts, torch.tensor([1.0, 0.0]), torch.tensor([True, False]), {})


def advantages(algorithm: Algorithm, context: Context | None = None, **options: Any) -> Advantages:
    return algorithm.advantages(scored(**options), context or Context(REFERENCE, VALUES))


def policy_loss(
    algorithm: Algorithm, shift: Tensor, kl: Tensor | None = None, reference: Tensor | None = REFERENCE
) -> float:
    """The policy's loss with advantages 1, 2 and -3, the log-probabilities moved by `shift` since the rollout."""
    values = VALUES if algorithm.needs.critic else None
    batch = Batch(MASK, LOGP, torch.tensor([[1.0, 2.0], [-3.0, 0.0]]), reference, values, values)
    output = PolicyOutput(LOGP + shift, LOGP, values, kl)
    return float(algorithm.loss(batch, output, Denominators(tokens=3, rows=2, max_tokens=5)).policy)


def test_every_name_has_a_class_a_paper_and_says_where_it_differs() -> None:
    for name in ALGORITHMS:
        kind = find(name)
        says = importlib.import_module(kind.__module__).__doc__ or ""
        assert kind.paper, name
        assert "\nPaper: " in says, name
        assert "\nDiffers from " in says, name
        assert name.startswith(kind.name), name


@pytest.mark.parametrize("name", ["grpo-source", "gspo"])
def test_these_have_grpos_advantages(name: str) -> None:
    assert torch.equal(advantages(made(name)).advantages_BT, advantages(made("grpo")).advantages_BT)


def test_dr_grpo_only_centres() -> None:
    assert advantages(made("dr-grpo")).advantages_BT.tolist() == [[0.5, 0.5], [-0.5, 0.0]]


def test_dapo_shapes_the_reward_before_it_compares() -> None:
    plain = advantages(made("dapo")).advantages_BT
    torch.testing.assert_close(plain, advantages(made("grpo")).advantages_BT)
    # The second row was cut: its reward is 0 - 1, so the two differ by 2.
    half = 1 / (2**0.5 + 1e-4)
    cut = advantages(made("dapo"), ended=(True, False)).advantages_BT
    torch.testing.assert_close(cut, torch.tensor([[half, half], [-half, 0.0]]))
    # With a buffer of one token of two, the first row's two tokens cost it 1: rewards 0 and 0.
    assert not advantages(made("dapo", overlong_buffer_tokens=1)).advantages_BT.any()


def test_rloo_compares_penalised_rewards_with_the_siblings() -> None:
    # 1 - 0.1 * (0.5 - 1) = 1.05 against 0 - 0.1 * 1 = -0.1
    torch.testing.assert_close(advantages(made("rloo")).advantages_BT, torch.tensor([[1.15, 1.15], [-1.15, 0.0]]))


def test_reinforce_takes_the_penalised_reward_to_go() -> None:
    expected = torch.tensor([[1.05, 1.1], [-0.1, 0.0]])
    torch.testing.assert_close(advantages(made("reinforce")).advantages_BT, expected)
    white = (expected - expected[MASK].mean()) / expected[MASK].std()
    torch.testing.assert_close(advantages(made("reinforce++")).advantages_BT, white * MASK, rtol=1e-5, atol=1e-6)


def test_vine_ppo_takes_differences_of_its_values() -> None:
    algorithm = made("vine-ppo", step_tokens=1, whiten=False)
    torch.testing.assert_close(advantages(algorithm).advantages_BT, torch.tensor([[0.4, 0.4], [-0.5, 0.0]]))
    with pytest.raises(ValueError, match="no continuations were sampled"):
        advantages(algorithm, Context(REFERENCE, None))


def test_ppo_group_is_ppo_on_the_mean_of_the_group() -> None:
    mean = (1.05 - 0.1) / 2
    ours = advantages(made("ppo-group")).advantages_BT
    theirs = advantages(made("ppo"), Context(REFERENCE, torch.full((2, 2), mean) * MASK)).advantages_BT
    torch.testing.assert_close(ours, theirs)


def test_grpo_value_is_the_reward_less_the_value_over_the_batchs_spread() -> None:
    both = advantages(made("grpo-value"))
    plain = torch.tensor([[0.8, 0.4], [-0.5, 0.0]])
    torch.testing.assert_close(both.advantages_BT, plain / (plain[MASK].std() + 1e-4))
    torch.testing.assert_close(both.returns_BT, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="needs a critic"):
        advantages(made("grpo-value"), Context(REFERENCE, None))


NONE = torch.zeros(2, 2)
UP = torch.tensor([[math.log(1.5), 0.0], [0.0, 0.0]])
"""Moves the first token's ratio to 1.5."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ppo", -(1.2 + 2 - 3) / 3),
        ("evpo", -(1.2 + 2 - 3) / 3),
        ("sao", -(0 + 2 - 3) / 3),
        ("ppo-group", -(1.2 + 2 - 3) / 3),
        ("reinforce++", -(1.2 + 2 - 3) / 3),
        ("grpo", -((1.2 + 2) / 2 - 3) / 2),
        ("grpo-value", -((1.2 + 2) / 2 - 3) / 2),
        ("dr-grpo", -(1.2 + 2 - 3) / 10),
        ("dapo", -(1.28 + 2 - 3) / 3),
        ("vine-ppo", -(1.2 + 2 - 3) / 3),
        ("gspo", -((1 + 2) / 2 * (1 + 4e-4) - 3) / 2),
        ("rloo", -((1 + 2) / 2 * 1.2 - 3) / 2),
        ("reinforce", -((-1 + math.log(1.5)) - 2 * 2 + 0.5 * 3) / 2),
        ("grpo-source", -((-1 + math.log(1.5)) - 2 * 2 + 0.5 * 3) / 2),
    ],
)
def test_the_surrogate_of_each_arm_with_one_token_past_the_clip(name: str, expected: float) -> None:
    assert policy_loss(made(name), UP, kl=NONE, reference=None) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "penalty"),
    [
        *[(name, 0.0) for name in ("ppo", "evpo", "sao", "ppo-group", "reinforce++", "rloo", "reinforce")],
        *[(name, float(K3[0].sum() / 2 + K3[1].sum()) / 2) for name in ("grpo", "grpo-value", "gspo")],
        *[(name, float(K3.sum()) / 3) for name in ("dapo", "vine-ppo")],
        ("dr-grpo", float(K3.sum()) / 10),
    ],
)
def test_the_penalty_in_the_loss_is_k3_or_is_in_the_reward(name: str, penalty: float) -> None:
    algorithm = made(name)
    without = policy_loss(algorithm, NONE, reference=None)
    assert policy_loss(algorithm, NONE) - without == pytest.approx(0.1 * penalty, abs=1e-6)


def test_grpo_may_weigh_k3_by_the_ratio() -> None:
    plain, weighed = (policy_loss(made("grpo", kl=kl), UP) for kl in ("k3", "k3_ratio"))
    moved = math.exp(-0.5) / 1.5 - 1 + 0.5 + math.log(1.5)
    assert weighed - plain == pytest.approx(0.1 * 0.5 * moved / 4, abs=1e-6)


def test_the_sources_divergence_is_exact_or_sampled() -> None:
    kl = torch.tensor([[0.3, 0.1], [0.2, 7.0]])
    none = policy_loss(made("grpo-source"), NONE, reference=None)
    assert policy_loss(made("grpo-source"), NONE, kl=kl) - none == pytest.approx(0.1 * (0.3 + 0.1 + 0.2) / 2)
    weights = torch.tensor([[math.exp(0.5)], [math.exp(-1.0)]])  # pi_ref / pi_old of each completion
    sampled = float((-K1 * weights * MASK).sum()) / 2
    assert policy_loss(made("grpo-source", kl="sampled"), NONE) - none == pytest.approx(0.1 * sampled)


@pytest.mark.parametrize("name", ["grpo-source", "reinforce"])
@pytest.mark.parametrize("more", [{"epochs": 2, "mini_batches": 1}, {"epochs": 1, "mini_batches": 2}])
def test_an_objective_without_a_ratio_refuses_a_second_step(name: str, more: dict[str, int]) -> None:
    kind = find(name)
    with pytest.raises(UserError, match="no ratio"):
        kind(kind.Config(), TrainConfig(**more))
    assert kind(kind.Config(), TrainConfig(**ONE_STEP)).needs


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_every_arm_learns(name: str) -> None:
    """On a task that a random model learns in a second; as many updates for each, whatever they cost in completions."""
    shared = TrainConfig(prompts_per_update=8, group_size=8, learning_rate=1e-2, warmup_completions=0, beta=0.01)
    train = TrainConfig.model_validate(shared.model_dump() | entry(name).train(shared))
    learner = trainer(name, train=train, task=AnyLetter())
    records = [record.metrics for record in learner.updates(40)]
    rewards = [float(record["reward_mean"] or 0) for record in records]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.2
    assert records[-1]["skipped_steps"] == 0
    assert float(records[-1]["entropy"] or 0) > 0

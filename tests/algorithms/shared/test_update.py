"""The update: what must not change it, and what it must leave alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from copying import llama
from one_step import TRAIN, arm, gradients, prepared, step, weights
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.update import update


@pytest.mark.parametrize(
    ("name", "config"), [("ppo", {}), ("ppo", {"critic": CriticConfig(kind="model")}), ("grpo", {})]
)
def test_micro_batches_do_not_change_the_step(name: str, config: dict[str, object]) -> None:
    whole = TRAIN.model_copy(update={"micro_batch_tokens": 10_000})
    one, one_seen = step(arm(name, whole, **config), whole)
    for budget in (1, 33):
        train = TRAIN.model_copy(update={"micro_batch_tokens": budget})
        other, other_seen = step(arm(name, train, **config), train)
        torch.testing.assert_close(gradients(other.models.policy), gradients(one.models.policy), atol=1e-6, rtol=1e-5)
        if one.models.value_head is not None:
            torch.testing.assert_close(
                gradients(other.models.value_head), gradients(one.models.value_head), atol=1e-6, rtol=1e-5
            )
        split = {"gradient_signal": None, "gradient_trace": None}  # they need more than one pass
        assert None not in (other_seen["gradient_signal"], other_seen["gradient_trace"])
        assert {**other_seen, **split} == pytest.approx(one_seen, abs=1e-5)


def test_a_value_loss_of_weight_zero_leaves_the_policy_gradient_alone() -> None:
    with_head, _ = step(arm("ppo", TRAIN, value_coef=0.0), TRAIN)
    detached, _ = step(arm("ppo", TRAIN, value_coef=0.5, critic=CriticConfig(detach=True)), TRAIN)
    shared, _ = step(arm("ppo", TRAIN, value_coef=0.5), TRAIN)
    torch.testing.assert_close(gradients(with_head.models.policy), gradients(detached.models.policy))
    assert not torch.allclose(gradients(with_head.models.policy), gradients(shared.models.policy))


def test_a_large_value_loss_does_not_shrink_the_policy_step() -> None:
    small, _ = step(arm("ppo", TRAIN, value_coef=0.1, critic=CriticConfig(kind="model")), TRAIN)
    large, _ = step(arm("ppo", TRAIN, value_coef=1e4, critic=CriticConfig(kind="model")), TRAIN)
    torch.testing.assert_close(weights(large.models.policy), weights(small.models.policy))


def test_one_step_at_the_sampling_policy_has_ratio_one_and_clips_nothing() -> None:
    for name in ("ppo", "grpo"):
        _, seen = step(arm(name, TRAIN), TRAIN)
        assert seen["ratio_error_max"] < 1e-5
        assert seen["clip_fraction"] == 0
        assert seen["optimizer_steps"] == 1


def test_epochs_and_mini_batches_are_optimizer_steps_and_the_ratio_moves() -> None:
    train = TRAIN.model_copy(update={"epochs": 2, "mini_batches": 3})
    _, seen = step(arm("grpo", train), train)
    assert seen["optimizer_steps"] == 6
    assert seen["ratio_error_max"] > 1e-3


def test_denominators_are_those_of_the_mini_batch() -> None:
    """Means over the steps of a still policy are the means over the batch, up to the rows' unequal lengths."""
    still = TRAIN.model_copy(update={"learning_rate": 1e-9})
    halves = still.model_copy(update={"mini_batches": 2})
    (_, whole), (_, split) = step(arm("grpo", still), still), step(arm("grpo", halves), halves)
    for name in ("entropy", "kl_reference"):
        assert split[name] == pytest.approx(whole[name], rel=0.2)


@pytest.mark.parametrize("kind", ["head", "model"])
def test_critic_warm_up_moves_the_critic_only(kind: str) -> None:
    algorithm = arm("ppo", TRAIN, critic=CriticConfig(kind=kind))
    before, _, _ = prepared(algorithm, TRAIN)
    after, _ = step(algorithm, TRAIN, critic_only=True)
    assert torch.equal(weights(after.models.policy), weights(before.models.policy))
    assert not torch.equal(weights(after.models.value_head), weights(before.models.value_head))


@pytest.mark.parametrize("kind", ["head", "model"])
def test_further_passes_of_the_critic_do_not_move_the_policy(kind: str) -> None:
    train = TRAIN.model_copy(update={"epochs": 2, "mini_batches": 3})
    once, seen_once = step(arm("ppo", train, critic=CriticConfig(kind=kind)), train)
    thrice, seen = step(arm("ppo", train, critic=CriticConfig(kind=kind, passes=3)), train)
    assert torch.equal(weights(thrice.models.policy), weights(once.models.policy))
    for group in ("value_head", "trunk") if kind == "model" else ("value_head",):
        assert not torch.equal(weights(getattr(thrice.models, group)), weights(getattr(once.models, group)))
    assert (seen_once["optimizer_steps"], seen["optimizer_steps"], seen["skipped_steps"]) == (6, 18, 0)
    of_all = {"value_loss", "grad_norm_value", "optimizer_steps"}
    assert {k: v for k, v in seen.items() if k not in of_all} == {k: v for k, v in seen_once.items() if k not in of_all}
    assert seen["value_loss"] < seen_once["value_loss"]


@pytest.mark.parametrize("kind", ["head", "model"])
@pytest.mark.parametrize("budget", [40, 10_000])
def test_a_further_pass_is_another_step_of_the_warm_up(kind: str, budget: int) -> None:
    train = TRAIN.model_copy(update={"micro_batch_tokens": budget})
    twice, _ = step(arm("ppo", train, critic=CriticConfig(kind=kind, passes=2)), train, critic_only=True)
    algorithm = arm("ppo", train, critic=CriticConfig(kind=kind))
    learning, sequences, batch = prepared(algorithm, train)
    for _ in range(2):
        update(learning, algorithm, sequences, batch, np.random.default_rng(7), critic_only=True)
    for group in ("value_head", "trunk") if kind == "model" else ("value_head",):
        ours, theirs = (getattr(one.models, group) for one in (twice, learning))
        torch.testing.assert_close(gradients(ours), gradients(theirs), atol=1e-6, rtol=1e-4)


def test_a_pass_of_the_critic_that_is_not_finite_is_skipped_and_counted() -> None:
    algorithm = arm("ppo", TRAIN, critic=CriticConfig(passes=2), value_coef=1.0)
    learning, sequences, batch = prepared(algorithm, TRAIN)
    batch.returns_BT[0, 0] = float("nan")
    seen = update(learning, algorithm, sequences, batch, np.random.default_rng(7), critic_only=False)
    assert (seen["skipped_steps"], seen["optimizer_steps"]) == (2, 0)


def test_the_reference_never_moves() -> None:
    train = TRAIN.model_copy(update={"epochs": 3})
    learning, _ = step(arm("grpo", train), train)
    assert torch.equal(weights(learning.models.reference), weights(llama(seed=5)))


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_skipped_and_counted(broken: str) -> None:
    algorithm = arm("grpo", TRAIN)
    learning, sequences, batch = prepared(algorithm, TRAIN)
    if broken == "loss":
        batch.advantages_BT[0, 0] = float("inf")
    else:
        next(learning.models.policy.parameters()).register_hook(lambda grad: grad * float("nan"))
    before = copy.deepcopy(weights(learning.models.policy))
    seen = update(learning, algorithm, sequences, batch, np.random.default_rng(7), critic_only=False)
    assert (seen["skipped_steps"], seen["optimizer_steps"]) == (1, 0)
    assert torch.equal(weights(learning.models.policy), before)


def test_the_learning_rate_is_a_function_of_consumed_completions() -> None:
    train = TRAIN.model_copy(update={"warmup_completions": 100})
    learning, _, _ = prepared(arm("ppo", train, critic=CriticConfig(learning_rate=0.5)), train)
    assert learning.set_learning_rate(25) == pytest.approx(2.5e-3)
    assert [group["lr"] for group in learning.optimizer.param_groups] == pytest.approx([2.5e-3, 0.125])
    assert learning.set_learning_rate(1000) == pytest.approx(1e-2)


def test_a_critics_rate_may_be_so_many_times_the_policys() -> None:
    train = TRAIN.model_copy(update={"warmup_completions": 0})
    learning, _, _ = prepared(arm("ppo", train, critic=CriticConfig(learning_rate=0.5, learning_rate_ratio=2.5)), train)
    learning.set_learning_rate(0)
    assert [group["lr"] for group in learning.optimizer.param_groups] == pytest.approx([1e-2, 2.5e-2])

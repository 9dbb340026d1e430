"""What an update reports and applies, against numbers computed beside it."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from one_step import TRAIN, arm, gradients, prepared, step, weights
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.losses import k3
from ppo_vs_grpo.algorithms.shared.networks.models import policy_output
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, micro_batches, pack
from ppo_vs_grpo.algorithms.shared.types import Batch, Denominators, PolicyOutput
from ppo_vs_grpo.algorithms.shared.update import token_sums, update

STILL = TRAIN.model_copy(update={"learning_rate": 1e-12, "max_grad_norm": 1e9})


def test_the_gradient_is_that_of_the_two_terms_together() -> None:
    algorithm = arm("ppo", STILL)
    learning, sequences, batch = prepared(algorithm, STILL)
    models = learning.models
    packed = pack(sequences, torch.arange(24))
    tokens = int(batch.mask_BT.sum())
    output = policy_output(models, packed, 1.0, detach_trunk=False)
    loss = algorithm.loss(batch, output, Denominators(tokens, 24, batch.mask_BT.shape[1]))
    assert loss.value is not None
    (loss.policy + loss.value).backward()
    expected = gradients(models.policy).clone()
    update(learning, algorithm, sequences, batch, np.random.default_rng(7), critic_only=False)
    torch.testing.assert_close(gradients(models.policy), expected, atol=1e-6, rtol=1e-5)


def test_reports_are_means_over_the_steps_and_the_largest_ratio_error() -> None:
    algorithm = arm("grpo", STILL)
    learning, sequences, batch = prepared(algorithm, STILL)
    batch = replace(batch, logp_old_BT=batch.logp_old_BT - torch.rand(batch.mask_BT.shape) * batch.mask_BT)
    models = learning.models
    index = torch.as_tensor(np.random.default_rng(7).permutation(24)).tensor_split(3)
    seen = update(
        replace(learning, train=STILL.model_copy(update={"mini_batches": 3})),
        algorithm, sequences, batch, np.random.default_rng(7), critic_only=False,
    )  # fmt: skip
    with torch.no_grad():
        whole = policy_output(models, pack(sequences, torch.arange(24)), 1.0, detach_trunk=False)
    entropies, kls, losses, errors = [], [], [], []
    for rows in index:
        mask = batch.mask_BT[rows]
        assert batch.reference_logp_BT is not None
        entropies.append(float(whole.entropy_BT[rows][mask].mean()))
        kls.append(float(k3(whole.logp_BT[rows], batch.reference_logp_BT[rows])[mask].mean()))
        errors.append(float(((whole.logp_BT - batch.logp_old_BT)[rows].exp() - 1).abs()[mask].max()))
        part = PolicyOutput(whole.logp_BT[rows], whole.entropy_BT[rows], None)
        step_of = Denominators(int(mask.sum()), len(rows), 10)
        losses.append(float(algorithm.loss(batch.rows(rows, mask.shape[1]), part, step_of).policy))
    assert seen["optimizer_steps"] == 3
    assert seen["entropy"] == pytest.approx(np.mean(entropies), rel=1e-4)
    assert seen["kl_reference"] == pytest.approx(np.mean(kls), rel=1e-4)
    assert seen["policy_loss"] == pytest.approx(np.mean(losses), rel=1e-3, abs=1e-5)
    assert seen["ratio_error_max"] == pytest.approx(max(errors), rel=1e-4)


def test_a_skipped_step_does_not_end_the_update() -> None:
    train = TRAIN.model_copy(update={"mini_batches": 3})
    algorithm = arm("grpo", train)
    learning, sequences, batch = prepared(algorithm, train)
    first = int(np.random.default_rng(7).permutation(24)[0])
    advantages_BT = batch.advantages_BT.clone()
    advantages_BT[first, 0] = float("inf")
    before = weights(learning.models.policy)
    poisoned = replace(batch, advantages_BT=advantages_BT)
    seen = update(learning, algorithm, sequences, poisoned, np.random.default_rng(7), critic_only=False)
    assert (seen["optimizer_steps"], seen["skipped_steps"]) == (2, 1)
    assert not torch.equal(weights(learning.models.policy), before)
    assert math.isfinite(seen["entropy"] or math.nan)


CLIP = TrainConfig(clip_low=0.5, clip_high=0.25)


def fraction(ratios: list[float], advantages: list[float]) -> float:
    logp = torch.tensor([ratios], dtype=torch.float64).log()
    mask = torch.ones(1, len(ratios), dtype=torch.bool)
    zero = torch.zeros_like(logp)
    batch = Batch(mask, zero, torch.tensor([advantages], dtype=torch.float64), None, None, None)
    return float(token_sums(batch, PolicyOutput(logp, zero, None), CLIP, len(ratios))["clip_fraction"])


@pytest.mark.parametrize(
    ("ratio", "advantage", "clipped"),
    [
        *[(1.3, 0.4, True), (1.3, 2.0, True), (1.2, 0.4, False), (0.4, 0.4, False)],
        *[(0.4, -0.4, True), (0.4, 1.0, False), (0.6, -2.0, False), (1.3, -0.4, False), (0.3, 0.0, False)],
        *[(0.5, -1.0, False), (0.4, -1.0, True), (1.3, 1.0, True), (0.7, -1.0, False), (1.1, 1.0, False)],
    ],
)
def test_a_token_counts_as_clipped_on_the_side_where_it_has_no_gradient(
    ratio: float, advantage: float, clipped: bool
) -> None:
    assert fraction([ratio, 1.0], [advantage, 1.0]) == (0.5 if clipped else 0.0)


def test_the_largest_ratio_error_leaves_padding_out() -> None:
    logp = torch.tensor([[0.0, 5.0]])
    mask = torch.tensor([[True, False]])
    batch = Batch(mask, torch.zeros(1, 2), torch.ones(1, 2), None, None, None)
    assert float(token_sums(batch, PolicyOutput(logp, logp, None), CLIP, 1)["ratio_error_max"]) == 0


def test_the_learning_rate_warms_up_in_completions_and_then_holds() -> None:
    train = TRAIN.model_copy(update={"warmup_completions": 100, "learning_rate": 0.5})
    learning, _, _ = prepared(arm("ppo", train), train)
    for completions, share in ((25, 0.25), (100, 1.0), (400, 1.0)):
        assert learning.set_learning_rate(completions) == 0.5 * share
        rates = [group["lr"] for group in learning.optimizer.param_groups]
        assert rates == pytest.approx([0.5 * share, 1e-3 * share])


def test_no_row_is_lost_or_doubled_by_micro_batches() -> None:
    tokens, one = torch.tensor([5, 9, 2, 7, 7, 1]), torch.ones(6, dtype=torch.long)
    sequences = Sequences(torch.zeros(6, 9), 0 * one, tokens, one, 9, packed=False)
    groups = micro_batches(sequences, torch.arange(6), 14)
    assert [tokens[g].tolist() for g in groups] == [[9], [7, 7], [5, 2], [1]]
    assert sorted(torch.cat(groups).tolist()) == list(range(6))
    assert [len(g) for g in micro_batches(sequences, torch.arange(6), 1)] == [1] * 6


def test_an_optimizer_step_leaves_nothing_of_its_gradient_to_the_next() -> None:
    algorithm = arm("grpo", STILL)
    learning, sequences, batch = prepared(algorithm, STILL)
    update(learning, algorithm, sequences, batch, np.random.default_rng(7), critic_only=False)
    once = gradients(learning.models.policy).clone()
    again = copy.copy(learning)
    update(again, algorithm, sequences, batch, np.random.default_rng(7), critic_only=False)
    torch.testing.assert_close(gradients(learning.models.policy), once, atol=1e-6, rtol=1e-4)


def test_a_step_reports_the_norm_before_it_is_clipped() -> None:
    train = TRAIN.model_copy(update={"max_grad_norm": 1e-3})
    clipped, seen = step(arm("grpo", train), train)
    assert float(gradients(clipped.models.policy).norm()) == pytest.approx(1e-3, rel=1e-3)
    assert (seen["grad_norm"] or 0) > 1e-2

"""Passes of the update against one plain forward pass per row."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from copying import END, PAD, VOCABULARY, gpt2, llama, prompts, uniforms, whole_logp
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.networks.attention import read_packed
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, join, micro_batches, over_rows, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Rollouts

PROMPTS = prompts((3, 4, 5), (6, 7), (8,))


def rollouts_of(model: nn.Module) -> Rollouts:
    return HuggingFaceEngine(model, PAD, (END,), 10, 0.7).generate(PROMPTS, 8, uniforms(10, 24))


def with_critic(kind: str = "head") -> Models:
    models = build(llama(), CriticConfig(kind=kind), needs_reference=True)
    with torch.no_grad():
        models.value_head.weight.normal_(generator=torch.Generator().manual_seed(1))
    return models


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_log_probabilities_do_not_depend_on_padding_or_partition(make, budget: int, packed: bool) -> None:
    model = make()
    rollouts = rollouts_of(model)
    assert (packed and read_packed(model)) == packed
    logp_BT = over_rows(join(rollouts, PAD, packed), budget, lambda packed: logp(model, packed, 0.7))
    for row in range(24):
        tokens = int(rollouts.mask_BT[row].sum())
        prompt = PROMPTS.ids[int(rollouts.group_B[row])]
        expected = whole_logp(make(), prompt, rollouts.completion_BT[row, :tokens].tolist(), 0.7)
        torch.testing.assert_close(logp_BT[row, :tokens], torch.tensor(expected), atol=1e-5, rtol=0)
        assert not logp_BT[row, tokens:].any()


def test_at_the_sampling_policy_the_ratio_is_one() -> None:
    model = llama()
    rollouts = rollouts_of(model)
    logp_BT = over_rows(join(rollouts, PAD), 64, lambda packed: logp(model, packed, 0.7))
    assert float((logp_BT - rollouts.logp_BT).exp().sub(1).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ["head", "model"])
def test_a_value_is_read_before_its_token(kind: str) -> None:
    """Changing token k moves log-probabilities from k on, and values only after k."""
    models = with_critic(kind)
    ids = torch.tensor([[3, 4, 5, 6, 7, 8]])
    changed = ids.clone()
    k = 2
    changed[0, 2 + k] = 9
    read = [
        (values(models, packed), logp(models.policy, packed, 1.0))
        for packed in (
            pack(Sequences(row, torch.tensor([2]), torch.tensor([4]), torch.tensor([0]), 4), torch.tensor([0]))
            for row in (ids, changed)
        )
    ]
    value_moves = (read[0][0] != read[1][0])[0].tolist()
    logp_moves = (read[0][1] != read[1][1])[0].tolist()
    assert value_moves == [False, False, False, True]
    assert logp_moves == [False, False, True, True]


@pytest.mark.parametrize("kind", ["head", "model"])
def test_values_of_the_update_pass_are_those_of_the_value_pass(kind: str) -> None:
    models = with_critic(kind)
    packed = pack(join(rollouts_of(models.policy), PAD), torch.arange(24))
    output = policy_output(models, packed, 0.7, detach_trunk=False)
    torch.testing.assert_close(output.values_BT, values(models, packed), atol=1e-5, rtol=0)


def test_the_value_head_starts_at_zero_and_the_critic_as_the_start_model() -> None:
    models = build(llama(), CriticConfig(kind="model"), needs_reference=False)
    packed = pack(join(rollouts_of(models.policy), PAD), torch.arange(4))
    assert not values(models, packed).any()
    theirs = models.trunk.state_dict()
    assert all(torch.equal(theirs[name], own) for name, own in models.policy.base_model.state_dict().items())
    assert models.reference is None


@pytest.mark.parametrize("kind", ["head", "model"])
def test_values_stay_within_their_bounds_and_start_half_way(kind: str) -> None:
    free, bounded = (build(llama(), CriticConfig(kind=kind, bounds=b), False) for b in (None, (-1.0, 3.0)))
    packed = pack(join(rollouts_of(free.policy), PAD), torch.arange(24))
    assert set(values(bounded, packed)[packed.mask_bT].tolist()) == {1.0}
    assert not values(bounded, packed)[~packed.mask_bT].any()
    for models in (free, bounded):
        with torch.no_grad():
            models.value_head.weight.normal_(std=20, generator=torch.Generator().manual_seed(1))
    expected = -1 + 4 / (1 + torch.exp(-values(free, packed)[packed.mask_bT]))
    found = values(bounded, packed)[packed.mask_bT]
    assert found.min() < -0.9
    assert found.max() > 2.9
    torch.testing.assert_close(found, expected)
    read = policy_output(bounded, packed, 0.7, detach_trunk=False).values_BT[packed.mask_bT]
    torch.testing.assert_close(read, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_bounds_that_enclose_nothing_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"should be the least and the largest reward, such as \[0, 1\]"):
        CriticConfig(bounds=bounds)


def test_values_give_a_shared_trunk_no_gradient_and_their_own_one() -> None:
    for kind in ("head", "model"):
        models = with_critic(kind)
        packed = pack(join(rollouts_of(models.policy), PAD), torch.arange(24))
        values(models, packed).sum().backward()
        assert not any(p.grad is not None for p in models.policy.parameters())
        assert all(p.grad is not None for p in models.value_parameters())


def test_a_detached_trunk_gets_no_gradient_from_values() -> None:
    models = with_critic()
    packed = pack(join(rollouts_of(models.policy), PAD), torch.arange(24))
    for detach in (True, False):
        models.policy.zero_grad()
        policy_output(models, packed, 1.0, detach_trunk=detach).values_BT.sum().backward()
        moved = any(p.grad is not None and bool(p.grad.any()) for p in models.policy.parameters())
        assert moved is not detach


def test_entropy_lies_between_zero_and_log_vocabulary_and_ignores_padding() -> None:
    models = with_critic()
    sequences = join(rollouts_of(models.policy), PAD)
    packed = pack(sequences, torch.arange(24))
    entropy_N = policy_output(models, packed, 0.7, False).entropy_BT
    assert 0 <= float(entropy_N.min()) <= float(entropy_N.max()) <= math.log(VOCABULARY)
    wider = Sequences(
        nn.functional.pad(sequences.ids_BL, (0, 7)),
        *(getattr(sequences, name) for name in ("prompt_tokens_B", "completion_tokens_B", "group_B", "width_tokens")),
    )
    torch.testing.assert_close(policy_output(models, pack(wider, torch.arange(24)), 0.7, False).entropy_BT, entropy_N)


def test_dropout_is_off() -> None:
    model = gpt2()
    model.train()
    models = build(model, CriticConfig(kind="model"), needs_reference=True)
    assert not any(m.training for root in (models.policy, models.reference, models.trunk) for m in root.modules())


def rows_of(prompt_tokens: list[int], completion_tokens: list[int], group: list[int], packed: bool) -> Sequences:
    width = max(map(sum, zip(prompt_tokens, completion_tokens, strict=True)))
    columns = (torch.tensor(column) for column in (prompt_tokens, completion_tokens, group))
    return Sequences(torch.zeros(len(group), width, dtype=torch.long), *columns, max(completion_tokens), packed)


def test_padded_micro_batches_hold_every_row_once_within_the_budget() -> None:
    sequences = rows_of([2, 2, 1, 4, 3, 3], [3, 7, 1, 36, 4, 4], [0] * 6, packed=False)
    tokens_B = sequences.tokens_B
    groups = micro_batches(sequences, torch.arange(6), 20)
    assert sorted(int(i) for g in groups for i in g) == list(range(6))
    for group in groups:
        assert len(group) == 1 or len(group) * int(tokens_B[group].max()) <= 20
    assert [int(tokens_B[g].max()) for g in groups] == sorted((int(tokens_B[g].max()) for g in groups), reverse=True)


def test_packed_micro_batches_count_a_prompt_once_and_keep_its_rows_together() -> None:
    """Prompts of 4, 2 and 5 tokens; group 0 takes 4 + 6, group 1 2 + 8, group 2 5 + 12."""
    sequences = rows_of([4, 2, 5, 4, 2, 5, 5], [3, 1, 6, 3, 7, 2, 4], [0, 1, 2, 0, 1, 2, 2], packed=True)
    asked = torch.tensor([6, 5, 4, 3, 2, 1, 0])

    def split(budget: int) -> list[list[int]]:
        return [part.tolist() for part in micro_batches(sequences, asked, budget)]

    assert split(37) == [[3, 0, 4, 1, 6, 5, 2]]
    assert split(36) == [[3, 0, 4, 1], [6, 5, 2]]
    assert split(19) == [[3, 0], [4, 1], [6, 5, 2]]
    assert split(16) == [[3, 0], [4, 1], [6, 5], [2]]  # of 12 tokens 11 fit beside the prompt: two pieces of 6
    assert split(1) == [[3], [0], [4], [1], [6], [5], [2]]
    assert split(17)[2:] == [[6, 5, 2]]
    assert micro_batches(sequences, asked[:0], 10) == []
    four = rows_of([2] * 4, [3] * 4, [0] * 4, packed=True)
    assert [part.tolist() for part in micro_batches(four, torch.arange(4), 11)] == [[0, 1], [2, 3]]  # not 3 and 1

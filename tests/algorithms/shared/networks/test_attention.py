"""Packed tokens: by hand, against padded rows in every known type of model, and what is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from copying import END, PAD, llama, prompts, uniforms, whole_logp
from model_rows import COMPLETIONS, PROMPTS, model, rows
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.networks.attention import MODEL_TYPES, read_packed, reads_packed, rows_of
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import build, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, over_rows, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine


def said_and_learned(policy: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Log-probabilities of every completion token, and the gradient of a sum of them that weighs each its own way."""
    packed = pack(rows(), torch.arange(len(COMPLETIONS)))
    logp_BT = logp(policy, packed, 0.7)
    weights_BT = torch.rand(logp_BT.shape, generator=torch.Generator().manual_seed(1))
    gradient = torch.autograd.grad((logp_BT * weights_BT).sum(), list(policy.parameters()), materialize_grads=True)
    return logp_BT.detach(), torch.cat([part.flatten() for part in gradient])


def test_by_hand() -> None:
    """Rows ab|c and ab|def of one prompt, and g|h of another: abc, then def, then gh."""
    sequences = Sequences(
        torch.tensor([[10, 11, 12, 0, 0], [10, 11, 13, 14, 15], [16, 17, 0, 0, 0]]),
        torch.tensor([2, 2, 1]),
        torch.tensor([1, 3, 1]),
        torch.tensor([4, 4, 2]),
        3,
    )
    packed = pack(sequences, torch.arange(3))
    assert packed.ids_M.tolist() == [10, 11, 12, 13, 14, 15, 16, 17]
    assert (packed.cell_M % 5).tolist() == [0, 1, 2, 2, 3, 4, 0, 1]  # positions
    assert packed.reads_N.tolist() == [1, 1, 3, 4, 6]
    assert packed.targets_N.tolist() == [12, 13, 14, 15, 17]
    assert packed.one_later().reads_N.tolist() == [2, 3, 4, 5, 7]
    assert packed.mask_bT.tolist() == [[True, False, False], [True, True, True], [True, False, False]]
    assert packed.index_bL[1].tolist() == [0, 1, 3, 4, 5]
    # By length 5, 3 and 2: a row is in a block whose longest it fills to three quarters.
    assert packed.rows.blocks == ((1, 5), (1, 3), (1, 2))
    assert packed.rows.index_Z.tolist() == [0, 1, 3, 4, 5, 0, 1, 2, 6, 7]
    assert packed.rows.place_M.tolist() == [5, 6, 7, 2, 3, 4, 8, 9]  # of the prompt, where its first row is


def test_rows_of_like_length_share_a_block() -> None:
    tokens_b = torch.tensor([8, 3, 6, 2, 5, 8, 4])
    kept_bL = torch.arange(8) < tokens_b[:, None]
    laid_out = rows_of(kept_bL.flatten().cumsum(0).view(7, 8) - 1, kept_bL, tokens_b)
    assert laid_out.blocks == ((3, 8), (2, 5), (1, 3), (1, 2))
    assert laid_out.index_Z[:24].view(3, 8)[:, 0].tolist() == [0, 24, 11]


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_packed_or_not_makes_no_difference_in_every_known_type(kind: str) -> None:
    padded, packed = model(kind), model(kind)
    assert read_packed(packed)
    (ours_BT, our_gradient), (theirs_BT, their_gradient) = said_and_learned(packed), said_and_learned(padded)
    assert float(theirs_BT.std()) > 0.1
    torch.testing.assert_close(ours_BT, theirs_BT, atol=1e-5, rtol=0)
    assert float((our_gradient - their_gradient).norm()) <= 5e-6 * float(their_gradient.norm())


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mistral", {"sliding_window": 3}),
        ("gemma2", {"head_dim": 8, "sliding_window": 3}),
        ("llama", {"attn_implementation": "eager"}),
        ("nemotron", {}),  # does not hand on what attention needs
        ("roberta", {"is_decoder": True}),  # counts positions from its padding
    ],
)
def test_other_models_read_padded_rows_and_are_right(kind: str, changes: dict[str, Any]) -> None:
    policy = model(kind, **changes)
    assert not read_packed(policy)
    sequences = rows(packed=False)
    logp_BT = over_rows(sequences, 10_000, lambda packed: logp(policy, packed, 0.7))
    for row, tokens in enumerate(COMPLETIONS):
        start = int(sequences.prompt_tokens_B[row])
        ids = sequences.ids_BL[row].tolist()
        expected = whole_logp(policy, tuple(ids[:start]), ids[start : start + tokens], 0.7)
        torch.testing.assert_close(logp_BT[row, :tokens], torch.tensor(expected), atol=2e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(
    completions=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    budget=st.sampled_from([1, 25, 60, 1000]),
)
def test_any_rows_in_any_order_say_what_they_say_alone(completions: list[int], order: Any, budget: int) -> None:
    policy = llama(vocab_size=24)
    alone = rows(tuple(completions))
    expected_BT = over_rows(alone, 1, lambda packed: logp(policy, packed, 1.0))
    assert read_packed(policy)
    index = list(range(len(completions)))
    order.shuffle(index)
    shuffled = Sequences(
        *(t[index] for t in (alone.ids_BL, alone.prompt_tokens_B, alone.completion_tokens_B, alone.group_B)),
        alone.width_tokens,
    )
    said_BT = over_rows(shuffled, budget, lambda packed: logp(policy, packed, 1.0))
    torch.testing.assert_close(said_BT, expected_BT[index], atol=1e-5, rtol=0)


def test_layers_see_every_prompt_once_and_no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    # The library would look for sequences in the positions, and make a mask of all pairs of tokens.
    monkeypatch.delattr("transformers.masking_utils.find_packed_sequence_indices")
    policy, seen = llama(vocab_size=24), []
    read_packed(policy)
    policy.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[:-1]))
    logp(policy, pack(rows(), torch.arange(9)), 1.0)
    assert seen == [(1, sum(map(len, PROMPTS)) + sum(COMPLETIONS))]
    over_rows(rows(), 31, lambda packed: logp(policy, packed, 1.0))
    assert [tokens for _, tokens in seen[1:]] == [5 + 11, 3 + 15, 6 + 11]


def test_the_critics_own_network_and_the_reference_read_packed_tokens_too() -> None:
    models = build(llama(vocab_size=24), CriticConfig(kind="model"), needs_reference=True)
    assert models.packed
    assert reads_packed(models.reference)
    assert reads_packed(models.trunk)
    torch.nn.init.ones_(models.value_head.weight)
    expected_BT = over_rows(rows(), 1, lambda packed: values(models, packed))
    torch.testing.assert_close(over_rows(rows(), 999, lambda packed: values(models, packed)), expected_BT)
    after = over_rows(rows(), 999, lambda packed: values(models, packed.one_later()))
    torch.testing.assert_close(after[:, :-1][:, :3][4], expected_BT[4, 1:4])


def test_sampling_is_as_before_to_the_bit() -> None:
    asked = prompts((3, 4, 5), (6, 7), (8,))
    drawn = []
    for on in (False, True):
        policy = llama()
        if on:
            assert read_packed(policy)
        drawn.append(HuggingFaceEngine(policy, PAD, (END,), 10, 0.7).generate(asked, 8, uniforms(10, 24)))
    assert torch.equal(drawn[0].completion_BT, drawn[1].completion_BT)
    assert torch.equal(drawn[0].logp_BT, drawn[1].logp_BT)


def test_a_saved_model_says_nothing_of_it(tmp_path: Path) -> None:
    policy = llama()
    read_packed(policy)
    policy.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "llama"
    assert not reads_packed(AutoModelForCausalLM.from_pretrained(tmp_path))

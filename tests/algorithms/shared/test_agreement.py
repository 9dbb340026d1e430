"""A start model that sampler or update would read otherwise than it reads itself is refused before it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from copying import END, PAD, gpt2, llama, prompts
from odd_models import alibi, sliding
from ppo_vs_grpo.algorithms.shared import agreement
from ppo_vs_grpo.algorithms.shared.agreement import check_agreement
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.networks.models import build
from ppo_vs_grpo.algorithms.shared.rollout import decoding
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.tasks.errors import UserError

PROMPTS = prompts((3, 4, 5, 6), (6, 7, 8, 9, 2), (8, 3, 4, 3, 3, 4))


def check(
    model: PreTrainedModel,
    rows_at_once: int | None = None,
    dtype: torch.dtype = torch.float32,
    static: bool | None = None,
    critic: CriticConfig | None = None,
) -> None:
    models = build(model, critic, needs_reference=False, dtype=dtype)
    engine = HuggingFaceEngine(
        models.policy, PAD, (END,), 10, 0.7, rows_at_once=rows_at_once, static=static, dtype=dtype
    )
    check_agreement(engine, models, PROMPTS)


def mamba() -> MambaForCausalLM:
    """A model whose state is no cache of keys and values."""
    torch.manual_seed(0)
    return MambaForCausalLM(
        MambaConfig(vocab_size=16, hidden_size=16, num_hidden_layers=2, state_size=4, initializer_range=0.3)
    ).eval()


def neo() -> GPTNeoForCausalLM:
    """A model with local attention by columns, which places of their own do not have."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}
    config = GPTNeoConfig(vocab_size=16, window_size=4, max_position_embeddings=64, initializer_range=0.3, **shape)
    return GPTNeoForCausalLM(config).eval()


@pytest.mark.parametrize("rows_at_once", [None, 2])
@pytest.mark.parametrize("make", [llama, gpt2, sliding, alibi])
def test_models_that_are_read_alike_pass(make: Callable[[], PreTrainedModel], rows_at_once: int | None) -> None:
    check(make(), rows_at_once)


def test_products_in_bfloat16_may_differ_more() -> None:
    check(llama(), dtype=torch.bfloat16)


def test_a_model_that_keeps_a_state_is_refused() -> None:
    with pytest.raises(UserError, match=r"start: MambaForCausalLM cannot be sampled here: it takes no past_key_values"):
        check(mamba())


@pytest.mark.parametrize("options", [{"rows_at_once": 2}, {"static": True}])
def test_a_model_that_counts_columns_gets_no_places_and_would_be_refused_with_them(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    check(neo(), **options)
    monkeypatch.setattr(decoding, "BY_COLUMN", ())
    with pytest.raises(UserError, match=r"start: GPTNeoForCausalLM cannot be trained here: the sampler's"):
        check(neo(), **options)


@pytest.mark.parametrize("decodes", [True, False])
def test_tokens_that_see_later_ones_are_refused(decodes: bool) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertLMHeadModel(BertConfig(vocab_size=16, is_decoder=decodes, initializer_range=0.3, **shape)).eval()
    if decodes:
        return check(model)
    with pytest.raises(UserError, match=r"BertLMHeadModel is no causal language model: .* \(is_decoder .* is False\)"):
        check(model)


def test_an_encoder_with_a_decoder_is_refused() -> None:
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(vocab_size=16, decoder_start_token_id=PAD, **shape))
    with pytest.raises(UserError, match=r"start: T5ForConditionalGeneration is an encoder and a decoder"):
        check(model)


@pytest.mark.parametrize(
    ("rope", "limit"),
    [
        ({"rope_type": "dynamic", "factor": 2.0}, 15),
        ({"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [9.0] * 4, "factor": 2.0}, 8),
    ],
)
def test_rows_beyond_where_all_positions_turn_otherwise_are_refused(rope: dict[str, Any], limit: int) -> None:
    def made(tokens: int) -> PreTrainedModel:
        original = {"original_max_position_embeddings": tokens} if rope["rope_type"] == "longrope" else {}
        return llama(rope_parameters={"rope_theta": 1e4, **rope, **original}, max_position_embeddings=tokens)

    check(made(16))  # prompts of 6 tokens and completions of 10
    with pytest.raises(
        UserError, match=rf"LlamaForCausalLM reads rows of more than {limit} tokens .* up to 16 together"
    ):
        check(made(limit))


@pytest.mark.parametrize("kind", ["head", "model"])
def test_values_that_are_read_otherwise_in_collecting_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    whole: Callable[..., Tensor] = agreement.values
    check(llama(), critic=CriticConfig(kind=kind))
    monkeypatch.setattr(agreement, "values", lambda *asked: whole(*asked) + 0.01)
    with pytest.raises(
        UserError, match=r"start: LlamaForCausalLM cannot have a critic here: a value is read 0\.01 apart"
    ):
        check(llama(), critic=CriticConfig(kind=kind))


def test_a_forward_pass_that_fails_is_refused_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    rows = iter([False, False, True])
    model.register_forward_pre_hook(lambda *_: {}["mems"] if next(rows) else None)
    with pytest.raises(UserError, match=r"start: LlamaForCausalLM cannot be trained here: .* KeyError: 'mems'"):
        check(model)


@pytest.mark.parametrize("wrong", [0.01, float("nan")])
def test_an_update_that_reads_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    whole: Callable[..., Tensor] = agreement.logp
    monkeypatch.setattr(agreement, "logp", lambda *asked: whole(*asked) + wrong)
    with pytest.raises(UserError, match=r"the update's log-probabilities differ by up to (0\.01|nan) nats"):
        check(llama())

"""A start model that sampler or update would read otherwise than it reads itself is refused before it is trained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import GPTNeoConfig, GPTNeoForCausalLM, MambaConfig, MambaForCausalLM, PreTrainedModel

from copying import END, PAD, gpt2, llama, prompts
from odd_models import alibi, sliding
from ppo_vs_grpo.algorithms.shared import agreement
from ppo_vs_grpo.algorithms.shared.agreement import check_agreement
from ppo_vs_grpo.algorithms.shared.networks.models import build
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.tasks.errors import UserError

PROMPTS = prompts((3, 4, 5, 6), (6, 7, 8, 9, 2), (8, 3, 4, 3, 3, 4))


def check(model: PreTrainedModel, rows_at_once: int | None = None, dtype: torch.dtype = torch.float32) -> None:
    models = build(model, None, needs_reference=False, dtype=dtype)
    engine = HuggingFaceEngine(models.policy, PAD, (END,), 10, 0.7, rows_at_once=rows_at_once, dtype=dtype)
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
    with pytest.raises(UserError, match=r"start: MambaForCausalLM cannot be trained here: the sampler's .* nats from"):
        check(mamba())


def test_a_model_is_refused_for_the_way_of_decoding_that_it_does_not_bear() -> None:
    check(neo())
    with pytest.raises(UserError, match=r"start: GPTNeoForCausalLM cannot be trained here: the sampler's"):
        check(neo(), rows_at_once=2)


@pytest.mark.parametrize("wrong", [0.01, float("nan")])
def test_an_update_that_reads_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    whole: Callable[..., Tensor] = agreement.logp
    monkeypatch.setattr(agreement, "logp", lambda *asked: whole(*asked) + wrong)
    with pytest.raises(UserError, match=r"the update's log-probabilities differ by up to (0\.01|nan) nats"):
        check(llama())

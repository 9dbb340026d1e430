"""Log-probabilities in chunks of a large vocabulary: the same numbers as whole, and never many logits at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model_rows import COMPLETIONS, model, rows
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.networks import likelihood as module
from ppo_vs_grpo.algorithms.shared.networks.attention import MODEL_TYPES
from ppo_vs_grpo.algorithms.shared.networks.likelihood import chunk_tokens, logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Packed, pack
from ppo_vs_grpo.algorithms.shared.types import PolicyOutput

CHANGES: dict[str, dict[str, Any]] = {
    "cohere": {"logit_scale": 0.5},
    "gemma2": {"head_dim": 8, "sliding_window": 3, "final_logit_softcapping": 2.0},
    "gemma3_text": {"head_dim": 8, "sliding_window": 3},
    "llama4_text": {"head_dim": 8, "num_local_experts": 4, "intermediate_size_mlp": 48},
    "nemotron": {},
    "olmoe": {},
    "roberta": {"is_decoder": True},  # its output is more than an embedding
}
"""What a type is tested with; those that are not in MODEL_TYPES read padded rows."""


def built(kind: str, critic: CriticConfig | None = None, **options: Any) -> Models:
    models = build(model(kind, **CHANGES.get(kind, {})), critic, needs_reference=True, **options)
    assert models.reference is not None
    own = {id(parameter) for parameter in models.policy.parameters()}
    for parameter in models.reference.parameters():
        if id(parameter) not in own:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    if models.value_head is not None:
        torch.nn.init.normal_(models.value_head.weight, generator=torch.Generator().manual_seed(2))
    return models


def packed(models: Models) -> Packed:
    return pack(rows(packed=models.packed), torch.arange(len(COMPLETIONS)))


def weighed(output: PolicyOutput) -> Tensor:
    """A sum of all that has a gradient, each token with a weight of its own."""
    parts = [part for part in (output.logp_BT, output.values_BT, output.reference_kl_BT) if part is not None]
    generator = torch.Generator().manual_seed(1)
    return torch.stack([(part * torch.rand(part.shape, generator=generator)).sum() for part in parts]).sum()


def said_and_learned(models: Models) -> tuple[list[Tensor], Tensor]:
    """What a pass with gradients and one without say, and the gradient."""
    output = policy_output(models, packed(models), 0.7, detach_trunk=False, with_kl=True)
    parameters = [*models.policy_parameters(), *models.value_parameters()]
    gradient = torch.autograd.grad(weighed(output), parameters, materialize_grads=True)
    assert models.reference is not None
    assert output.reference_kl_BT is not None
    with torch.no_grad():
        theirs_BT = logp(models.reference, packed(models), 0.7)
    said = [output.logp_BT, output.entropy_BT, output.reference_kl_BT, theirs_BT]
    said += [] if output.values_BT is None else [output.values_BT]
    return [part.detach() for part in said], torch.cat([part.flatten() for part in gradient])


def assert_chunks_make_no_difference(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, whole_gradient = said_and_learned(models)
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", 24 * 5)  # five tokens at once, of 37
    chunks, gradient = said_and_learned(models)
    assert all(float(part.std()) > 1e-3 for part in whole)
    torch.testing.assert_close(chunks, whole, atol=1e-5, rtol=1e-5)
    assert float((gradient - whole_gradient).norm()) <= 5e-6 * float(whole_gradient.norm())


@pytest.mark.parametrize("kind", sorted({*MODEL_TYPES, *CHANGES}))
def test_chunks_make_no_difference(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_chunks_make_no_difference(built(kind), monkeypatch)


@pytest.mark.parametrize("kind", ["head", "model"])
def test_nor_beside_a_critic(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    models = built("qwen3", CriticConfig(kind=kind))
    assert_chunks_make_no_difference(models, monkeypatch)
    torch.testing.assert_close(values(models, packed(models)), said_and_learned(models)[0][-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"lora_rank": 2}, {"gradient_checkpointing": True}])
def test_nor_with_adapters_or_checkpoints(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_chunks_make_no_difference(built("llama", **options), monkeypatch)


class Largest(TorchDispatchMode):
    """The most tokens of whose logits there was a tensor: one of a vocabulary's width, but for the embedding's own."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.vocabulary, self.hidden, self.tokens = vocabulary, hidden, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.shape[-1:] == (self.vocabulary,) and len(tensor) != self.hidden:
                self.tokens = max(self.tokens, tensor.numel() // self.vocabulary)
        return made


def test_no_pass_makes_more_logits_at_once_than_the_limit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    models = built("llama", CriticConfig(kind="head"))
    with Largest(24, hidden=32) as largest:
        said_and_learned(models)
    assert largest.tokens == sum(COMPLETIONS)
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", 24 * 5 + 23)
    with Largest(24, hidden=32) as largest:
        said_and_learned(models)
    assert largest.tokens == 5


def test_the_trunk_is_as_it_was_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    models = built("llama")
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", 1)
    said_and_learned(models)
    trunk = models.policy.get_decoder()
    assert "forward" not in vars(trunk)

    def broken(*_: Any) -> None:
        raise RuntimeError("no output")

    handle = models.policy.get_output_embeddings().register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="no output"):
        said_and_learned(models)
    handle.remove()
    assert "forward" not in vars(trunk)


@pytest.mark.parametrize(("at_once", "times"), [(24 * 37, 1), (24 * 37 - 1, 4), (24 * 5, 16)])
def test_the_output_is_computed_again_only_where_it_comes_in_chunks(
    at_once: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = built("llama")
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", at_once)
    calls: list[None] = []
    models.policy.get_output_embeddings().register_forward_hook(lambda *_: calls.append(None))
    policy_output(models, packed(models), 0.7, False).logp_BT.sum().backward()
    assert sum(COMPLETIONS) == 37
    assert len(calls) == times


def test_the_entropy_has_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    models = built("llama")
    for at_once in (2**26, 24 * 5):
        monkeypatch.setattr(module, "LOGITS_AT_ONCE", at_once)
        assert not policy_output(models, packed(models), 0.7, False).entropy_BT.requires_grad


def test_a_chunk_has_at_least_one_token() -> None:
    assert chunk_tokens(24) == 2**26 // 24
    assert chunk_tokens(2**27) == 1

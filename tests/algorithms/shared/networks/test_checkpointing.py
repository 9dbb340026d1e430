"""Gradient checkpointing: less memory, more operations, and not a bit of difference in what is learned."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import OPTConfig, OPTForCausalLM, PreTrainedModel

from adapted import Table, trainer
from copying import END, PAD, VOCABULARY, gpt2, llama, prompts, uniforms
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Packed, join, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.profile.flops import measure_costs
from ppo_vs_grpo.tasks.errors import UserError

TRAIN = TrainConfig(prompts_per_update=4, group_size=8, learning_rate=1e-2, warmup_completions=0, beta=0.05)


def opt() -> OPTForCausalLM:
    """A shape whose layers drop out by themselves, not by a module of theirs."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "ffn_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    }
    return OPTForCausalLM(
        OPTConfig(vocab_size=VOCABULARY, max_position_embeddings=64, dropout=0.5, init_std=0.3, **sizes)
    )


def pair(name: str, make=llama, **options: object) -> tuple[Trainer, Trainer]:
    """The same trainer without checkpoints and with them."""
    return tuple(
        trainer(name, TRAIN.model_copy(update={**options, "gradient_checkpointing": on}), make) for on in (False, True)
    )


def batch(policy: PreTrainedModel) -> Packed:
    rollouts = HuggingFaceEngine(policy, PAD, (END,), 6, 1.0).generate(prompts((3, 4, 5), (6, 7)), 4, uniforms(6, 8))
    return pack(join(rollouts, PAD), torch.arange(8))


def networks(models: Models) -> list[nn.Module]:
    return [m for m in (models.policy, models.trunk, models.value_head) if m is not None]


def gradients(models: Models, packed: Packed) -> list[Tensor]:
    """Of a loss that every trained parameter takes part in."""
    output = policy_output(models, packed, 1.0, detach_trunk=False)
    loss = output.logp_BT.sum() + (0 if output.values_BT is None else output.values_BT.square().sum())
    trained = [*models.policy_parameters(), *models.value_parameters()]
    return list(torch.autograd.grad(loss, trained, materialize_grads=True))


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("make", [llama, gpt2, opt])
@pytest.mark.parametrize("kind", [None, "head", "model"])
def test_gradients_are_the_same_to_the_bit_in_the_model_and_in_a_copy(kind: str | None, make, rank: int | None) -> None:
    def built(on: bool) -> Models:
        critic = CriticConfig(kind=kind) if kind else None
        models = build(make(), critic, needs_reference=False, lora_rank=rank, gradient_checkpointing=on)
        if models.value_head is not None:
            nn.init.ones_(models.value_head.weight)
        for name, parameter in (pair for network in networks(models) for pair in network.named_parameters()):
            if ".lora_B." in name:
                nn.init.constant_(parameter, 0.01)
        return models

    plain, saving = built(False), built(True)
    packed = batch(plain.policy)
    expected = gradients(plain, packed)
    assert all(bool(gradient.any()) for gradient in expected[-1:])
    copied = copy.deepcopy(saving)
    for models in (saving, copied):
        found = gradients(models, packed)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
        trunks = [m for m in (models.policy, models.trunk) if m is not None]
        assert not any(part.training for trunk in trunks for part in trunk.modules())


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("name", ["ppo", "ppo-critic", "grpo"])
def test_updates_are_the_same_to_the_bit(name: str, make, rank: int | None) -> None:
    plain, saving = pair(name, make, lora_rank=rank)
    for one, other in zip(plain.updates(2), saving.updates(2), strict=True):
        assert torch.equal(one.scored.rollouts.completion_BT, other.scored.rollouts.completion_BT)
        assert {k: v for k, v in one.metrics.items() if not k.endswith("_s")} == {
            k: v for k, v in other.metrics.items() if not k.endswith("_s")
        }
    for ours, theirs in zip(networks(plain.models), networks(saving.models), strict=True):
        assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_values_read_without_gradients_are_the_same() -> None:
    plain, saving = (
        build(llama(), CriticConfig(), needs_reference=False, gradient_checkpointing=on) for on in (False, True)
    )
    packed = batch(plain.policy)
    for models in (plain, saving):
        nn.init.ones_(models.value_head.weight)
    gradients(saving, packed)
    with torch.no_grad():
        assert torch.equal(values(plain, packed), values(saving, packed))


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize(("name", "role"), [("grpo", "policy"), ("ppo", "policy"), ("ppo-critic", "value")])
def test_activations_take_less_memory(name: str, role: str, rank: int | None) -> None:
    def deeper(**changes: int) -> PreTrainedModel:
        return llama(num_hidden_layers=8, **changes)

    plain, saving = (
        {(row.phase, row.role): row.own_peak_bytes for row in measure_costs(made).peaks}
        for made in pair(name, deeper, lora_rank=rank)
    )
    assert saving["forward", f"activations.{role}"] < 0.5 * plain["forward", f"activations.{role}"]
    assert saving["rollout", "kv_cache"] == plain["rollout", "kv_cache"]


def test_a_model_without_such_layers_is_refused() -> None:
    with pytest.raises(UserError, match="gradient_checkpointing true: Table has no layers"):
        build(Table(), None, needs_reference=False, gradient_checkpointing=True)

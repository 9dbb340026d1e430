"""Adapters: they begin as nothing, they alone learn, and one frozen model serves every network."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from adapted import TRAIN, Table, trainer
from copying import END, PAD, gpt2, llama, prompts, uniforms
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.trainer import UpdateRecord
from ppo_vs_grpo.benchmarks.profile.flops import measure_costs
from ppo_vs_grpo.benchmarks.profile.memory import TOTAL
from ppo_vs_grpo.tasks.errors import UserError
from small_trainer import AnyLetter

IDS = torch.tensor([[3, 4, 5, 6, 7, 8]])
CASES = {
    "ppo": {},
    "ppo-critic": {},
    "grpo": {},
    "dapo": {},
    "gspo": {},
    "grpo-source": {"reference": "previous_step"},
}


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def moved(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


def tied() -> PreTrainedModel:
    return llama(tie_word_embeddings=True)


@pytest.mark.parametrize("kind", ["head", "model"])
@pytest.mark.parametrize("make", [llama, gpt2, tied])
def test_the_start_policy_and_its_copies_are_the_start_model_bit_for_bit(make, kind: str) -> None:
    start = make()
    expected, hidden = logits(start), start.base_model(input_ids=IDS).last_hidden_state
    models = build(make(), CriticConfig(kind=kind), needs_reference=True, lora_rank=4)
    assert torch.equal(logits(models.policy), expected)
    assert torch.equal(logits(models.reference), expected)
    if models.trunk is not None:
        assert torch.equal(models.trunk(input_ids=IDS).last_hidden_state, hidden)


def test_in_half_precision_adapters_are_float32_and_begin_as_nothing() -> None:
    start = llama().bfloat16()
    expected = logits(start)
    models = build(start, CriticConfig(kind="model"), needs_reference=True, lora_rank=4)
    for network in (models.policy, models.trunk):
        types = {is_adapter(name): p.dtype for name, p in network.named_parameters()}
        assert types == {True: torch.float32, False: torch.bfloat16}
    assert torch.equal(logits(models.policy), expected)


@pytest.mark.parametrize(("make", "layers"), [(llama, 7), (gpt2, 4)])
def test_every_linear_layer_but_the_output_embedding_has_an_adapter(make, layers: int) -> None:
    models = build(make(), None, needs_reference=False, lora_rank=3)
    adapted = {name.partition(".lora_")[0] for name, _ in models.policy.named_parameters() if is_adapter(name)}
    assert len(adapted) == 2 * layers  # in each of two layers
    assert all(".h." in name or ".layers." in name for name in adapted)
    assert {name for name, p in models.policy.named_parameters() if p.requires_grad} == {
        f"{name}.lora_{matrix}.default.weight" for name in adapted for matrix in "AB"
    }


@pytest.mark.parametrize(
    ("make", "path"), [(llama, "model.layers.1.mlp.down_proj"), (gpt2, "transformer.h.1.mlp.c_proj")]
)
def test_a_layer_adds_twice_b_a_x_whatever_the_rank(make, path: str) -> None:
    for rank in (1, 3):
        layer = build(make(), None, needs_reference=False, lora_rank=rank).policy.get_submodule(path)
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        assert down.shape[0] == up.shape[1] == rank
        with torch.no_grad():
            up.normal_()
            x = torch.randn(5, down.shape[1])
            torch.testing.assert_close(layer(x), layer.base_layer(x) + 2 * x @ down.T @ up.T)


def test_a_seed_draws_the_adapters_and_nothing_else_does() -> None:
    def drawn(seed: int, other: int) -> Tensor:
        policy = llama()
        torch.manual_seed(other)
        before = torch.get_rng_state()
        build(policy, None, needs_reference=False, lora_rank=2, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        return torch.cat([p.detach().flatten() for n, p in policy.named_parameters() if ".lora_A." in n])

    assert torch.equal(drawn(1, 5), drawn(1, 6))
    assert not torch.equal(drawn(1, 5), drawn(2, 5))
    assert 0 < float(drawn(1, 5).abs().max()) <= 0.25  # uniform within 1 / sqrt(inputs), of which 16 are fewest


def test_a_runs_seed_draws_the_adapters() -> None:
    first, again, other = (state(trainer("grpo", seed=seed).models.policy) for seed in (0, 0, 1))
    for name, start in first.items():
        assert torch.equal(start, again[name])
        assert torch.equal(start, other[name]) is (".lora_A." not in name), name


@pytest.mark.parametrize("make", [llama, gpt2])
def test_frozen_tensors_are_there_once_and_adapters_of_each_network(make) -> None:
    models = build(make(), CriticConfig(kind="model"), needs_reference=True, lora_rank=2)
    own = dict(models.policy.named_parameters())
    trunk = {f"{models.policy.base_model_prefix}.{name}": p for name, p in models.trunk.named_parameters()}
    assert set(trunk) <= set(own)
    for copied in (dict(models.reference.named_parameters()), trunk):
        for name, parameter in copied.items():
            shared = parameter.data_ptr() == own[name].data_ptr()
            assert shared is not is_adapter(name), name
    assert not any(p.requires_grad for p in models.reference.parameters())
    trained = [*models.value_head.parameters(), *(p for name, p in trunk.items() if is_adapter(name))]
    assert {id(p) for p in models.value_parameters()} == {id(p) for p in trained}


@pytest.mark.parametrize("name", CASES)
def test_only_adapters_and_the_value_head_learn(name: str) -> None:
    made = trainer(name, **CASES[name])
    policy, trunk = made.models.policy, made.models.trunk
    before, start = state(policy), logits(policy)
    trunk_before = state(trunk) if trunk is not None else {}
    held = {id(p) for group in made._learner.optimizer.param_groups for p in group["params"]}
    networks = [m for m in (policy, trunk) if m is not None]
    head = [] if made.models.value_head is None else made.models.value_head.parameters()
    adapters = [p for network in networks for name, p in network.named_parameters() if is_adapter(name)]
    assert held == {id(p) for p in (*adapters, *head)}
    list(made.updates(2))
    assert moved(before, policy) == {name for name in before if is_adapter(name)}
    assert not torch.equal(logits(policy), start)
    if made.models.value_head is not None:
        assert bool(made.models.value_head.weight.any())
    if trunk is not None:
        assert moved(trunk_before, trunk) == {name for name in trunk_before if is_adapter(name)}


@pytest.mark.parametrize("name", ["ppo", "ppo-critic", "grpo", "gspo"])
def test_the_reference_stays_the_start_model(name: str) -> None:
    made = trainer(name)
    start = logits(made.models.policy)
    list(made.updates(2))
    assert torch.equal(logits(made.models.reference), start)
    assert not torch.equal(logits(made.models.policy), start)


def test_a_reference_of_the_previous_step_follows_by_its_adapters() -> None:
    made = trainer("grpo-source", reference="previous_step")
    list(made.updates(1))
    before = logits(made.models.policy)
    list(made.updates(1))
    assert torch.equal(logits(made.models.reference), before)
    assert not torch.equal(logits(made.models.policy), before)


def test_a_critic_of_its_own_learns_and_leaves_the_policy_alone() -> None:
    made = trainer("ppo-critic", critic={"kind": "model", "warmup_updates": 2})
    before, trunk = state(made.models.policy), state(made.models.trunk)
    list(made.updates(2))
    assert moved(before, made.models.policy) == set()
    assert moved(trunk, made.models.trunk) == {name for name in trunk if is_adapter(name)}


def test_values_of_a_trunk_with_adapters_move_apart_from_the_policys() -> None:
    def read(models: Models) -> Tensor:
        rollouts = HuggingFaceEngine(models.policy, PAD, (END,), 4, 1.0).generate(prompts((3, 4)), 2, uniforms(4, 2))
        return values(models, pack(join(rollouts, PAD), torch.arange(2)))

    models = build(llama(), CriticConfig(kind="model"), needs_reference=False, lora_rank=2)
    with torch.no_grad():
        models.value_head.weight.fill_(1.0)
        before = read(models)
        for name, parameter in models.trunk.named_parameters():
            if is_adapter(name):
                parameter.add_(0.5)
        assert not torch.equal(read(models), before)
    assert torch.equal(logits(models.policy), logits(llama()))


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_learning_raises_the_reward(name: str) -> None:
    made = trainer(name, TRAIN.model_copy(update={"beta": 0.0}), task=AnyLetter())
    rewards = [record.metrics["reward_mean"] for record in made.updates(30)]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.2


def test_the_first_completions_are_those_without_adapters() -> None:
    def first(rank: int | None) -> UpdateRecord:
        return next(trainer("grpo", TRAIN.model_copy(update={"lora_rank": rank})).updates(1))

    assert torch.equal(first(2).scored.rollouts.completion_BT, first(None).scored.rollouts.completion_BT)


def test_sampled_log_probabilities_are_those_of_the_frozen_start_model_bit_for_bit() -> None:
    """Frozen, because torch chooses some of its kernels by whether a weight is trained."""

    def sampled(model: PreTrainedModel) -> Tensor:
        engine = HuggingFaceEngine(model, PAD, (END,), 6, 1.0)
        return engine.generate(prompts((3, 4, 5), (6, 7)), 32, uniforms(6, 64)).logp_BT

    policy = build(llama(), None, needs_reference=False, lora_rank=2).policy
    assert torch.equal(sampled(policy), sampled(llama().requires_grad_(False)))
    torch.testing.assert_close(sampled(policy), sampled(llama()), atol=1e-5, rtol=0)


def test_a_copied_trainer_has_one_base_and_leaves_the_other_as_it_was() -> None:
    made, twin = trainer("ppo-critic"), trainer("ppo-critic")
    peaks = measure_costs(made).peaks
    copied = copy.deepcopy(made)
    own = dict(copied.models.policy.named_parameters())
    assert all(p is own[name] for name, p in copied.models.reference.named_parameters() if not is_adapter(name))
    next(copied.updates(1))
    next(made.updates(1))
    next(twin.updates(1))
    assert moved(state(twin.models.policy), made.models.policy) == set()
    assert moved(state(made.models.policy), copied.models.policy) == set()
    held = {row.role: row.own_peak_bytes for row in peaks if row.phase == TOTAL}
    frozen_bytes = 4 * sum(p.numel() for p in made.models.policy.parameters() if not p.requires_grad)
    adapter_bytes = 4 * sum(p.numel() for p in made.models.policy_parameters())
    buffer_bytes = sum(b.numel() * b.element_size() for b in made.models.policy.buffers())
    assert held["policy.params"] == frozen_bytes + adapter_bytes + buffer_bytes
    assert held["reference.params"] == adapter_bytes + buffer_bytes
    assert held["value.params"] == adapter_bytes + buffer_bytes + 4 * 17  # a head on 16 hidden units
    assert held["policy.grads"] == adapter_bytes


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"lora_rank 2: LoRA needs peft.*pip install 'ppo-vs-grpo\[lora\]'"):
        build(llama(), None, needs_reference=False, lora_rank=2)
    assert build(llama(), None, needs_reference=False).policy is not None


def test_a_model_without_linear_layers_is_refused() -> None:
    with pytest.raises(UserError, match="lora_rank 2: Table has no linear layers beside its output embedding"):
        build(Table(), None, needs_reference=False, lora_rank=2)

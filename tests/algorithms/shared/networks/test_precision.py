"""Products in bfloat16 over weights in float32: which operations are, what stays, and how far the numbers move."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from copying import gpt2, llama
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, TrainConfig
from ppo_vs_grpo.algorithms.shared.networks import likelihood
from ppo_vs_grpo.algorithms.shared.networks.models import build, policy_output
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import Prompts
from ppo_vs_grpo.benchmarks.profile.flops import measure_costs
from ppo_vs_grpo.benchmarks.profile.memory import TOTAL
from ppo_vs_grpo.benchmarks.profile.predict import predict_run
from ppo_vs_grpo.tasks.base import Problem
from small_trainer import AnyLetter, trainer

aten = torch.ops.aten
PRODUCTS = (aten.mm, aten.addmm, aten.bmm, aten._scaled_dot_product_flash_attention_for_cpu)
HALF = TrainConfig(
    prompts_per_update=4, group_size=4, learning_rate=1e-2, warmup_completions=0, beta=0.01, dtype="bfloat16"
)
PROMPTS = Prompts((Problem("a"), Problem("b")), ((5, 6, 7), (8, 9, 10, 11)))


class Types(TorchDispatchMode):
    """Counts products by the type of their operands, and casts of matrices to bfloat16; `wide` are products of float32
    other than those of a linear layer with one output, as a value head is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[torch.dtype] = Counter()
        self.casts = self.wide = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket in PRODUCTS:
            left, right = args[-2:] if func.overloadpacket in PRODUCTS[:3] else args[:2]
            self.products[left.dtype] += 1
            self.wide += left.dtype == torch.float32 and 1 not in (*left.shape, *right.shape)
        if func.overloadpacket is aten._to_copy and (kwargs or {}).get("dtype") == torch.bfloat16:
            self.casts += isinstance(args[0], torch.nn.Parameter) and args[0].dim() == 2
        return func(*args, **(kwargs or {}))


def half_trainer(name: str, **changes: Any) -> Trainer:
    return trainer(name, train=HALF.model_copy(update=changes), task=AnyLetter())


def engine(model: PreTrainedModel, dtype: torch.dtype = torch.bfloat16, **options: Any) -> HuggingFaceEngine:
    return HuggingFaceEngine(model, pad=0, ends=(), max_new_tokens=6, temperature=1.0, dtype=dtype, **options)


def half(model: PreTrainedModel) -> PreTrainedModel:
    return build(model, None, needs_reference=False, dtype=torch.bfloat16).policy


def completed(model: PreTrainedModel, **options: Any) -> Any:
    return engine(model, **options).generate(PROMPTS, 4, None)


def gradient(make: Callable[[], PreTrainedModel], dtype: torch.dtype, **options: Any) -> tuple[Tensor, Tensor]:
    """Log-probabilities of some completions, and their sum's gradient."""
    torch.manual_seed(0)
    models = build(make(), CriticConfig(kind="model"), needs_reference=False, dtype=dtype, **options)
    rollouts = engine(make().eval(), torch.float32).generate(PROMPTS, 4, None)
    packed = pack(join(rollouts, 0, models.packed), torch.arange(8))
    output = policy_output(models, packed, 1.0, detach_trunk=False)
    output.logp_BT.masked_fill(~packed.mask_bT, 0.0).sum().backward()
    grads = [p.grad for p in models.policy.parameters() if p.grad is not None]
    assert {grad.dtype for grad in grads} == {torch.float32}
    return output.logp_BT.detach(), torch.cat([grad.flatten() for grad in grads])


@pytest.mark.parametrize("arm", ["ppo", "ppo-critic", "grpo"])
def test_every_product_is_bfloat16_but_the_value_heads(arm: str) -> None:
    made = half_trainer(arm, learning_rate=1e-6)
    with Types() as seen:
        (record,) = made.updates(1)
    assert seen.products[torch.bfloat16] > 100
    assert made.engine.dtype == torch.bfloat16
    assert seen.wide == 0
    assert 0 < float(record.metrics["ratio_error_max"] or 0) < 0.1


@pytest.mark.parametrize("arm", ["ppo", "ppo-critic", "grpo"])
def test_what_is_trained_stays_float32_and_takes_steps_that_bfloat16_would_lose(arm: str) -> None:
    made = half_trainer(arm, learning_rate=1e-6)
    before = [p.detach().clone() for p in made.models.policy_parameters()]
    list(made.updates(2))
    moved = [p.detach() - start for p, start in zip(made.models.policy_parameters(), before, strict=True)]
    assert {change.dtype for change in moved} == {torch.float32}
    assert sum(int((change != 0).sum()) for change in moved) > 0.5 * sum(change.numel() for change in moved)
    rounded = [(start + change).bfloat16() == start.bfloat16() for start, change in zip(before, moved, strict=True)]
    assert sum(int(same.sum()) for same in rounded) > 0.98 * sum(same.numel() for same in rounded)
    state = made._learner.optimizer.state.values()
    assert {moment.dtype for of in state for moment in of.values()} == {torch.float32}


@pytest.mark.parametrize("arm", ["ppo", "grpo"])
def test_it_learns_and_repeats_itself_bit_for_bit(arm: str) -> None:
    first, second = (list(half_trainer(arm, prompts_per_update=8, group_size=8).updates(30)) for _ in range(2))
    rewards = [float(record.metrics["reward_mean"] or 0) for record in first]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.2
    assert rewards == [record.metrics["reward_mean"] for record in second]
    assert torch.equal(first[-1].scored.rollouts.logp_BT, second[-1].scored.rollouts.logp_BT)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_numbers_are_near_those_of_float32(make: Callable[[], PreTrainedModel]) -> None:
    (logp, grad), (exact_logp, exact_grad) = (gradient(make, dtype) for dtype in (torch.bfloat16, torch.float32))
    assert 1e-5 < float((logp - exact_logp).abs().max()) < 0.05
    assert 0.999 < float(torch.cosine_similarity(grad, exact_grad, dim=0)) < 1 - 1e-9


@pytest.mark.parametrize("make", [llama, gpt2])
def test_chunks_of_logits_and_checkpoints_compute_the_same_again(
    make: Callable[[], PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    logp, grad = gradient(make, torch.bfloat16)
    again_logp, again = gradient(make, torch.bfloat16, gradient_checkpointing=True)
    assert torch.equal(logp, again_logp)
    assert torch.equal(grad, again)
    monkeypatch.setattr(likelihood, "LOGITS_AT_ONCE", 1000)
    chunked_logp, chunked = gradient(make, torch.bfloat16)
    assert float((chunked_logp - logp).abs().max()) < 0.02
    assert float(torch.cosine_similarity(chunked, grad, dim=0)) > 0.9999


@pytest.mark.parametrize("options", [{}, {"rows_at_once": 2}, {"static": True}])
@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_rollout_casts_each_weight_once(make: Callable[[], PreTrainedModel], options: dict[str, Any]) -> None:
    model = half(make())
    with Types() as seen:
        completed(model, **options)
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "emb" not in name and "wpe" not in name]
    assert 0 < seen.casts <= len(matrices) + 1
    assert set(seen.products) == {torch.bfloat16}


@pytest.mark.parametrize("options", [{}, {"rows_at_once": 2}])
def test_the_cache_is_bfloat16(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    types: set[torch.dtype] = set()
    model = half(llama())

    def look(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        types.update(t.dtype for layer in kwargs["past_key_values"].layers for t in (layer.keys, layer.values))

    model.register_forward_hook(look, with_kwargs=True)
    completed(model, **options)
    assert types == {torch.bfloat16}


def test_a_pass_that_fails_leaves_nothing_on_and_a_copy_is_on_its_own() -> None:
    model = half(llama())
    other = copy.deepcopy(model)
    with pytest.raises(ValueError, match="input_ids"):
        model()
    assert not torch.is_autocast_enabled("cpu")
    with torch.no_grad():
        other.lm_head.weight.zero_()
        logits = [each(input_ids=torch.tensor([[5, 6]])).logits for each in (model, other)]
    assert float(logits[0].abs().max()) > 0
    assert float(logits[1].abs().max()) == 0
    assert {each.dtype for each in logits} == {torch.bfloat16}


@pytest.mark.parametrize("arm", ["ppo", "ppo-critic", "grpo"])
def test_memory_is_predicted(arm: str) -> None:
    made = half_trainer(arm, max_new_tokens=8)
    made.engine = replace(made.engine, ends=())
    made.collector = replace(made.collector, engine=made.engine)
    tracked, predicted = (
        {peak.role: peak.bytes_at_total_peak for peak in peaks if peak.phase == TOTAL}
        for peaks in (measure_costs(made).peaks, predict_run(made))
    )
    for role in ("policy.params", "policy.grads", "policy.adam"):
        assert tracked.get(role) == predicted.get(role)
    assert sum(predicted.values()) == pytest.approx(sum(tracked.values()), rel=0.05)

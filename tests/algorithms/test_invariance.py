"""What must not change an algorithm's numbers: partition, order, padding, the pad token, the dtype of its inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad as padded
from transformers import PreTrainedModel

from copying import END, PAD, VOCABULARY, gpt2, prompts, uniforms
from ppo_vs_grpo.algorithms import ALGORITHMS, entry, find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared import update as update_module
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, over_rows, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Advantages, Batch, Context, Rollouts, ScoredRollouts
from ppo_vs_grpo.algorithms.shared.update import learner, update

TOKENS, ROWS = 10, 24
TRAIN = TrainConfig(
    mini_batches=1,
    beta=0.1,
    warmup_completions=0,
    prompts_per_update=3,
    group_size=8,
    max_new_tokens=TOKENS,
    temperature=0.7,
    learning_rate=1e-30,
    max_grad_norm=1e9,  # gradients are read after the step, which scales them
)
Shape = Callable[..., PreTrainedModel]
EVERY = pytest.mark.parametrize("name", ALGORITHMS)
KL_IN_LOSS = ("grpo", "grpo-source", "dr-grpo", "dapo", "gspo", "vine-ppo", "grpo-value")
CRITICS = ("ppo", "ppo-critic", "ppo-flat", "grpo-value")
TERMS = {"whole": tuple(ALGORITHMS), "value": CRITICS, "kl": KL_IN_LOSS}


def algorithm_of(name: str, train: TrainConfig = TRAIN, **config: object) -> tuple[Algorithm, TrainConfig]:
    """An algorithm with the settings that its name declares, but with a reference penalty where it has one."""
    declared, kind = entry(name), find(name)
    train = train.model_copy(update={**declared.train(train), "beta": train.beta})
    return kind(kind.Config.model_validate({**declared.config, **config}), train), train


def models_of(
    algorithm: Algorithm, train: TrainConfig, dtype: torch.dtype = torch.float64, make: Shape = gpt2
) -> Models:
    """A policy, a reference that differs from it, and a critic whose head is not zero, each where it is needed.

    A GPT-2 shape: the Llama shape's norms are float32 whatever the model's dtype.
    """
    models = build(make().to(dtype), algorithm.needs.critic, needs_reference=False)
    if models.value_head is not None:
        with torch.no_grad():
            models.value_head.weight.normal_(generator=torch.Generator().manual_seed(1))
    reference = make(seed=5).to(dtype).requires_grad_(False) if train.beta > 0 else None
    return replace(models, reference=reference)


def asked(train: TrainConfig) -> list[tuple[int, ...]]:
    """Prompts of one to four tokens; pad and end are among them, which no length may be read from."""
    rng = np.random.default_rng(3)
    return [tuple(rng.integers(0, VOCABULARY, 1 + i % 4).tolist()) for i in range(train.prompts_per_update)]


def sampled(models: Models, train: TrainConfig, pad: int = PAD, beside: tuple[int, ...] | None = None) -> Rollouts:
    """24 ragged rows of the policy; `beside` is one more prompt, as long as one likes, whose rows are dropped."""
    ids = asked(train) + ([beside] if beside else [])
    engine = HuggingFaceEngine(models.policy, pad, END, TOKENS, train.temperature)
    numbers = uniforms(TOKENS, ROWS + train.group_size)[:, : len(ids) * train.group_size]
    made = engine.generate(prompts(*ids), train.group_size, numbers)
    return made.rows(torch.arange(ROWS))


def scored_of(rollouts: Rollouts) -> ScoredRollouts:
    rewards_B = torch.as_tensor(np.random.default_rng(0).random(ROWS), dtype=torch.float32)
    return ScoredRollouts(rollouts, rewards_B, rewards_B > 0.5, {})


def context_of(models: Models, algorithm: Algorithm, train: TrainConfig, rollouts: Rollouts, pad: int = PAD) -> Context:
    """What the trainer asks the models; random numbers stand in for the means of fresh continuations."""
    sequences, reference = join(rollouts, pad), models.reference
    values_BT = None
    if models.value_head is not None:
        values_BT = over_rows(sequences, 99, lambda packed: values(models, packed))
    elif algorithm.needs.continuations:
        random_BT = torch.as_tensor(np.random.default_rng(1).random((ROWS, TOKENS + 9)), dtype=torch.float32)
        values_BT = random_BT[:, : rollouts.mask_BT.shape[1]] * rollouts.mask_BT
    if reference is None:
        return Context(None, values_BT)
    return Context(over_rows(sequences, 99, lambda packed: logp(reference, packed, train.temperature)), values_BT)


@dataclass(frozen=True)
class Seen:
    """An update's advantages, its gradients by parameter group, and what it reports."""

    advantages: Advantages
    policy: Tensor
    critic: Tensor
    metrics: dict[str, float | None]


def gradient(parameters: list[torch.nn.Parameter]) -> Tensor:
    return torch.cat([torch.zeros(1).double()] + [p.grad.flatten().double() for p in parameters if p.grad is not None])


def batch_of(scored: ScoredRollouts, context: Context, made: Advantages) -> Batch:
    """Half of the rows were sampled by a policy that has moved since: ratios other than 1, some of them clipped."""
    rollouts = scored.rollouts
    moved_BT = 0.3 * torch.sin(7 * rollouts.logp_BT) * (scored.rewards_B > 0.5)[:, None]
    return Batch(
        mask_BT=rollouts.mask_BT,
        logp_old_BT=rollouts.logp_BT + moved_BT,
        advantages_BT=made.advantages_BT,
        reference_logp_BT=context.reference_logp_BT,
        values_old_BT=context.values_BT if made.returns_BT is not None else None,
        returns_BT=made.returns_BT,
    )


def learned(
    models: Models,
    algorithm: Algorithm,
    train: TrainConfig,
    scored: ScoredRollouts,
    context: Context,
    *,
    pad: int = PAD,
    critic_only: bool = False,
    silent: bool = False,
) -> Seen:
    """One optimizer step too small to move a weight; `silent` sets the advantages to 0, which leaves the KL."""
    made = algorithm.advantages(scored, context)
    batch = batch_of(scored, context, made)
    if silent:
        batch = replace(batch, advantages_BT=torch.zeros_like(batch.advantages_BT))
    sequences = join(scored.rollouts, pad)
    learning = learner(models, algorithm, train)
    metrics = update(learning, algorithm, sequences, batch, np.random.default_rng(7), critic_only)
    assert metrics["optimizer_steps"] == 1
    for name in ("gradient_signal", "gradient_trace"):  # of a step's halves: a step of one pass has none
        metrics.pop(name)
    return Seen(made, gradient(models.policy_parameters()), gradient(models.value_parameters()), metrics)


@functools.cache
def prepared(name: str, make: Shape = gpt2) -> tuple[Models, Algorithm, TrainConfig, ScoredRollouts, Context]:
    algorithm, train = algorithm_of(name)
    models = models_of(algorithm, train, make=make)
    rollouts = sampled(models, train)
    return models, algorithm, train, scored_of(rollouts), context_of(models, algorithm, train, rollouts)


def assert_same(seen: Seen, expected: Seen) -> None:
    """Gradients to 1e-6 of their norm, and every number reported."""
    for ours, theirs in ((seen.policy, expected.policy), (seen.critic, expected.critic)):
        assert float((ours - theirs).norm()) <= 1e-6 * float(theirs.norm())
    known = {name: value for name, value in expected.metrics.items() if value is not None}
    assert {name: value for name, value in seen.metrics.items() if value is not None} == pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize(("term", "name"), [(term, name) for term, names in TERMS.items() for name in names])
def test_no_partition_into_micro_batches_changes_a_gradient(
    term: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the whole loss, of the value error alone, and of the KL alone; entropy is no term of a loss but a metric."""
    models, algorithm, train, scored, context = prepared(name)
    options = {"critic_only": term == "value", "silent": term == "kl"}
    whole = learned(
        models, algorithm, train.model_copy(update={"micro_batch_tokens": 10_000}), scored, context, **options
    )
    assert float((whole.critic if term == "value" else whole.policy).norm()) > 1e-4
    single = train.model_copy(update={"micro_batch_tokens": 1})
    assert_same(learned(models, algorithm, single, scored, context, **options), whole)
    uneven = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2)).split([1, 15, 3, 5])
    monkeypatch.setattr(update_module, "micro_batches_by_half", lambda *_: (list(uneven), []))
    assert_same(learned(models, algorithm, train, scored, context, **options), whole)


@EVERY
def test_permuting_the_rows_permutes_the_advantages_and_leaves_the_gradient(name: str) -> None:
    models, algorithm, train, scored, context = prepared(name)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    moved = Context(**{f.name: t if (t := getattr(context, f.name)) is None else t[order] for f in fields(context)})
    straight = learned(models, algorithm, train, scored, context)
    permuted = learned(models, algorithm, train, scored.rows(order), moved)
    for ours, theirs in (
        (permuted.advantages.advantages_BT, straight.advantages.advantages_BT),
        (permuted.advantages.returns_BT, straight.advantages.returns_BT),
    ):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            torch.testing.assert_close(ours, theirs[order], atol=1e-6, rtol=1e-6)
    assert_same(permuted, straight)


def with_columns(rollouts: Rollouts, count: int) -> Rollouts:
    """More columns on the right; what stands in them is a token like any other, so only the mask tells."""
    wide = {f.name: t for f in fields(rollouts) if isinstance(t := getattr(rollouts, f.name), Tensor) and t.dim() == 2}
    return replace(rollouts, **{n: padded(t, (0, count), value=9 * (n == "completion_BT")) for n, t in wide.items()})


@EVERY
def test_columns_of_padding_change_nothing(name: str) -> None:
    models, algorithm, train, scored, context = prepared(name)
    wide = with_columns(scored.rollouts, 5)
    narrow = learned(models, algorithm, train, scored, context)
    seen = learned(models, algorithm, train, replace(scored, rollouts=wide), context_of(models, algorithm, train, wide))
    for ours, theirs in (
        (seen.advantages.advantages_BT, narrow.advantages.advantages_BT),
        (seen.advantages.returns_BT, narrow.advantages.returns_BT),
    ):
        if ours is not None and theirs is not None:
            torch.testing.assert_close(ours, padded(theirs, (0, 5)), atol=1e-6, rtol=1e-6)
            assert not ours[~wide.mask_BT].any()
    assert_same(seen, narrow)


@EVERY
@pytest.mark.parametrize(("pad", "beside"), [(PAD, (7,) * 12), (END, None)], ids=["wide", "end"])
def test_the_width_of_prompts_and_the_pad_token_change_nothing(
    name: str, pad: int, beside: tuple[int, ...] | None
) -> None:
    models, algorithm, train, scored, context = prepared(name)
    expected = learned(models, algorithm, train, scored, context)
    rollouts = sampled(models, train, pad, beside)
    for row, tokens in enumerate(scored.rollouts.mask_BT.sum(1).tolist()):
        assert rollouts.completion_BT[row, :tokens].tolist() == scored.rollouts.completion_BT[row, :tokens].tolist()
    assert torch.equal(rollouts.mask_BT, scored.rollouts.mask_BT)
    assert torch.equal(rollouts.ended_B, scored.rollouts.ended_B)
    torch.testing.assert_close(rollouts.logp_BT, scored.rollouts.logp_BT, atol=1e-6, rtol=0)
    again = context_of(models, algorithm, train, rollouts, pad)
    seen = learned(models, algorithm, train, scored_of(rollouts), again, pad=pad)
    torch.testing.assert_close(seen.advantages.advantages_BT, expected.advantages.advantages_BT, atol=1e-5, rtol=1e-5)
    assert_same(seen, expected)


@EVERY
def test_single_and_double_precision_give_the_same_advantages(name: str) -> None:
    _, algorithm, _, scored, context = prepared(name)
    twice = Context(**{f.name: t if (t := getattr(context, f.name)) is None else t.double() for f in fields(context)})
    rollouts = replace(scored.rollouts, logp_BT=scored.rollouts.logp_BT.double())
    made = algorithm.advantages(scored, context)
    double = algorithm.advantages(replace(scored, rollouts=rollouts, rewards_B=scored.rewards_B.double()), twice)
    assert made.advantages_BT.dtype == torch.float32
    assert double.advantages_BT.dtype == torch.float64
    torch.testing.assert_close(made.advantages_BT.double(), double.advantages_BT, atol=1e-6, rtol=1e-6)
    if made.returns_BT is not None and double.returns_BT is not None:
        torch.testing.assert_close(made.returns_BT.double(), double.returns_BT, atol=1e-6, rtol=1e-6)


@EVERY
def test_a_bf16_model_gives_float32_numbers_and_a_finite_step(name: str) -> None:
    algorithm, train = algorithm_of(name)
    models = models_of(algorithm, train, torch.bfloat16)
    rollouts = sampled(models, train)
    packed = pack(join(rollouts, PAD), torch.arange(ROWS))
    output = policy_output(models, packed, train.temperature, detach_trunk=False, with_kl=True)
    context = context_of(models, algorithm, train, rollouts)
    seen = learned(models, algorithm, train, scored_of(rollouts), context)
    numbers = [rollouts.logp_BT, seen.advantages.advantages_BT, context.reference_logp_BT, context.values_BT]
    numbers += [getattr(output, f.name) for f in fields(output)]
    assert {t.dtype for t in numbers if t is not None} == {torch.float32}
    assert bool(seen.policy.isfinite().all())
    assert float(seen.policy.norm()) > 0

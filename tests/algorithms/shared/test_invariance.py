"""What must not change an algorithm's numbers: partition, order, padding, the pad token, the dtype of its inputs."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch.nn.functional import pad as padded

from batches import ROWS, Seen, algorithm_of, context_of, learned, models_of, prepared, sampled, scored_of, with_columns
from copying import END, PAD
from ppo_vs_grpo.algorithms import ALGORITHMS
from ppo_vs_grpo.algorithms.shared import update as update_module
from ppo_vs_grpo.algorithms.shared.networks.models import policy_output
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, pack
from ppo_vs_grpo.algorithms.shared.types import Context

EVERY = pytest.mark.parametrize("name", ALGORITHMS)
KL_IN_LOSS = ("grpo", "grpo-source", "dr-grpo", "dapo", "gspo", "vine-ppo", "grpo-value")
CRITICS = ("ppo", "ppo-critic", "ppo-flat", "evpo", "sao", "grpo-value")
TERMS = {"whole": tuple(ALGORITHMS), "value": CRITICS, "kl": KL_IN_LOSS}


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

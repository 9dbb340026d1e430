"""Do sampler and update read a model as it reads itself? Asked of a start model before it is trained.

Some models keep more between tokens than keys and values; some count places by what stands beside a row. What is
sampled is then not what is trained, and no metric of a run would say so.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Packed, Sequences, join, over_rows
from ppo_vs_grpo.algorithms.shared.networks.vocabulary import vocabulary_tokens
from ppo_vs_grpo.algorithms.shared.rollout.decoding import Room
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Prompts, Rollouts
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.splits import rng

TOLERANCE, COARSE = 1e-3, 0.5
"""Nats by which a token's log-probability may differ. Right models differ by 1e-5 in float32, by 0.1 in bfloat16."""

GROUP, TOKENS, BUDGET_TOKENS = 2, 12, 2048


def check_agreement(engine: HuggingFaceEngine, models: Models, prompts: Prompts) -> None:
    """Raise UserError where sampler or update give tokens other log-probabilities than one plain forward pass does.

    Prompts are cut to unequal lengths; rows go on to the limit together, then leave one by one. On CUDA the steps with
    fixed shapes are taken without being compiled. With a critic, values are compared as they are read in collecting and
    in updating.
    """
    name = type(models.policy).__name__
    longest = max(map(len, prompts.ids)) + engine.max_new_tokens
    if longest > (limit := plain_positions(models.policy)):
        raise UserError(
            f"start: {name} reads rows of more than {limit} tokens with other positions than shorter ones, so what is "
            f"sampled is not what is trained; prompts and max_new_tokens may have up to {longest} together"
        )
    try:
        _check(engine, models, prompts)
    except (UserError, torch.OutOfMemoryError):
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"start: {name} cannot be trained here: its forward pass does not bear how sampler or update call it: "
            f"{type(error).__name__}: {error}"
        ) from error


def _check(engine: HuggingFaceEngine, models: Models, prompts: Prompts) -> None:
    check_causal(models.policy, prompts.ids[0])
    if "past_key_values" not in inspect.signature(models.policy.forward).parameters:
        raise UserError(
            f"start: {type(models.policy).__name__} cannot be sampled here: it takes no past_key_values (keys and "
            "values of the tokens before)"
        )
    shortest = min(map(len, prompts.ids))
    uneven = Prompts(prompts.problems, tuple(ids[: max(1, shortest - i)] for i, ids in enumerate(prompts.ids)))
    tokens = min(TOKENS, engine.max_new_tokens)
    numbers_TB = rng("agreement", "start", 0, 0).random((tokens, GROUP * len(uneven.ids)), dtype="float32")
    endless = replace(engine, ends=(), room=Room(forward=models.policy))  # given, so that it is not compiled
    whole = endless.generate(uneven, GROUP, numbers_TB, tokens)
    _compare(models, whole, engine)
    for row in (0, -1):
        leaving = replace(endless, ends=(int(whole.completion_BT[row, tokens // 2]),))
        _compare(models, leaving.generate(uneven, GROUP, numbers_TB, tokens), engine)


@torch.no_grad()
def check_causal(model: PreTrainedModel, prompt: Sequence[int]) -> None:
    """Raise UserError where a token changes what the tokens before it say."""
    ids = [*prompt, *prompt]
    other = [*ids[:-1], (ids[-1] + 1) % vocabulary_tokens(model)]
    one, two = (
        model(input_ids=torch.tensor([row], device=model.device), use_cache=False).logits[0, :-1].float()
        for row in (ids, other)
    )
    if not torch.equal(one, two) and not torch.allclose(one, two, atol=COARSE / 10, rtol=0):
        raise UserError(
            f"start: {type(model).__name__} is no causal language model: its tokens see those after them "
            f"(is_decoder of its config is {getattr(model.config, 'is_decoder', 'not set')})"
        )


def plain_positions(model: PreTrainedModel) -> float:
    """How many tokens a row may have before the model turns all its positions otherwise; usually any number."""
    ropes = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    nested = [ropes, *(part for part in ropes.values() if isinstance(part, dict))]
    changing = [rope for rope in nested if rope.get("rope_type") in ("dynamic", "longrope")]
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", math.inf)
    return min((rope.get("original_max_position_embeddings") or longest for rope in changing), default=math.inf)


def _compare(models: Models, rollouts: Rollouts, engine: HuggingFaceEngine) -> None:
    plain_BT = plain_logp(models, rollouts, engine.temperature)
    sequences = join(rollouts, engine.pad, models.packed)
    if models.value_head is not None:
        _compare_values(models, sequences, engine)
    read_BT = over_rows(sequences, BUDGET_TOKENS, lambda packed: logp(models.policy, packed, engine.temperature))
    tolerance = _tolerance(models, engine)
    for who, found_BT in (("sampler", rollouts.logp_BT), ("update", read_BT)):
        apart = float((found_BT - plain_BT)[rollouts.mask_BT].abs().max())
        if not apart <= tolerance:  # NaN is no agreement
            raise UserError(
                f"start: {type(models.policy).__name__} cannot be trained here: the {who}'s log-probabilities differ "
                f"by up to {apart:.2g} nats from those of one plain forward pass of the same tokens"
            )


def _tolerance(models: Models, engine: HuggingFaceEngine) -> float:
    return COARSE if torch.bfloat16 in (engine.dtype, models.policy.dtype) else TOLERANCE


def _compare_values(models: Models, sequences: Sequences, engine: HuggingFaceEngine) -> None:
    """Ask a head that is not zero, as the run's is at its start."""
    assert models.value_head is not None
    head = nn.Linear(models.value_head.in_features, 1, device=models.policy.device)
    with torch.no_grad():
        head.weight.copy_(torch.linspace(-1, 1, head.in_features))
    asked = replace(models, value_head=head)
    collecting_BT = over_rows(sequences, BUDGET_TOKENS, lambda packed: values(asked, packed))

    def updating(packed: Packed) -> Tensor:
        values_bT = policy_output(asked, packed, engine.temperature, detach_trunk=False).values_BT
        assert values_bT is not None
        return values_bT

    updating_BT = over_rows(sequences, BUDGET_TOKENS, updating)
    apart, scale = float((updating_BT - collecting_BT).abs().max()), float(collecting_BT.abs().max())
    if not apart <= _tolerance(models, engine) * max(scale, 1.0):
        raise UserError(
            f"start: {type(models.policy).__name__} cannot have a critic here: a value is read {apart:.2g} apart in "
            "collecting and in updating"
        )


@torch.no_grad()
def plain_logp(models: Models, rollouts: Rollouts, temperature: float) -> Tensor:
    """Log-probability of each completion token by the model's own forward pass, a row at a time, no cache: (B, T)."""
    found_BT = torch.zeros_like(rollouts.logp_BT)
    for row, group in enumerate(rollouts.group_B.tolist()):
        prompt: Sequence[int] = rollouts.prompts.ids[group]
        completion_t = rollouts.completion_BT[row][rollouts.mask_BT[row]]
        ids_1L = torch.cat([completion_t.new_tensor(prompt), completion_t])[None]
        logits_LV = models.policy(input_ids=ids_1L, use_cache=False).logits[0].float() / temperature
        log_probs_tV = torch.log_softmax(logits_LV[len(prompt) - 1 : -1], -1)
        found_BT[row, : len(completion_t)] = log_probs_tV.gather(1, completion_t[:, None])[:, 0]
    return found_BT

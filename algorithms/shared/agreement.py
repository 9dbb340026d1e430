"""Do sampler and update read a model as it reads itself? Asked of a start model before it is trained.

Some models keep more between tokens than keys and values; some count places by what stands beside a row. What is
sampled is then not what is trained, and no metric of a run would say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, over_rows
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

    Prompts are cut to unequal lengths; rows go on to the limit together, then leave one by one.
    """
    shortest = min(map(len, prompts.ids))
    uneven = Prompts(prompts.problems, tuple(ids[: max(1, shortest - i)] for i, ids in enumerate(prompts.ids)))
    tokens = min(TOKENS, engine.max_new_tokens)
    numbers_TB = rng("agreement", "start", 0, 0).random((tokens, GROUP * len(uneven.ids)), dtype="float32")
    static = False if models.policy.device.type == "cuda" else engine.static  # there, a step would be compiled
    endless = replace(engine, ends=(), static=static, room=Room())
    whole = endless.generate(uneven, GROUP, numbers_TB, tokens)
    _compare(models, whole, engine)
    for row in (0, -1):
        leaving = replace(endless, ends=(int(whole.completion_BT[row, tokens // 2]),))
        _compare(models, leaving.generate(uneven, GROUP, numbers_TB, tokens), engine)


def _compare(models: Models, rollouts: Rollouts, engine: HuggingFaceEngine) -> None:
    plain_BT = plain_logp(models, rollouts, engine.temperature)
    sequences = join(rollouts, engine.pad, models.packed)
    read_BT = over_rows(sequences, BUDGET_TOKENS, lambda packed: logp(models.policy, packed, engine.temperature))
    coarse = torch.bfloat16 in (engine.dtype, models.policy.dtype)
    for who, found_BT in (("sampler", rollouts.logp_BT), ("update", read_BT)):
        apart = float((found_BT - plain_BT)[rollouts.mask_BT].abs().max())
        if not apart <= (COARSE if coarse else TOLERANCE):  # NaN is no agreement
            raise UserError(
                f"start: {type(models.policy).__name__} cannot be trained here: the {who}'s log-probabilities differ "
                f"by up to {apart:.2g} nats from those of one plain forward pass of the same tokens"
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

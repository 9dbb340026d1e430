"""Rollout: sample completions from any Hugging Face causal language model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ppo_vs_grpo.algorithms.shared.decoding import Room, decoder
from ppo_vs_grpo.algorithms.shared.types import Prompts, Rollouts

COMPACT_BELOW = 0.75
"""Finished rows leave the batch once no more than this share of it is live: copying the cache costs a step or so."""


class RolloutEngine(Protocol):
    """Anything that completes prompts with the current policy."""

    def generate(self, prompts: Prompts, group_size: int, uniforms_TB: np.ndarray | None) -> Rollouts:
        """Complete every prompt `group_size` times."""
        ...


@dataclass(frozen=True, slots=True)
class Truncation:
    """Which tokens the sampler may draw: the likeliest holding `top_p`, the `top_k` likeliest (0: all), and those
    at least `min_p` times as likely as the likeliest. The defaults leave the policy's distribution as it is.
    """

    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0

    def __call__(self, log_probs_bV: Tensor) -> Tensor:
        """Log-probabilities of the distribution to draw from: (b, V), -inf for what it leaves out."""
        if self == Truncation():
            return log_probs_bV
        ranked_bV, order_bV = log_probs_bV.sort(-1, descending=True)
        probs_bV = ranked_bV.exp()
        # A token stays while those before it hold less than top_p: the likeliest always does.
        keep_bV = (probs_bV.cumsum(-1) - probs_bV < self.top_p) & (probs_bV >= self.min_p * probs_bV[:, :1])
        if self.top_k:
            keep_bV &= torch.arange(keep_bV.shape[1], device=keep_bV.device) < self.top_k
        kept_bV = torch.zeros_like(keep_bV).scatter(1, order_bV, keep_bV)
        return torch.log_softmax(log_probs_bV.masked_fill(~kept_bV, -torch.inf), -1)


@dataclass(frozen=True, slots=True)
class HuggingFaceEngine:
    """Samples in process, on the model that is being trained.

    `static` decodes with shapes that never change, which a compiled step needs (see `decoding`); None: as the device
    likes it. The completions are the same.
    """

    model: PreTrainedModel
    pad: int
    end: int
    max_new_tokens: int
    temperature: float
    truncation: Truncation = Truncation()
    static: bool | None = None
    room: Room = field(default_factory=Room)

    @torch.no_grad()
    def generate(self, prompts: Prompts, group_size: int, uniforms_TB: np.ndarray | None) -> Rollouts:
        """Complete every prompt `group_size` times: rows of one prompt are neighbours, B = P * group_size.

        `uniforms_TB` holds the random number of each token of each row (T = max_new_tokens), so what a row samples
        does not depend on the rows beside it; None is greedy. Equal prompts are read once, finished rows are dropped.
        """
        device = self.model.device
        group_B = torch.arange(len(prompts.ids), device=device).repeat_interleave(group_size)
        rows = len(group_B)
        completion_BT = torch.full((rows, self.max_new_tokens), self.pad, dtype=torch.long, device=device)
        logp_BT = torch.zeros((rows, self.max_new_tokens), device=device)
        sampler_logp_BT = torch.zeros_like(logp_BT)
        mask_BT = torch.zeros((rows, self.max_new_tokens), dtype=torch.bool, device=device)
        uniforms = None if uniforms_TB is None else torch.as_tensor(uniforms_TB, dtype=torch.float32, device=device)

        decoding = decoder(self.model, prompts, group_B, self.pad, self.max_new_tokens, self.static, self.room)
        logits_bV = decoding.prefill()
        live = torch.arange(rows, device=device)
        going_b = torch.ones(rows, dtype=torch.bool, device=device)
        for t in range(self.max_new_tokens):
            u_b = None if uniforms is None else uniforms[t, live]
            token_b, logp_b, sampler_b = _sample(logits_bV, u_b, self.temperature, self.truncation)
            write = live[going_b]
            completion_BT[write, t] = token_b[going_b]
            logp_BT[write, t] = logp_b[going_b]
            sampler_logp_BT[write, t] = sampler_b[going_b]
            mask_BT[write, t] = True
            going_b = going_b & (token_b != self.end)
            count = int(going_b.sum())
            if count == 0 or t + 1 == self.max_new_tokens:
                break
            if decoding.can_drop_rows and count <= COMPACT_BELOW * len(live):
                keep = going_b.nonzero()[:, 0]
                decoding.keep(keep)
                live, token_b, going_b = live[keep], token_b[keep], going_b[keep]
            logits_bV = decoding.step(token_b)
        width = int(mask_BT.sum(1).max())
        ended_B = (completion_BT == self.end).logical_and(mask_BT).any(1)
        return Rollouts(
            prompts=prompts,
            group_B=group_B,
            completion_BT=completion_BT[:, :width],
            mask_BT=mask_BT[:, :width],
            logp_BT=logp_BT[:, :width],
            sampler_logp_BT=sampler_logp_BT[:, :width],
            ended_B=ended_B,
            max_tokens=self.max_new_tokens,
        )


def _sample(
    logits_bV: Tensor, u_b: Tensor | None, temperature: float, truncation: Truncation
) -> tuple[Tensor, Tensor, Tensor]:
    """The next tokens, and their log-probability by the policy and by the distribution drawn from: (b,) each."""
    log_probs_bV = torch.log_softmax(logits_bV.float() / temperature, dim=-1)
    sampler_bV = truncation(log_probs_bV)
    if u_b is None:
        token_b = log_probs_bV.argmax(-1)
    else:
        cdf_bV = sampler_bV.exp().cumsum(-1)
        threshold_b1 = u_b[:, None] * cdf_bV[:, -1:]
        token_b = torch.searchsorted(cdf_bV, threshold_b1, right=True)[:, 0].clamp(max=cdf_bV.shape[1] - 1)
    chosen_b1 = token_b[:, None]
    return token_b, log_probs_bV.gather(1, chosen_b1)[:, 0], sampler_bV.gather(1, chosen_b1)[:, 0]

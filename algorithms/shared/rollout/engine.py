"""Rollout: sample completions from any Hugging Face causal language model."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ppo_vs_grpo.algorithms.shared.networks.precision import products_in
from ppo_vs_grpo.algorithms.shared.rollout.decoding import (
    GrowingDecoder,
    Lot,
    PlacesDecoder,
    Room,
    decoder,
    takes_places,
)
from ppo_vs_grpo.algorithms.shared.rollout.stops import Stops
from ppo_vs_grpo.algorithms.shared.types import Prompts, Rollouts

COMPACT_BELOW = 0.75
"""Finished rows leave the batch once at most this share of it is live. Copying the cache costs about a step."""


class RolloutEngine(Protocol):
    """Anything that completes prompts with the current policy."""

    @property
    def pad(self) -> int:
        """The id that fills up rows."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """The limit of a completion's length."""
        ...

    def generate(
        self, prompts: Prompts, group_size: int, uniforms_TB: np.ndarray | None, limit: int | None = None
    ) -> Rollouts:
        """Complete every prompt `group_size` times, by at most `limit` tokens; None: `max_new_tokens`.

        Rows of one prompt are neighbours, B = P * group_size. `uniforms_TB` holds the random number of each token of
        each row (T at least the limit), so a row samples the same whatever rows are beside it. None is greedy.
        """
        ...


@dataclass(frozen=True, slots=True)
class Truncation:
    """The tokens that the sampler may draw: the likeliest ones that hold `top_p`, the `top_k` likeliest (0: all), and
    those at least `min_p` times as likely as the likeliest. The defaults do not change the policy's distribution.
    """

    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0

    def __call__(self, log_probs_bV: Tensor) -> Tensor:
        """Log-probabilities of the distribution to draw from: (b, V), -inf for tokens left out."""
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
class _Written:
    """The tokens sampled so far, (rows, T) each, and which rows have ended."""

    completion_BT: Tensor
    mask_BT: Tensor
    logp_BT: Tensor
    sampler_logp_BT: Tensor
    ended_B: Tensor

    @classmethod
    def nothing(cls, rows: int, tokens: int, pad: int, device: torch.device) -> _Written:
        """No token yet."""
        zeros_BT = torch.zeros((rows, tokens), device=device)
        completion_BT = torch.full((rows, tokens), pad, dtype=torch.long, device=device)
        return cls(completion_BT, zeros_BT.bool(), zeros_BT, zeros_BT.clone(), zeros_BT.new_zeros(rows).bool())

    def rows(self, part: slice) -> _Written:
        """Views of some rows, to write into."""
        return _Written(*(getattr(self, f.name)[part] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class HuggingFaceEngine:
    """Samples in process, from the model in training.

    A completion ends with the first of the tokens `ends`, or once it says one of the `stops`. At most `rows_at_once`
    rows are decoded together; None: all. The others wait until a row has finished, or, if the model keeps more than
    plain keys and values (a sliding window), until all have. `static` decodes with shapes that never change, as a
    compiled step needs (see `decoding`); None: if the device is CUDA. The completions are the same.
    `dtype` is the type of the model's products; weights are cast to it once per rollout.
    """

    model: PreTrainedModel
    pad: int
    ends: tuple[int, ...]
    max_new_tokens: int
    temperature: float
    truncation: Truncation = Truncation()
    rows_at_once: int | None = None
    static: bool | None = None
    dtype: torch.dtype = torch.float32
    stops: Stops | None = None
    room: Room = field(default_factory=Room)

    @torch.no_grad()
    def generate(
        self, prompts: Prompts, group_size: int, uniforms_TB: np.ndarray | None, limit: int | None = None
    ) -> Rollouts:
        """Complete every prompt as `RolloutEngine` says. Equal prompts are read once, finished rows are dropped."""
        device, limit = self.model.device, self.max_new_tokens if limit is None else limit
        group_B = torch.arange(len(prompts.ids), device=device).repeat_interleave(group_size)
        rows = len(group_B)
        places = min(self.rows_at_once or rows, rows)
        uniforms = None if uniforms_TB is None else torch.as_tensor(uniforms_TB, dtype=torch.float32, device=device)
        written = _Written.nothing(rows, limit, self.pad, device)
        together = rows if places == rows or takes_places(self.model) else places
        with products_in(self.dtype, device):
            for first in range(0, rows, together):
                part = slice(first, first + together)
                lot = Lot(prompts, group_B[part], self.pad, limit)
                decoding = decoder(self.model, lot, places, self.static, self.room)
                self._complete(decoding, places, None if uniforms is None else uniforms[:, part], written.rows(part))
        mask_BT = written.mask_BT
        width = int(mask_BT.sum(1).max())
        return Rollouts(
            prompts=prompts,
            group_B=group_B,
            completion_BT=written.completion_BT[:, :width],
            mask_BT=mask_BT[:, :width],
            logp_BT=written.logp_BT[:, :width],
            sampler_logp_BT=written.sampler_logp_BT[:, :width],
            ended_B=written.ended_B,
            max_tokens=limit,
        )

    def _ends(self, tokens: Tensor) -> Tensor:
        """Which of the tokens are end tokens."""
        return torch.isin(tokens, torch.tensor(self.ends, dtype=tokens.dtype, device=tokens.device))

    def _stopped(self, written: _Written, live_b: Tensor, at_b: Tensor, going_b: Tensor) -> Tensor:
        """Which of the rows in the batch have just said a stop string."""
        stopped_b = torch.zeros_like(going_b)
        if self.stops is not None:
            places = going_b.nonzero()[:, 0].tolist()
            spans, reach = zip(live_b[places].tolist(), at_b[places].tolist(), strict=True), self.stops.reach_tokens
            tails = [written.completion_BT[row, max(0, at - reach) : at].tolist() for row, at in spans]
            stopped_b[places] = torch.tensor(self.stops.said(tails), device=going_b.device)
        return stopped_b

    def _complete(self, decoding: GrowingDecoder, places: int, uniforms_TB: Tensor | None, written: _Written) -> None:
        """Decode all rows: the first ones are in the batch from the start, the others follow as places become free."""
        rows, limit = written.mask_BT.shape
        waiting_B = torch.arange(rows, device=written.mask_BT.device)
        live_b, waiting_B = waiting_B[:places].clone(), waiting_B[places:]
        at_b = torch.zeros_like(live_b)
        going_b = torch.ones_like(live_b, dtype=torch.bool)
        logits_bV = decoding.prefill()
        while True:
            u_b = None if uniforms_TB is None else uniforms_TB[at_b.clamp(max=limit - 1), live_b]
            token_b, logp_b, sampler_b = sample_tokens(logits_bV, u_b, self.temperature, self.truncation)
            write = live_b[going_b], at_b[going_b]
            written.completion_BT[write] = token_b[going_b]
            written.logp_BT[write] = logp_b[going_b]
            written.sampler_logp_BT[write] = sampler_b[going_b]
            written.mask_BT[write] = True
            at_b = at_b + 1
            ended_b = going_b & (self._ends(token_b) | self._stopped(written, live_b, at_b, going_b))
            written.ended_B[live_b[ended_b]] = True
            going_b = going_b & ~ended_b & (at_b < limit)
            count, waits = int(going_b.sum()), len(waiting_B)
            if count + waits == 0:
                return
            if waits == 0 and decoding.can_drop_rows and count <= COMPACT_BELOW * len(live_b):
                keep = going_b.nonzero()[:, 0]
                decoding.keep(keep)
                live_b, at_b, token_b, going_b = live_b[keep], at_b[keep], token_b[keep], going_b[keep]
            logits_bV = decoding.step(token_b) if count else logits_bV
            if waits and isinstance(decoding, PlacesDecoder):
                free_b = (~going_b).nonzero()[:waits, 0]
                live_b[free_b], waiting_B = waiting_B[: len(free_b)], waiting_B[len(free_b) :]
                at_b[free_b], going_b[free_b] = 0, True
                logits_bV[free_b] = decoding.start(free_b, live_b[free_b])


def sample_tokens(
    logits_bV: Tensor, u_b: Tensor | None, temperature: float, truncation: Truncation
) -> tuple[Tensor, Tensor, Tensor]:
    """The next tokens, and their log-probability under the policy and under the distribution drawn from: (b,) each.

    `u_b` are uniform random numbers; None takes the likeliest token.
    """
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

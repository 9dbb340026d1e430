"""From the policy to scored rollouts: draw prompts, complete them, ask for rewards, and continue prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedTokenizerBase

from ppo_vs_grpo.algorithms.shared.config import Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.prompts import encode
from ppo_vs_grpo.algorithms.shared.rollout.engine import RolloutEngine
from ppo_vs_grpo.algorithms.shared.scoring import score
from ppo_vs_grpo.algorithms.shared.types import Prompts, Rollouts, ScoredRollouts
from ppo_vs_grpo.tasks.base import Task
from ppo_vs_grpo.tasks.splits import problems, rng


def cost(train: TrainConfig, needs: Needs, max_new_tokens: int) -> int:
    """The most rewards that one update without repeated rounds can ask for."""
    steps = -(-max_new_tokens // needs.step_tokens)
    return train.batch_completions * (1 + needs.continuations * steps)


@dataclass(frozen=True, slots=True)
class Collector:
    """Samples from the policy and scores by the task. Each draw, by its number, has its own random streams."""

    engine: RolloutEngine
    task: Task
    tokenizer: PreTrainedTokenizerBase
    train: TrainConfig
    seed: int

    def sample(self, draw: int) -> Rollouts:
        """Complete the prompts of draw number `draw`, from 1."""
        size = self.train.prompts_per_update
        drawn = problems(self.task, "train", self.seed, start=(draw - 1) * size, count=size)
        return self.engine.generate(
            encode(self.tokenizer, drawn, self.train.chat),
            self.train.group_size,
            self.uniforms("sampling", draw, self.train.batch_completions),
        )

    def score(self, rollouts: Rollouts) -> ScoredRollouts:
        """Ask for the reward of every row."""
        return score(rollouts, self.task, self.tokenizer)

    def values(self, rollouts: Rollouts, draw: int, needs: Needs) -> tuple[Tensor, int, int]:
        """The mean reward of fresh completions from the prefix before every `step_tokens`-th token.

        Returns V (B, T), 0 at the other tokens, and the count and tokens of the sampled completions. A missing reward
        is left out of its mean; V is 0 if all of them are missing.
        """
        mask_BT, total, tokens = rollouts.mask_BT, 0, 0
        values_BT = torch.zeros(mask_BT.shape, device=mask_BT.device)
        for t in range(0, mask_BT.shape[1], needs.step_tokens):
            rows = mask_BT[:, t].nonzero()[:, 0]
            if len(rows) == 0:
                break
            asked, heads = prefixes(rollouts, [(row, t) for row in rows.tolist()])
            uniforms_TB = self.uniforms(f"continuations-{t}", draw, len(rows) * needs.continuations)
            continued = self.engine.generate(asked, needs.continuations, uniforms_TB, rollouts.max_tokens - t)
            scored = self.score(joined_to_heads(continued, heads, rollouts.max_tokens, self.engine.pad))
            rewards_bK = scored.rewards_B.view(len(rows), needs.continuations)
            values_BT[rows, t] = rewards_bK.nanmean(1).nan_to_num(0.0)
            total += rewards_bK.numel()
            tokens += int(continued.mask_BT.sum())
        return values_BT, total, tokens

    def uniforms(self, stream: str, draw: int, rows: int) -> np.ndarray:
        """Random numbers for sampling, (T, rows): one stream per purpose and draw."""
        generator = rng(stream, self.task.name, self.seed, draw)
        numbers: np.ndarray = generator.random((self.engine.max_new_tokens, rows), dtype="float32")
        return numbers


def varied(scored: ScoredRollouts) -> ScoredRollouts:
    """The rows of the groups whose rewards are not all the same."""
    group_B, rewards_B = scored.rollouts.group_B, scored.rewards_B
    if len(group_B) == 0:
        return scored
    groups = int(group_B.max()) + 1
    low_g = torch.full((groups,), torch.inf, device=rewards_B.device).scatter_reduce(0, group_B, rewards_B, "amin")
    high_g = torch.full((groups,), -torch.inf, device=rewards_B.device).scatter_reduce(0, group_B, rewards_B, "amax")
    return scored.rows((high_g > low_g)[group_B].nonzero()[:, 0])


def first_groups(scored: ScoredRollouts, count: int) -> ScoredRollouts:
    """The rows of the first `count` groups, in the order of their ids."""
    kept = scored.rollouts.group_B.unique()[:count]
    return scored.rows(torch.isin(scored.rollouts.group_B, kept).nonzero()[:, 0])


def joined(parts: list[ScoredRollouts]) -> ScoredRollouts:
    """Join several draws to one batch: prompts in order, groups renumbered, rows padded to the widest."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.rollouts.mask_BT.shape[1] for part in parts)
    offsets = np.cumsum([0, *(len(part.rollouts.prompts.ids) for part in parts)]).tolist()
    tensors: dict[str, Tensor] = {}
    for name in (f.name for f in fields(Rollouts) if f.name not in ("prompts", "max_tokens", "group_B")):
        columns = [getattr(part.rollouts, name) for part in parts]
        tensors[name] = torch.cat([pad(c, (0, width - c.shape[1])) if c.dim() == 2 else c for c in columns])
    tensors["group_B"] = torch.cat([part.rollouts.group_B + at for part, at in zip(parts, offsets, strict=False)])
    prompts = Prompts(
        tuple(p for part in parts for p in part.rollouts.prompts.problems),
        tuple(ids for part in parts for ids in part.rollouts.prompts.ids),
    )
    names = sorted({name for part in parts for name in part.parts})
    return ScoredRollouts(
        rollouts=Rollouts(prompts=prompts, max_tokens=parts[0].rollouts.max_tokens, **tensors),
        rewards_B=torch.cat([part.rewards_B for part in parts]),
        passed_B=torch.cat([part.passed_B for part in parts]),
        parts={
            name: torch.cat([part.parts.get(name, torch.full_like(part.rewards_B, torch.nan)) for part in parts])
            for name in names
        },
    )


def prefixes(rollouts: Rollouts, starts: Sequence[tuple[int, int]]) -> tuple[Prompts, list[list[int]]]:
    """For each (row, tokens): a prompt made of the row's prompt and the head of its completion; and the heads."""
    groups = [int(rollouts.group_B[row]) for row, _ in starts]
    heads = [rollouts.completion_BT[row, :tokens].tolist() for row, tokens in starts]
    asked = rollouts.prompts
    ids = tuple((*asked.ids[group], *head) for group, head in zip(groups, heads, strict=True))
    return Prompts(tuple(asked.problems[group] for group in groups), ids), heads


def joined_to_heads(continued: Rollouts, heads: Sequence[list[int]], limit: int, pad: int) -> Rollouts:
    """Head and continuation as one completion of at most `limit` tokens. Only its score may be read."""
    lengths_B = continued.mask_BT.sum(1).tolist()
    sampled = zip(continued.group_B.tolist(), continued.completion_BT.tolist(), lengths_B, strict=True)
    rows = [[*heads[group], *row[:length]][:limit] for group, row, length in sampled]
    device, width = continued.mask_BT.device, max(map(len, rows))
    completion_BT = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
    mask_BT = torch.arange(width, device=device) < torch.tensor([[len(row)] for row in rows], device=device)
    none_BT = torch.zeros(mask_BT.shape, device=device)
    return replace(continued, completion_BT=completion_BT, mask_BT=mask_BT, logp_BT=none_BT, sampler_logp_BT=none_BT)

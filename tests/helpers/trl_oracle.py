"""One batch, given to an algorithm of this package and to TRL's trainer of the same name.

What is compared is TRL's own code: a trainer is built as a user builds it, only what it samples is fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from copying import PAD, llama
from copying import prompts as prompts_of
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, policy_output
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, over_rows, pack
from ppo_vs_grpo.algorithms.shared.types import Batch, Context, Denominators, Rollouts, ScoredRollouts
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer

DEPRECATED = "ignore:.*deprecated and will be removed in v6:FutureWarning"
"""TRL still uses old names of transformers."""

Completions = tuple[tuple[int, ...], ...]

PROMPTS = ((4, 5, 6, 7, 8), (9,), (10, 11, 12))
GROUP, LIMIT, END, TEMPERATURE = 4, 6, 2, 0.7
# Ragged: rows that end early, one that is the end token alone, one that ends at the limit, and three cut there.
COMPLETIONS: Completions = (
    (4, 5, END),
    (6, 7, 8, 9, 10, 11),
    (END,),
    (12, 13, 14, 15, 4, END),
    (5, 5, END),
    (6, END),
    (7, 8, 9, 4, 4, 4),
    (10, 11, 12, 13, END),
    (14, 15, 4, 5, END),
    (15, END),
    (9, 9, 9, 9, 8, 7),
    (8, 4, 12, END),
)
# The same rows grown to the limit, ended or cut there: TRL's step after the end token has no room.
FULL: Completions = tuple((*(4, 9, 7, 12, 5)[: LIMIT - len(ids)], *ids) for ids in COMPLETIONS)
# Those that end before the limit with one token more, for that step.
LONGER: Completions = tuple((*ids, PAD) if len(ids) < LIMIT else ids for ids in COMPLETIONS)
REWARDS = (1.0, 0.0, 0.25, 0.5, 0.0, 0.0, 1.0, -2.0, 3.0, 0.7, 0.1, 0.2)


@dataclass(frozen=True)
class Learned:
    """What one pass over the batch gives: per token or per row, a scalar, and every parameter's gradient."""

    advantages: Tensor
    loss: Tensor
    gradient: Tensor


def assert_same(ours: Learned, theirs: Learned) -> None:
    """Equal to 1e-5, in the advantages, the loss and the gradients, none of them being zero throughout."""
    assert theirs.gradient.abs().max() > 1e-2
    for name in ("advantages", "loss", "gradient"):
        ours_x, theirs_x = getattr(ours, name), getattr(theirs, name)
        torch.testing.assert_close(
            ours_x, theirs_x, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def distance(ours: Learned, theirs: Learned, name: str) -> float:
    """The largest difference in `name`: a test can fail when it is far above 1e-5 with another setting."""
    return float((getattr(ours, name) - getattr(theirs, name)).abs().max())


def policy() -> PreTrainedModel:
    """The model in training."""
    return llama(seed=0)


def older() -> PreTrainedModel:
    """The policy as it was when it sampled: some ratios are clipped from the first step on."""
    model = policy()
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    return model


def reference() -> PreTrainedModel:
    """The model that it may not leave."""
    return llama(seed=5)


def characters() -> PreTrainedTokenizerFast:
    """The tokenizer of the benchmarks, whose first tokens are the model's vocabulary."""
    tokens = tokenizer()
    assert (tokens.pad_token_id, tokens.eos_token_id) == (PAD, END)
    return tokens


def rollouts(completions: Completions = COMPLETIONS, sampler: PreTrainedModel | None = None) -> Rollouts:
    """The completions as if a model, `policy` by default, had sampled them."""
    lengths_B = torch.tensor([len(ids) for ids in completions])
    mask_BT = torch.arange(LIMIT) < lengths_B[:, None]
    completion_BT = torch.full(mask_BT.shape, PAD)
    completion_BT[mask_BT] = torch.tensor([token for ids in completions for token in ids])
    group_B = torch.arange(len(completions)) // GROUP
    ended_B = torch.tensor([ids[-1] == END for ids in completions])
    zeros_BT = torch.zeros(mask_BT.shape)
    drawn = Rollouts(prompts_of(*PROMPTS), group_B, completion_BT, mask_BT, zeros_BT, zeros_BT, ended_B, LIMIT)
    logp_BT = logp_of(sampler or policy(), drawn)
    return Rollouts(drawn.prompts, group_B, completion_BT, mask_BT, logp_BT, logp_BT, ended_B, LIMIT)


def logp_of(model: PreTrainedModel, drawn: Rollouts) -> Tensor:
    """The completions' log-probabilities by a model, (B, T)."""
    return over_rows(join(drawn, PAD), 10_000, lambda packed: logp(model, packed, TEMPERATURE))


def moved(logp_BT: Tensor, by: float = 0.4) -> Tensor:
    """Log-probabilities of a policy that has moved since: many ratios leave the clip range, some by far."""
    return logp_BT + by * torch.randn(logp_BT.shape, generator=torch.Generator().manual_seed(1))


def gradient(module: nn.Module) -> Tensor:
    """All gradients as one vector."""
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def scored(drawn: Rollouts, rewards: tuple[float | None, ...] = REWARDS) -> ScoredRollouts:
    """Rollouts and rewards, NaN where a reward is missing."""
    rewards_B = torch.tensor([float("nan") if reward is None else reward for reward in rewards])
    return ScoredRollouts(drawn, rewards_B, rewards_B > 0.5, {})


def ours(
    algorithm: Algorithm,
    rewards: tuple[float | None, ...] = REWARDS,
    shift: float = 0.4,
    tokens: int | None = None,
    rows: slice | list[int] = slice(None),
) -> Learned:
    """An algorithm of this package on the batch, the loss on some of its rows; `tokens` is the denominator's count."""
    drawn, model = rollouts(), policy()
    reference_BT = logp_of(reference(), drawn) if algorithm.train.beta else None
    advantages_BT = algorithm.advantages(scored(drawn, rewards), Context(reference_BT, None)).advantages_BT
    whole = Batch(drawn.mask_BT, moved(drawn.logp_BT, shift), advantages_BT, reference_BT, None, None)
    index = torch.arange(len(COMPLETIONS))[rows]
    packed = pack(join(drawn, PAD), index)
    batch = whole.rows(index, packed.mask_bT.shape[1])
    denominators = Denominators(int(batch.mask_BT.sum()) if tokens is None else tokens, len(index), LIMIT)
    output = policy_output(Models(model, None, None, None), packed, TEMPERATURE, detach_trunk=False)
    loss = algorithm.loss(batch, output, denominators)
    loss.policy.backward()
    assert loss.value is None
    return Learned(advantages_BT[:, 0], loss.policy.detach(), gradient(model))


class FixedGRPO(GRPOTrainer):
    """TRL's trainer, which samples COMPLETIONS."""

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> tuple[list[list[int]], None]:
        return [list(ids) for ids in COMPLETIONS], None


class FixedRLOO(RLOOTrainer):
    """TRL's trainer, which samples COMPLETIONS."""

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> list[list[int]]:
        return [list(ids) for ids in COMPLETIONS]


def trainer(
    kind: type[FixedGRPO] | type[FixedRLOO],
    folder: Path,
    rewards: tuple[float | None, ...],
    more_rewards: tuple[Callable[..., list[float]], ...],
    options: dict[str, Any],
) -> FixedGRPO | FixedRLOO:
    """A trainer of TRL as a user builds it, all rows in one batch, a function that gives the rewards."""
    model, tokens = policy(), characters()
    reference().save_pretrained(folder)
    model.config._name_or_path = str(folder)  # TRL loads the reference from where the model came from
    kinds = {FixedGRPO: GRPOConfig, FixedRLOO: RLOOConfig}
    rows = len(COMPLETIONS) // options.get("steps_per_generation", 1)
    config = kinds[kind](
        output_dir=str(folder),
        per_device_train_batch_size=rows,
        num_generations=GROUP,
        max_completion_length=LIMIT,
        temperature=TEMPERATURE,
        activation_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        **options,
    )
    data = Dataset.from_dict({"prompt": [tokens.decode(ids) for ids in PROMPTS]})

    def given(**kwargs: Any) -> list[float | None]:
        return list(rewards)

    built = kind(model, [given, *more_rewards], config, train_dataset=data, processing_class=tokens)
    built.current_gradient_accumulation_steps = 1  # `train` sets it, and one step of it is all that is run here
    built.model.train()
    return built


def batch_of(built: FixedGRPO | FixedRLOO) -> dict[str, Tensor]:
    """What TRL makes of the completions: padded ids, masks, advantages, the reference's log-probabilities."""
    texts = [built._tokenizer.decode(ids) for ids in PROMPTS for _ in range(GROUP)]
    made: dict[str, Tensor] = built._generate_and_score_completions([{"prompt": text} for text in texts])
    return made


def theirs(
    kind: type[FixedGRPO] | type[FixedRLOO],
    folder: Path,
    rewards: tuple[float | None, ...] = REWARDS,
    shift: float = 0.4,
    more_rewards: tuple[Callable[..., list[float]], ...] = (),
    rows: slice | list[int] = slice(None),
    **options: Any,
) -> Learned:
    """TRL on the batch: its advantages, then its loss on some of the rows with the same old log-probabilities."""
    built = trainer(kind, folder, rewards, more_rewards, options)
    made, drawn = batch_of(built), rollouts()
    old_BT = moved(drawn.logp_BT, shift)
    if kind is FixedGRPO:
        assert "old_per_token_logps" not in made or options.get("steps_per_generation")
        made["old_per_token_logps"] = old_BT
    else:  # TRL's own are those of the policy in training, by which it also estimates the KL
        torch.testing.assert_close(made["old_logps"], drawn.logp_BT.sum(1), atol=1e-5, rtol=1e-5)
        made["old_logps"] = (old_BT * drawn.mask_BT).sum(1)
    part = {name: tensor if tensor.dim() == 0 else tensor[rows] for name, tensor in made.items()}
    loss = built._compute_loss(built.model, part)
    loss.backward()
    return Learned(made["advantages"], loss.detach(), gradient(built.model))

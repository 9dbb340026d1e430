"""The one training loop. It does not know which algorithm it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.checkpoint import State, put_back, tensors_of
from ppo_vs_grpo.algorithms.shared.collector import Collector, cost, first_groups, joined, varied
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.meters import PeakMemory, PhaseClock
from ppo_vs_grpo.algorithms.shared.metrics import explained_variance, sampled_metrics
from ppo_vs_grpo.algorithms.shared.networks.likelihood import logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, refresh_reference, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, join, over_rows
from ppo_vs_grpo.algorithms.shared.networks.vocabulary import silence, unreadable
from ppo_vs_grpo.algorithms.shared.prompts import encode
from ppo_vs_grpo.algorithms.shared.rollout.ends import end_tokens
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine, Truncation
from ppo_vs_grpo.algorithms.shared.rollout.stops import Stops
from ppo_vs_grpo.algorithms.shared.scoring import stops_of
from ppo_vs_grpo.algorithms.shared.types import Batch, Context, Prompts, Rollouts, ScoredRollouts, moved
from ppo_vs_grpo.algorithms.shared.update import learner, update
from ppo_vs_grpo.tasks.base import Problem, Task
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.splits import rng

MAX_SKIPPED_STEPS = 10
"""A run survives this many optimizer steps with a non-finite loss or gradient."""

GRADIENT_THAT_MOVES, MARKS = 1e-4, 1000
"""After a step with at least this norm some weight has changed; of each tensor so many weights are looked at."""

NO_FLOAT64 = ("mps",)
"""Device types without float64. Advantages need it, so the CPU computes them for these."""


class DivergedError(RuntimeError):
    """Too many optimizer steps had a non-finite loss or gradient, or too few completions had a reward."""


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """One update: its number from 1, its metrics by name, its rollouts."""

    update: int
    metrics: dict[str, float | int | bool | None]
    scored: ScoredRollouts


class Trainer:
    """A policy in training. `updates` yields a record after each update; the policy can be read in between."""

    def __init__(
        self,
        policy: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        algorithm: Algorithm,
        train: TrainConfig,
        seed: int,
    ) -> None:
        self.max_new_tokens = train.max_new_tokens or task.max_new_tokens
        train = train.model_copy(update={"max_new_tokens": self.max_new_tokens})
        self.tokenizer, self.task, self.algorithm, self.train, self.seed = tokenizer, task, algorithm, train, seed
        self.device = policy.device
        dtype: torch.dtype = getattr(torch, train.dtype)
        ends = end_tokens(policy, tokenizer)
        silence(policy, unreadable(policy, tokenizer, ends))
        self.models: Models = build(
            policy, algorithm.needs.critic, train.beta > 0, train.lora_rank, train.gradient_checkpointing, seed, dtype
        )
        pad = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        truncation = Truncation(train.top_p, train.top_k, train.min_p)
        stops = Stops(tokenizer, texts) if (texts := stops_of(task)) else None
        limit, heat = self.max_new_tokens, train.temperature
        self.engine = HuggingFaceEngine(
            policy, int(pad), ends, limit, heat, truncation, train.rollout_rows, dtype=dtype, stops=stops
        )
        self.memory = PeakMemory(self.device)
        self._clock = PhaseClock(self.device)
        self._learner = learner(self.models, algorithm, train)
        self.collector = Collector(self.engine, task, tokenizer, train, seed)
        self._totals = {"completions": 0, "tokens": 0, "optimizer_steps": 0, "skipped_steps": 0}
        self._number = self._draws = 0
        self._moved = False  # whether a step has changed some weight of the policy

    @property
    def policy(self) -> PreTrainedModel:
        """The network in training."""
        return self.models.policy

    @property
    def completions(self) -> int:
        """Completions of the budget used so far."""
        return self._totals["completions"]

    def encode(self, problems: list[Problem]) -> Prompts:
        """Tokenize problems as prompts."""
        return encode(self.tokenizer, problems, self.train.chat)

    def state(self) -> State:
        """All that the next update depends on beside start model and settings. The next update changes its tensors."""
        numbers = {"number": self._number, "draws": self._draws, "moved": int(self._moved), **self._totals}
        return State(tensors_of(self.models, self._learner.optimizer, self._reference_moves), numbers)

    def restore(self, state: State) -> None:
        """Go on from a state of a trainer with the same start model and settings."""
        put_back(self.models, self._learner.optimizer, state.tensors, self._reference_moves)
        self._number, self._draws = state.numbers["number"], state.numbers["draws"]
        self._moved = bool(state.numbers["moved"])
        self._totals = {name: state.numbers[name] for name in self._totals}

    @property
    def _reference_moves(self) -> bool:
        return self.algorithm.needs.reference == "previous_step"

    def updates(self, count: int, measure_memory: bool = False) -> Iterator[UpdateRecord]:
        """Run `count` more updates. Raises DivergedError if more than MAX_SKIPPED_STEPS steps were skipped."""
        for _ in range(count):
            yield self._update(measure_memory, budget=None)

    def until_spent(self) -> Iterator[UpdateRecord]:
        """Run updates while the budget of completions covers one more. Raises DivergedError as `updates`."""
        least = cost(self.train, self.algorithm.needs, self.max_new_tokens)
        while (left := self.train.completions - self.completions) >= least:
            yield self._update(measure_memory=False, budget=left)

    def _update(self, measure_memory: bool, budget: int | None) -> UpdateRecord:
        self._number += 1
        number, needs = self._number, self.algorithm.needs
        if self._reference_moves:
            refresh_reference(self.models)
        sampled = self._collect(measure_memory, budget)
        scored = sampled.rated()
        if len(scored.rewards_B) == 0:
            raise DivergedError(f"update {number}: no completion has a reward")
        if needs.group and len(scored.rollouts.group_B.unique()) == len(scored.rewards_B):
            raise DivergedError(f"update {number}: no two completions of a prompt have a reward")
        sequences = join(scored.rollouts, self.engine.pad, self.models.packed)
        context, completions, tokens = self.context(
            scored.rollouts, sequences, self._draws, lambda name: self._phase(name, measure_memory)
        )
        self._count(completions, tokens)
        with self._phase("update", measure_memory):
            batch = make_batch(self.algorithm, scored, context, self.train)
            rate = self._learner.set_learning_rate(self.completions)
            before = None if self._moved or not rate else marks(self.models)
            learned = update(
                self._learner,
                self.algorithm,
                sequences,
                batch,
                rng("shuffle", self.task.name, self.seed, number),
                critic_only=needs.critic is not None and number <= needs.critic.warmup_updates,
            )
        if before is not None:
            self._moved = any(
                float((one != other).sum()) for one, other in zip(before, marks(self.models), strict=True)
            )
            if not self._moved and (learned["grad_norm"] or 0.0) > GRADIENT_THAT_MOVES:
                raise UserError(_nothing_moves(self.models, number, rate))
        for name in ("optimizer_steps", "skipped_steps"):
            self._totals[name] += int(learned.pop(name) or 0)
        if self._totals["skipped_steps"] > MAX_SKIPPED_STEPS:
            raise DivergedError(f"update {number}: more than {MAX_SKIPPED_STEPS} steps had a non-finite gradient")
        return UpdateRecord(number, self._metrics(number, scored, batch, learned, rate), sampled)

    def _collect(self, measure_memory: bool, budget: int | None) -> ScoredRollouts:
        """The batch to learn from. With several rounds, groups with equal rewards are replaced.

        If no group varies, the last round is the batch.
        """
        size, kept = self.train.batch_completions, []
        for round_ in range(1, self.algorithm.needs.sampling_rounds + 1):
            self._draws += 1
            with self._phase("rollout", measure_memory):
                rollouts = self.collector.sample(self._draws)
            with self._phase("reward", measure_memory):
                sampled = self.collector.score(rollouts)
            self._count(len(sampled.rewards_B), int(rollouts.mask_BT.sum()))
            if self.algorithm.needs.sampling_rounds == 1:
                return sampled
            kept.append(varied(sampled.rated()))
            groups = sum(len(part.rollouts.group_B.unique()) for part in kept)
            if groups >= self.train.prompts_per_update or (budget is not None and (round_ + 1) * size > budget):
                break
        return first_groups(joined(kept), self.train.prompts_per_update) if groups else sampled

    def _count(self, completions: int, tokens: int) -> None:
        self._totals["completions"] += completions
        self._totals["tokens"] += tokens

    def _phase(self, name: str, measure_memory: bool) -> AbstractContextManager[None]:
        return self.memory.phase(name) if measure_memory else self._clock.phase(name)

    def context(
        self,
        rollouts: Rollouts,
        sequences: Sequences,
        draw: int,
        phase: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
    ) -> tuple[Context, int, int]:
        """Ask reference and critic about the rollouts, if the run has them, or estimate V by continuations.

        Returns the context, and the count and tokens of the completions sampled for it. `draw` names their random
        stream. Each part runs inside its `phase`.
        """
        completions = tokens = 0
        budget, models, needs = self.train.micro_batch_tokens, self.models, self.algorithm.needs
        reference_logp_BT = values_BT = bootstrap_B = None
        if models.reference is not None:
            reference = models.reference
            with phase("reference"):
                reference_logp_BT = over_rows(
                    sequences, budget, lambda packed: logp(reference, packed, self.train.temperature)
                )
        if models.value_head is not None:
            with phase("value"):
                values_BT = over_rows(sequences, budget, lambda packed: values(models, packed))
                if needs.critic is not None and needs.critic.bootstrap_truncated:
                    after_BT = over_rows(sequences, budget, lambda packed: values(models, packed.one_later()))
                    bootstrap_B = terminal_value(after_BT, rollouts)
        if needs.continuations:
            with phase("value"):
                values_BT, completions, tokens = self.collector.values(rollouts, draw, needs)
        return Context(reference_logp_BT, values_BT, bootstrap_B), completions, tokens

    def _metrics(
        self,
        number: int,
        scored: ScoredRollouts,
        batch: Batch,
        learned: dict[str, float | None],
        rate: float,
    ) -> dict[str, float | int | bool | None]:
        mask_BT = scored.rollouts.mask_BT
        return {
            "update": number,
            **self._totals,
            **sampled_metrics(scored),
            "advantage_std": float(batch.advantages_BT[mask_BT].std(correction=0)),
            "value_explained_variance": explained_variance(batch.values_old_BT, batch.returns_BT, mask_BT),
            "learning_rate": rate,
            **batch.metrics,
            **learned,
            **{f"{name}_s": seconds for name, seconds in self._clock.take().items()},
        }


def marks(models: Models) -> list[Tensor]:
    """Some weights of each of the policy's trained tensors, as they are now."""
    return [p.detach().flatten()[:: -(-p.numel() // MARKS)].clone() for p in models.policy_parameters()]


def _nothing_moves(models: Models, number: int, rate: float) -> str:
    dtype = str(models.policy.dtype).removeprefix("torch.")
    return (
        f"learning_rate {rate:g}: no weight of the policy changed in update {number}, although its gradient is not 0; "
        f"steps of this size are lost in the weights' type, {dtype}: raise learning_rate, or take dtype: float32"
    )


def terminal_value(after_BT: Tensor, rollouts: Rollouts) -> Tensor:
    """V after the last token of a completion that was cut; 0 for one that ended: (B,)."""
    last_B1 = rollouts.mask_BT.sum(1, keepdim=True) - 1
    return torch.where(rollouts.ended_B, 0.0, after_BT.gather(1, last_B1)[:, 0])


def make_batch(algorithm: Algorithm, scored: ScoredRollouts, context: Context, train: TrainConfig) -> Batch:
    """The batch that the losses read: advantages, returns, and the models' outputs before the update.

    With `importance_correction` each token's advantage is weighted by policy / sampler, unless the algorithm's ratio is
    to the sampler, and has that weight in it.
    """
    rollouts, device = scored.rollouts, scored.rewards_B.device
    if device.type in NO_FLOAT64:
        made = moved(algorithm.advantages(moved(scored, "cpu"), moved(context, "cpu")), device)
    else:
        made = algorithm.advantages(scored, context)
    advantages_BT, to_sampler = made.advantages_BT, algorithm.needs.ratio_to_sampler
    if train.importance_correction and not to_sampler:
        advantages_BT = advantages_BT * (rollouts.logp_BT - rollouts.sampler_logp_BT).exp()
    return Batch(
        mask_BT=rollouts.mask_BT,
        logp_old_BT=rollouts.sampler_logp_BT if to_sampler else rollouts.logp_BT,
        advantages_BT=advantages_BT,
        reference_logp_BT=context.reference_logp_BT,
        values_old_BT=context.values_BT if made.returns_BT is not None else None,
        returns_BT=made.returns_BT,
        metrics=made.metrics,
    )

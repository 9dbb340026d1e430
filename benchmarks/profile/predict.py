"""Predict an update's memory and operations: its own code runs on tensors that have a shape and no memory.

Networks and their outputs are fake. Token ids, lengths and masks are real, so control flow is that of a run. Every
completion has full length: a sampled token is never the end. Attention is the CPU's fused kernel, which keeps the same
tensors as a GPU's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.collector import Collector
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import Prompts, Rollouts
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.benchmarks.profile.decode_steps import DecodeSteps
from ppo_vs_grpo.benchmarks.profile.fake import Answers, Fake
from ppo_vs_grpo.benchmarks.profile.flops import FlopCount, Flops
from ppo_vs_grpo.benchmarks.profile.memory import TOTAL, Peak, Tracker
from ppo_vs_grpo.benchmarks.profile.tracked import attach
from ppo_vs_grpo.benchmarks.profile.work import READ, Work
from ppo_vs_grpo.tasks.base import Problem, Score

CARDS_GB = (24, 48, 80, 141)
"""Memory of common accelerators, in units of 10^9 bytes. What a card has beyond that goes to context and fragmentation.
"""

Made = Callable[[TrainConfig], tuple[Algorithm, TrainConfig]]
"""Makes an arm's algorithm, and its settings if it declares a difference from those it is given."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The memory and operations that an arm's update would need."""

    arm: str
    peaks: tuple[Peak, ...]
    flops: tuple[Flops, ...]
    completions: int

    @property
    def total_peak_bytes(self) -> int:
        """The most memory at once."""
        return sum(row.bytes_at_total_peak for row in self.peaks if row.phase == TOTAL)

    @property
    def flops_per_update(self) -> float:
        """Floating-point operations of the whole update."""
        return self.completions * sum(row.flops_per_completion for row in self.flops)

    @property
    def fits(self) -> dict[int, bool]:
        """Whether the peak fits, by card size in GB."""
        return {size_gb: self.total_peak_bytes <= size_gb * 10**9 for size_gb in CARDS_GB}


def predict(config: PretrainedConfig, arms: list[str], work: Work) -> list[Prediction]:
    """A prediction per arm for an update of a model with this config. Arms have their names in `ALGORITHMS`."""
    return [_predicted(config, arm, _named(arm), work) for arm in arms]


def predict_run(trainer: Trainer) -> tuple[Peak, ...]:
    """The peaks of an update of this trainer if all prompts and completions have full length."""
    algorithm, policy = trainer.algorithm, trainer.models.policy
    longest = max(len(ids) for ids in trainer.collector.sample(1).prompts.ids)
    train = TrainConfig(**trainer.train.model_dump(include=READ))
    work = Work(train, longest, trainer.max_new_tokens, policy.dtype)

    def same(settings: TrainConfig) -> tuple[Algorithm, TrainConfig]:
        return type(algorithm)(algorithm.config, settings), settings

    return _predicted(policy.config, algorithm.name, same, work).peaks


def _named(arm: str) -> Made:
    known, kind = entry(arm), find(arm)

    def made(train: TrainConfig) -> tuple[Algorithm, TrainConfig]:
        train = train.model_copy(update=known.train(train))
        return kind(kind.Config.model_validate(known.config), train), train

    return made


def _predicted(config: PretrainedConfig, arm: str, made: Made, work: Work) -> Prediction:
    short, fake = work.shortened(), Fake(allow_non_fake_inputs=True)
    trainer = _trainer(config, made, short, fake)
    tracker = Tracker()
    counting = FlopCount(tracker)
    attach(tracker, trainer)
    policy = trainer.models.policy
    policy.forward = DecodeSteps(policy.forward, counting)
    with Answers(fake, _Lengths.SAMPLED), tracker, counting:
        if short != work:
            sampled = _rollout(trainer, work)
            trainer.collector = _Sampled.of(trainer.collector, _first_groups(sampled, short.train.prompts_per_update))
        next(trainer.updates(1, measure_memory=True))
    rows = counting.rows(short.completions)
    if short != work:
        rows[0] = replace(rows[0], flops_per_completion=counting.count("rollout") / work.completions)
    return Prediction(arm, tuple(tracker.peaks()), tuple(rows), work.completions)


def _rollout(trainer: Trainer, work: Work) -> Rollouts:
    """All completions of the work; the trainer's own settings may be of shorter work."""
    task, rng = cast(_Lengths, trainer.task), np.random.default_rng(0)
    drawn = [task.draw(rng) for _ in range(work.train.prompts_per_update)]
    uniforms_TB = np.zeros((work.new_tokens, work.completions), dtype=np.float32)
    with trainer.memory.phase("rollout"):
        return trainer.engine.generate(trainer.encode(drawn), work.train.group_size, uniforms_TB)


def _first_groups(sampled: Rollouts, groups: int) -> Rollouts:
    """The completions of the first prompts."""
    prompts = sampled.prompts
    first = sampled.rows(slice(groups * len(sampled.group_B) // len(prompts.ids)))
    return replace(first, prompts=Prompts(prompts.problems[:groups], prompts.ids[:groups]))


@dataclass(frozen=True, slots=True)
class _Sampled(Collector):
    """A collector that returns rollouts sampled before."""

    rollouts: Rollouts

    @classmethod
    def of(cls, like: Collector, rollouts: Rollouts) -> _Sampled:
        """A collector like `like` with these rollouts."""
        return cls(like.engine, like.task, like.tokenizer, like.train, like.seed, rollouts)

    def sample(self, draw: int) -> Rollouts:
        """The same every time."""
        return self.rollouts


def _trainer(config: PretrainedConfig, made: Made, work: Work, fake: Fake) -> Trainer:
    """A trainer with fake networks."""
    algorithm, train = made(work.train)
    task = _Lengths(work.prompt_tokens, work.new_tokens)
    with fake, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
        policy: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=work.dtype)
        return Trainer(policy, tokenizer(), task, algorithm, train, seed=0)


class _Lengths:
    """A task that has only lengths; every other completion is right."""

    name: ClassVar[str] = "lengths"
    version: ClassVar[int] = 1
    best_score: float = 1.0
    SAMPLED: ClassVar[int] = 5

    def __init__(self, prompt_tokens: int, new_tokens: int) -> None:
        self._prompt_tokens, self.max_new_tokens = prompt_tokens, new_tokens
        self._scored = 0

    def draw(self, rng: np.random.Generator) -> Problem:
        """Random letters, each a token."""
        return Problem("".join(rng.choice(list("abcdefgh"), size=self._prompt_tokens)))

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Return nothing: no model learns this task."""
        return ""

    def score(self, problem: Problem, completion: str) -> Score:
        """Score 1 and 0 in turn."""
        self._scored += 1
        return Score(float(self._scored % 2), self._scored % 2 == 1)

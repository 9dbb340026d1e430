"""Ragged rollouts, and a trainer on a task with graded rewards."""

from __future__ import annotations

import torch

import batches
from copying import END, PAD, Copying, llama, prompts, uniforms
from ppo_vs_grpo.algorithms import ALGORITHMS
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import Rollouts
from ppo_vs_grpo.benchmarks.models.tiny import CHARACTERS, tokenizer
from ppo_vs_grpo.tasks.base import Problem, Score
from small_trainer import TRAIN as LOOP

GROUPED = tuple(name for name in ALGORITHMS if batches.algorithm_of(name)[0].needs.group)


LIMIT, NAN = 6, float("nan")


def ragged(pad: int = PAD, temperature: float = 1.0, make=llama) -> Rollouts:
    """64 completions: some empty, some cut at the limit, prompts of three lengths with pad and end tokens in them."""
    asked = prompts((PAD, 4, END), (END, 7), (8,))
    model = make()
    return HuggingFaceEngine(model, pad, (END,), LIMIT, temperature).generate(asked, 32, uniforms(LIMIT, 96))


class Graded(Copying):
    """Rewards that differ within a group, for a policy that knows nothing yet."""

    def score(self, problem: Problem, completion: str) -> Score:
        return Score(ord(completion[:1] or " ") / 128, completion[:1] > "P")


def trainer_of(
    name: str, task: Copying | None = None, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: object
) -> Trainer:
    algorithm, train = batches.algorithm_of(name, LOOP.model_copy(update=changes))
    policy = llama(vocab_size=len(CHARACTERS) + 4, pad_token_id=0, eos_token_id=2).to(dtype)
    with torch.no_grad():
        policy.lm_head.weight.mul_(0.2)  # so that some completions end early
    return held_if_asked(Trainer(policy, tokenizer(), task or Graded(), algorithm, train, seed))


def held_if_asked(made: Trainer) -> Trainer:
    """The same trainer; a rate of 1e-30 holds its policy on purpose, and it shall not say that nothing trains."""
    made._moved = made.train.learning_rate <= 1e-30
    return made


def without_seconds(metrics: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in metrics.items() if not name.endswith("_s")}

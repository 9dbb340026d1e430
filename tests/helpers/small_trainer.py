"""A trainer of a small model on a task that rewards letters."""

from __future__ import annotations

import torch

from copying import Copying, llama
from one_step import arm
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models.tiny import CHARACTERS, tokenizer
from ppo_vs_grpo.tasks.base import Problem, Score

TRAIN = TrainConfig(prompts_per_update=8, group_size=8, learning_rate=1e-2, warmup_completions=0, beta=0.01)


VOCABULARY = len(CHARACTERS) + 4


def trainer(
    name: str,
    seed: int = 0,
    train: TrainConfig = TRAIN,
    task: Copying | None = None,
    algorithm: Algorithm | None = None,
) -> Trainer:
    characters = tokenizer()
    policy = llama(vocab_size=VOCABULARY, hidden_size=32, pad_token_id=0, eos_token_id=2)
    with torch.no_grad():
        policy.lm_head.weight.mul_(0.1)
    return Trainer(policy, characters, task or Copying(), algorithm or arm(name, train), train, seed)


class AnyLetter(Copying):
    """Begin with one of eight letters, whatever the prompt: learned in a second from a random model."""

    def score(self, problem: Problem, completion: str) -> Score:
        """1 when the completion begins with a letter from a to h."""
        passed = completion[:1] in list("abcdefgh")
        return Score(float(passed), passed)

"""Held-out evaluation: the same prompts and the same random numbers for every arm and seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ppo_vs_grpo.algorithms.shared.rollout.engine import RolloutEngine
from ppo_vs_grpo.algorithms.shared.scoring import score, stops_of, texts
from ppo_vs_grpo.algorithms.shared.types import Prompts, ScoredRollouts
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig
from ppo_vs_grpo.tasks.splits import Split, heldout, rng

if TYPE_CHECKING:
    from ppo_vs_grpo.benchmarks.run.trainers import RunTrainer


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A row per held-out prompt, and a few transcripts."""

    rows: list[dict[str, Any]]
    transcripts: list[dict[str, Any]]


class Evaluator:
    """Holds the prompts and random numbers of every evaluation of a run.

    The engine is the trainer's own, so the temperature is the training temperature; `samples` completions per
    prompt, and a greedy one beside them.
    """

    def __init__(self, trainer: RunTrainer, config: EvalConfig, split: Split) -> None:
        self._trainer, self._config = trainer, config
        self._prompts: Prompts = trainer.encode(heldout(trainer.task, split, config.prompts))
        shape = (trainer.max_new_tokens, config.prompts * config.samples)
        self._uniforms_TB: np.ndarray = rng("evaluation", trainer.task.name, split).random(shape, dtype="float32")

    def __call__(self, update: int, completions: int) -> Evaluation:
        """Evaluate the policy as it is after `update` updates."""
        engine, samples = self._trainer.engine, self._config.samples
        sampled = self._score(engine, samples, self._uniforms_TB)
        greedy = self._score(engine, 1, None)
        at = {"update": update, "completions": completions}
        passes_PK = sampled.passed_B.reshape(-1, samples).tolist()
        rewards_PK = sampled.rewards_B.reshape(-1, samples).tolist()
        tokens_B, cut_B = sampled.rollouts.mask_BT.sum(1), ~sampled.rollouts.ended_B
        of_samples = (tokens_B, tokens_B * sampled.passed_B, cut_B & sampled.passed_B, cut_B & ~sampled.passed_B)
        sums_P4 = torch.stack([each_B.reshape(-1, samples).sum(1) for each_B in of_samples], dim=1).tolist()
        rows = [
            {
                **at,
                "prompt": i,
                "stratum": problem.stratum,
                "samples": samples,
                "passes": (passes := sum(passes_PK[i])),
                "reward_mean": _mean_of_known(rewards_PK[i]),
                "greedy_pass": int(greedy.passed_B[i]),
                "greedy_reward": float(greedy.rewards_B[i]),
                "completion_tokens_mean": tokens / samples,
                "passed_tokens_mean": passed_tokens / passes if passes else None,
                "passed_cut": passed_cut,
                "failed_cut": failed_cut,
            }
            for i, (problem, (tokens, passed_tokens, passed_cut, failed_cut)) in enumerate(
                zip(self._prompts.problems, sums_P4, strict=True)
            )
        ]
        return Evaluation(rows, self._transcripts(sampled, at))

    def _score(self, engine: RolloutEngine, samples: int, uniforms_TB: np.ndarray | None) -> ScoredRollouts:
        rollouts = engine.generate(self._prompts, samples, uniforms_TB)
        return score(rollouts, self._trainer.task, self._trainer.tokenizer)

    def _transcripts(self, sampled: ScoredRollouts, at: dict[str, int]) -> list[dict[str, Any]]:
        index = list(range(0, len(sampled.rewards_B), self._config.samples))[: self._config.transcripts]
        tokenizer = self._trainer.tokenizer
        written = texts(sampled.rollouts, tokenizer, stops_of(self._trainer.task))
        return [
            {
                "update": at["update"],
                "prompt": tokenizer.decode(list(self._prompts.ids[row // self._config.samples])),
                "completion": written[row],
                "reward": float(sampled.rewards_B[row]),
                "passed": bool(sampled.passed_B[row]),
                "tokens": int(sampled.rollouts.mask_BT[row].sum()),
                "ended": bool(sampled.rollouts.ended_B[row]),
            }
            for row in index
        ]


def _mean_of_known(rewards: list[float]) -> float:
    """The mean of the rewards that are not missing, NaN where all are."""
    known = [reward for reward in rewards if not math.isnan(reward)]
    return sum(known) / len(known) if known else math.nan

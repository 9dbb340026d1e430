"""Reward models beside a start model: taught from preferences by TRL, saved in the start model's folder.

Each is the start model's trunk with a new head of one number (Ouyang et al. 2022, arXiv 2203.02155, section 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ppo_vs_grpo.benchmarks.models import hub
from ppo_vs_grpo.benchmarks.models.judge import KEY, judge_of, open_judge
from ppo_vs_grpo.benchmarks.models.pairs import taught, train
from ppo_vs_grpo.tasks.base import Problem, Task
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.learned import Learned
from ppo_vs_grpo.tasks.rewards import Rewards
from ppo_vs_grpo.tasks.rewards.models import Judge, ModelReward
from ppo_vs_grpo.tasks.splits import problems, rng

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RECIPE = 1
"""Version of how a reward model is taught; part of the start model's content hash."""

STREAM = 10**6
"""Seed of the problems behind the first model's preferences; each further model adds one. No run uses these seeds."""

SAMPLES = 2
"""Completions of each problem by the start model; a demonstration comes on top."""

MODEL_KEYS = ("model", "base")
"""Where a suite's `reward` names models."""

BATCH, EPOCHS, LEARNING_RATE = 64, 2, 1e-3


@dataclass(frozen=True, slots=True)
class Candidates:
    """The completions of a problem and their gold rewards."""

    problem: Problem
    texts: tuple[str, ...]
    rewards: tuple[float, ...]


def chance_to_win(ahead: float, temperature: float) -> float:
    """1 / (1 + exp(-ahead / temperature)), or its limit at temperature 0. As a tanh it cannot overflow."""
    return (1 + float(np.tanh(ahead / temperature / 2) if temperature else np.sign(ahead))) / 2


def preferences(asked: Sequence[Candidates], temperature: float, stream: np.random.Generator) -> list[dict[str, str]]:
    """Every pair of a problem's distinct completions, as `prompt`, `chosen` and `rejected`.

    The label is drawn by Bradley and Terry's model at the temperature. A pair with equal rewards may fall either way;
    at temperature 0 such pairs are left out.
    """
    pairs = []
    for candidates in asked:
        rated = list(dict(zip(candidates.texts, candidates.rewards, strict=True)).items())
        for i, (text, reward) in enumerate(rated):
            for other, others_reward in rated[:i]:
                if temperature == 0 and reward == others_reward:
                    continue
                wins = stream.random() < chance_to_win(reward - others_reward, temperature)
                chosen, rejected = (text, other) if wins else (other, text)
                pairs.append({"prompt": candidates.problem.prompt, "chosen": chosen, "rejected": rejected})
    return pairs


def saved(start: Path, model: int) -> Path:
    """The folder of reward model number `model`, inside the start model's folder."""
    return start / (f"reward-{model}" if model else "reward")


def _stream(task: Learned, use: str, model: int) -> np.random.Generator:
    """A model's own random numbers. The first model's have no number, so it does not depend on how many there are."""
    return rng(use, task.name, task.version, *([model] if model else []))


def candidates(
    task: Learned, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, model: int = 0
) -> list[Candidates]:
    """The completions behind a model's preferences: samples of the start model and a demonstration per problem."""
    from ppo_vs_grpo.algorithms.shared.prompts import encode
    from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
    from ppo_vs_grpo.algorithms.shared.scoring import texts

    drawn = problems(task, "train", STREAM + model, 0, task.preferences)
    stream = _stream(task, "preferences", model)
    uniforms_TB = stream.random((task.max_new_tokens, SAMPLES * len(drawn)), dtype="float32")
    pad, end = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
    engine = HuggingFaceEngine(policy, pad, (end,), task.max_new_tokens, temperature=1.0)
    written = texts(engine.generate(encode(tokenizer, drawn), SAMPLES, uniforms_TB), tokenizer)
    found = []
    for i, problem in enumerate(drawn):
        answers = (*written[SAMPLES * i : SAMPLES * (i + 1)], task.demonstrate(problem, stream))
        rewards = (task.score(problem, text).reward for text in answers)
        rated = [(text, reward) for text, reward in zip(answers, rewards, strict=True) if reward is not None]
        found.append(Candidates(problem, tuple(text for text, _ in rated), tuple(reward for _, reward in rated)))
    return found


def teach(task: Learned, start: Path, number: int = 0) -> None:
    """Teach reward model `number` from the start model saved in the folder, and save it inside.

    Its rewards are shifted and scaled to the gold reward's mean and standard deviation over the taught completions:
    preferences fix neither, and beta should have the same weight under both rewards.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(start)
    policy = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32).eval()
    asked = candidates(task, policy, tokenizer, number)
    pairs = preferences(asked, task.label_temperature, _stream(task, "labels", number))
    if not pairs:
        raise UserError(f"task: 'learned': the completions of {task.preferences} problems give no preference")
    settings = {"num_train_epochs": EPOCHS, "per_device_train_batch_size": BATCH, "learning_rate": LEARNING_RATE}
    model = train(str(start), tokenizer, pairs, start / ".trainer", **settings, seed=number)
    rated = [(c.problem, text, gold) for c in asked for text, gold in zip(c.texts, c.rewards, strict=True)]
    asked_problems, answers, golds = zip(*rated, strict=True)
    raw = judge_of(model, tokenizer)(asked_problems, answers)
    scale = float(np.std(golds) / max(np.std(raw), 1e-6))
    model.config.reward_scale, model.config.reward_shift = scale, float(np.mean(golds) - scale * np.mean(raw))
    model.save_pretrained(saved(start, number))


def at_commits(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """The task's options, its reward models of the hub named by their commits; so is each of its rewards' models.

    A branch that moved thus gives other runs. UserError where a commit cannot be learned.
    """
    named = {asked.model for asked in _models(task) if hub.is_name(asked.model)}
    commits = {model: hub.at_commit(model, KEY) for model in named}
    for asked in _models(task):
        asked.model = commits.get(asked.model, asked.model)
    return {key: _renamed(value, commits) if key == "reward" else value for key, value in options.items()}


def download(options: Mapping[str, Any]) -> None:
    """Fetch the reward models of the hub that a run's options name, once for all runs, which ask no hub. UserError."""
    given = options.get("reward")
    for one in given if isinstance(given, list) else [given]:
        for key in MODEL_KEYS:
            if isinstance(one, dict) and isinstance(model := one.get(key), str) and hub.is_name(model):
                hub.download(model, KEY)


def _renamed(given: Any, names: Mapping[str, str]) -> Any:
    if isinstance(given, list):
        return [_renamed(one, names) for one in given]
    if isinstance(given, dict):
        return {key: names.get(value, value) if key in MODEL_KEYS else value for key, value in given.items()}
    return given


def _models(task: Task) -> tuple[ModelReward, ...]:
    rewards = getattr(task, "rewards", None)
    return rewards.models if isinstance(rewards, Rewards) else ()


def give_judges(task: Task, start: Path, seed: int, device: str) -> None:
    """Load the models that judge a task in a run with this seed, and set them. Raises UserError."""
    if isinstance(task, Learned):
        task.judge = load(start, task.model_of(seed), device)
    for asked in _models(task):
        model = asked if asked.taught is None else replace(asked, model=str(taught(asked, start)))
        asked.judge = open_judge(model)


def load(start: Path, number: int = 0, device: str = "cpu") -> Judge:
    """Reward model `number`, saved beside the start model, on the device."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(saved(start, number), dtype=torch.float32)
    torch.nn.Module.to(model, device)
    return judge_of(model, AutoTokenizer.from_pretrained(start))

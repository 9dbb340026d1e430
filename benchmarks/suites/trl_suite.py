"""From a configuration of TRL's GRPO to a suite: its arm beside PPO with a critic, under the same shared settings.

What has no counterpart is told by trl_notes.py. What is read where in TRL 1.12:

- `_Steps`: GRPOConfig.__post_init__ and GRPOTrainer._prepare_inputs
- `_shared`: GRPOTrainer.__init__, TrainingArguments.get_warmup_steps, transformers.get_scheduler
- `_imported_arm`: GRPOTrainer._compute_loss, and the advantages of _generate_and_score_completions
- `_task`: scripts/grpo.py
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ppo_vs_grpo.algorithms import entry
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.suites.trl_config import TrlConfig, TrlFile
from ppo_vs_grpo.benchmarks.suites.trl_notes import notes_on
from ppo_vs_grpo.tasks.errors import UserError

PPO = "ppo-critic"
"""The arm beside the imported one."""

CRITIC_FACTOR = 10
"""The critic's learning rate over the policy's, as trainers of language models have it (verl: 1e-5 and 1e-6)."""

BUDGET = TrainConfig().completions
"""Completions of a run where TRL counts epochs over a dataset that is not read here."""

UNBOUNDED = 1e9
"""The norm of a gradient that is never clipped: TRL's `max_grad_norm: 0`."""

ALGORITHMS_BY_LOSS = {
    "grpo": "grpo",
    "sapo": "grpo",
    "dapo": "dapo",
    "bnpo": "dapo",
    "cispo": "dapo",
    "vespo": "dapo",
    "dr_grpo": "dr-grpo",
    "luspo": "gspo",
}
"""TRL's `loss_type` and the arm whose loss it is, or the nearest."""

REWARD_OPTIONS = {"get_soft_overlong_punishment": {"max_completion_len": 1280, "soft_punish_cache": 256}}
"""The options with which TRL's script makes a reward of its registry."""

SCRIPT_REWARDS = ("accuracy_reward", "reasoning_accuracy_reward", "think_format_reward", *REWARD_OPTIONS)
"""TRL's rewards that its script knows by name alone."""


@dataclass(frozen=True, slots=True)
class _Steps:
    """How completions become optimizer steps: an update's completions, its mini-batches and epochs."""

    completions: int
    mini_batches: int
    epochs: int

    def completions_of(self, optimizer_steps: int) -> int:
        """The completions of so many optimizer steps, in whole updates."""
        return math.ceil(optimizer_steps / (self.mini_batches * self.epochs)) * self.completions

    def optimizer_steps(self, completions: int) -> int:
        """The optimizer steps of so many completions."""
        return completions // self.completions * self.mini_batches * self.epochs


def suite_of(file: TrlFile, source: Path) -> tuple[dict[str, Any], list[str]]:
    """A suite as its file holds it, without a name, and one line for each thing that has no counterpart.

    Raises UserError, which begins with `source`, for a configuration that TRL refuses, or that cannot be a suite.
    """
    config = file.config
    if config.model_name_or_path is None:
        raise UserError(f"{source}: model_name_or_path: missing; name the model that training starts from")
    steps = _steps(file, source)
    train = _shared(config, steps)
    algorithm, arm = _imported_arm(config, train)
    critic = {"learning_rate": _round(CRITIC_FACTOR * config.learning_rate)}
    suite = {
        "description": f"{algorithm} as {source.name} configures it for TRL, and PPO with a critic",
        "start": _start(config.model_name_or_path, config.model_revision),
        "tasks": {"dataset": _task(config, source)},
        "arms": {PPO: {"algorithm": PPO, "config": {"critic": critic}}, algorithm: arm},
        "seeds": 8,
        "train": train,
        "eval": {"prompts": 128, "samples": 4, "points": 11},
        "timing": {"updates": 5, "warmup_updates": 1},
    }
    return suite, notes_on(file, train, algorithm)


def text_of(suite: dict[str, Any], notes: list[str], source: Path, name: str) -> str:
    """The suite's file: the notes as comments, then every key."""
    head = [
        f"Imported from {source.name}, a configuration of TRL's GRPO. A suite compares its arms: each is trained on "
        "each task with each seed.",
        f"Run it with `ppo-vs-grpo run {name}.yaml`; every key with its default: `ppo-vs-grpo show {name}.yaml`.",
        "",
        "What is different here, or has no counterpart:",
    ]
    lines = [*head, *(f"- {note}" for note in notes)]
    wrapped = [textwrap.wrap(line, 118, subsequent_indent="  " * line.startswith("-")) or [""] for line in lines]
    comments = "".join(f"# {line}".rstrip() + "\n" for part in wrapped for line in part)
    return f"{comments}\n{yaml.safe_dump(suite, sort_keys=False, width=118, allow_unicode=True)}"


def _start(model: str, revision: str) -> str:
    return model if revision == "main" else f"{model}@{revision}"


def _steps(file: TrlFile, source: Path) -> _Steps:
    """An update's completions are TRL's generation batch.

    generation_batch_size = per_device_train_batch_size * processes * steps_per_generation, and steps_per_generation is
    gradient_accumulation_steps by default. An optimizer step takes gradient_accumulation_steps of those steps; the
    batch is used num_iterations times. Where an optimizer step takes several generations, all of one policy, these
    are one update here.
    """
    config, per_step, steps = file.config, file.step_completions, file.steps_per_generation
    accumulated, generated = config.gradient_accumulation_steps, config.generation_batch_size
    if config.steps_per_generation is not None and generated is not None:
        raise UserError(f"{source}: generation_batch_size: steps_per_generation is there too; leave one of them out")
    if generated is not None and generated % per_step:
        raise UserError(
            f"{source}: generation_batch_size: {generated}: should be a multiple of the {per_step} completions of a "
            "step (per_device_train_batch_size * num_processes)"
        )
    if (steps * per_step) % config.num_generations:
        raise UserError(
            f"{source}: num_generations: {config.num_generations}: should divide the {steps * per_step} completions of "
            "a generation (per_device_train_batch_size * num_processes * steps_per_generation)"
        )
    if steps % accumulated == 0:
        return _Steps(steps * per_step, steps // accumulated, config.num_iterations)
    if accumulated % steps == 0 and config.num_iterations == 1:
        return _Steps(accumulated * per_step, 1, 1)
    raise UserError(
        f"{source}: steps_per_generation: {steps}: should be a multiple of gradient_accumulation_steps, {accumulated}: "
        "no optimizer step here spans parts of two generations"
    )


def _shared(config: TrlConfig, steps: _Steps) -> dict[str, Any]:
    """The settings that both arms share. `max_steps` and `warmup_steps` count optimizer steps."""
    completions = max(BUDGET // steps.completions, 1) * steps.completions
    if config.max_steps > 0:
        completions = steps.completions_of(config.max_steps)
    clip_high, dual_clip = _upper_bounds(config)
    settings: dict[str, Any] = {
        "completions": completions,
        "prompts_per_update": steps.completions // config.num_generations,
        "group_size": config.num_generations,
        "max_new_tokens": config.max_completion_length,
        "temperature": config.temperature,
        "epochs": steps.epochs,
        "mini_batches": steps.mini_batches,
        "learning_rate": config.learning_rate,
        "warmup_completions": _warmup_completions(config, steps, completions),
        "max_grad_norm": config.max_grad_norm or UNBOUNDED,
        "beta": config.beta,
        "clip_low": config.epsilon,
        "clip_high": clip_high,
        "dual_clip": dual_clip,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "min_p": config.min_p or 0.0,
        "gradient_checkpointing": config.checkpoints,
        "lora_rank": config.lora_r if config.use_peft else None,
        "dtype": "bfloat16" if config.computes_in_bfloat16 else "float32",
        "micro_batch_tokens": config.per_device_train_batch_size * (config.max_completion_length or 256),
    }
    if settings["top_p"] < 1 or settings["top_k"] > 0 or settings["min_p"] > 0:
        settings["importance_correction"] = True
    if config.chat_template_kwargs:
        settings["chat"] = {"variables": config.chat_template_kwargs}
    return {key: value for key, value in settings.items() if value is not None}


def _warmup_completions(config: TrlConfig, steps: _Steps, completions: int) -> int:
    """Below 1 TRL's `warmup_steps` is a share of all optimizer steps; three of its schedules know no warm-up."""
    if config.lr_scheduler_type in ("constant", "greedy", "reduce_lr_on_plateau"):
        return 0
    warmup = int(config.warmup_steps)
    if warmup < 1:
        warmup = math.ceil(config.warmup_steps * steps.optimizer_steps(completions))
    return round(warmup / (steps.mini_batches * steps.epochs) * steps.completions)


def _upper_bounds(config: TrlConfig) -> tuple[float, float | None]:
    """`clip_high` and `dual_clip` that bound as TRL does: the ratio by `delta`, then by 1 + `epsilon_high`.

    The lower of the two ends what a good token gains, the higher what a bad one loses. A `delta` of 1 or less has no
    counterpart.
    """
    high = config.epsilon if config.epsilon_high is None else config.epsilon_high
    if config.delta is None or config.delta <= 1:
        return high, None
    if config.delta > 1 + high:
        return high, config.delta
    return _round(config.delta - 1), _round(1 + high)


def _imported_arm(config: TrlConfig, train: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The algorithm whose loss is TRL's, or the nearest, and the arm.

    A name that declares settings of its own, such as `beta` 0, has those of the file restated.
    """
    algorithm = ALGORITHMS_BY_LOSS[config.loss_type]
    if config.importance_sampling_level == "sequence":
        algorithm = "gspo"
    own: dict[str, Any] = {}
    if algorithm == "grpo":
        own["scale"] = config.scale
        if config.beta and config.use_bias_correction_kl:
            own["kl"] = "k3_ratio"
    if algorithm == "dapo":  # without its dynamic sampling and its punishment of long completions
        own |= {"sampling_rounds": 1, "overlong_buffer_tokens": None}
    restated = {key: train[key] for key in entry(algorithm).train(TrainConfig())}
    arm = {"algorithm": algorithm, "config": own, "train": restated}
    return algorithm, {key: value for key, value in arm.items() if value}


def _task(config: TrlConfig, source: Path) -> dict[str, Any]:
    """The rows of the dataset, under the rewards."""
    first = config.datasets[0] if config.datasets else {}
    files = first.get("data_files")
    place = (files if isinstance(files, str) else first.get("path")) or config.dataset_name
    if place is None:
        raise UserError(f"{source}: dataset_name: missing; name the dataset whose prompts are asked")
    options: dict[str, Any] = {"source": place}
    name = first.get("name") if config.datasets else config.dataset_config
    if name is not None:
        options["config"] = name
    if not config.datasets and "dataset_test_split" in config.model_fields_set:
        options["test"] = config.dataset_test_split
    return {"task": "dataset", "options": options | {"prompt": "prompt", "reward": _rewards(config, source)}}


def _rewards(config: TrlConfig, source: Path) -> list[dict[str, Any]]:
    """The reward model, then the functions, in the order of TRL's script, each with its weight."""
    model = config.reward_model_name_or_path
    rewards: list[dict[str, Any]] = [{"model": model}] if model else []
    for name in config.reward_funcs or ():
        rewards.append(_function(name, source))
    if not rewards:
        raise UserError(f"{source}: reward_funcs: missing; name a reward, such as accuracy_reward")
    weights = [1.0] * len(rewards) if config.reward_weights is None else config.reward_weights
    if len(weights) != len(rewards):
        raise UserError(f"{source}: reward_weights: {weights}: should be {len(rewards)} numbers, one a reward")
    return [
        reward | ({} if weight == 1 else {"weight": weight}) for reward, weight in zip(rewards, weights, strict=True)
    ]


def _function(name: str, source: Path) -> dict[str, Any]:
    if name in SCRIPT_REWARDS:
        options = {"options": REWARD_OPTIONS[name]} if name in REWARD_OPTIONS else {}
        return {"reward": f"trl.rewards:{name}", **options}
    module, dot, function = name.rpartition(".")
    if not (module and dot and function):
        known = ", ".join(SCRIPT_REWARDS)
        raise UserError(f"{source}: reward_funcs: {name!r}: should be one of {known}, or a dotted path such as a.b.f")
    return {"reward": f"{module}:{function}"}


def _round(number: float) -> float:
    """The number as one would write it: 1.1 - 1 is 0.1."""
    return float(f"{number:.12g}")

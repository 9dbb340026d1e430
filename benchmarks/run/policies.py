"""The networks that a run ended with, as folders that transformers and peft load without this package.

policy/   the policy as `save_pretrained` writes it, or its adapter as peft does, with the tokenizer
critic/   value_head.safetensors (V = weight h + bias), and the critic's own network or adapter where it has one;
          critic.json says what it is, so that another run can set out from it (`critic.start`)
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.models.critic import BETWEEN_NAMES, HEAD, SavedCritic, describe
from ppo_vs_grpo.benchmarks.records.folder import NETWORKS
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ppo_vs_grpo.algorithms.shared.trainer import Trainer
    from ppo_vs_grpo.benchmarks.run.trainers import RunTrainer


def save(trainer: RunTrainer, run: Path, start: Path, spec: RunSpec, updates: int) -> None:
    """Write a run's networks into its folder, after so many updates.

    An adapter names the model that it adapts, which lies in `start`.
    """
    from safetensors.torch import save_file

    from ppo_vs_grpo.algorithms.shared.trainer import Trainer

    repository, _, commit = spec.start.partition("@")  # of the hub; a path stays one
    base = (
        (repository, commit) if commit and not spec.start.startswith(("/", ".", "~")) else (str(start.resolve()), None)
    )
    policy, critic = (run / name for name in NETWORKS)
    _save(trainer.policy, policy, "CAUSAL_LM", base, trainer.policy)
    trainer.tokenizer.save_pretrained(policy)
    if isinstance(trainer, Trainer) and (head := trainer.models.value_head) is not None:
        if trainer.models.trunk is not None:
            _save(trainer.models.trunk, critic, "FEATURE_EXTRACTION", base, trainer.policy)
        critic.mkdir(exist_ok=True)
        save_file({"weight": head.weight.detach(), "bias": head.bias.detach()}, critic / HEAD)
        describe(critic, _about(trainer, spec, updates))


def _about(trainer: Trainer, spec: RunSpec, updates: int) -> SavedCritic:
    """What critic.json says of a run's critic."""
    critic = trainer.algorithm.needs.critic
    assert critic is not None  # it has a head
    return SavedCritic(
        kind=critic.kind,
        bounds=critic.bounds,
        lora_rank=spec.train.lora_rank,
        start_hash=spec.start_hash,
        policy_updates=max(0, updates - critic.warmup_updates),
    )


def _save(
    network: PreTrainedModel, folder: Path, task: str, base: tuple[str, str | None], adapted: PreTrainedModel
) -> None:
    """Save a network whole, or its adapter alone; `adapted` is the policy, which has the adapter's settings."""
    adapters = {name: parameter for name, parameter in network.named_parameters() if ".lora_" in name}
    if not adapters:
        network.save_pretrained(folder)
        return
    from safetensors.torch import save_file

    settings: Any = copy.copy(adapted.peft_config["default"])  # typed as less than it is
    settings.base_model_name_or_path, settings.revision = base
    settings.task_type, settings.inference_mode = task, True
    settings.target_modules = {name.partition(".lora_")[0] for name in adapters}
    settings.save_pretrained(folder)
    tensors = {
        f"base_model.model.{name.replace(BETWEEN_NAMES, '.')}": parameter.detach().contiguous()
        for name, parameter in adapters.items()
    }
    save_file(tensors, folder / "adapter_model.safetensors")

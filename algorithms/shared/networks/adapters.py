"""LoRA adapters in a policy."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ppo_vs_grpo.tasks.errors import UserError


def add_adapters(policy: PreTrainedModel, rank: int, seed: int) -> None:
    """Freeze the model and make every W x into W x + 2 B A x, at first with B = 0 (arXiv 2106.09685, section 4.1)."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError:
        raise UserError(
            f"lora_rank {rank}: LoRA needs peft, which is not installed: pip install 'ppo-vs-grpo[lora]'"
        ) from None
    embedding = policy.get_output_embeddings()
    if not any(isinstance(part, nn.Linear | Conv1D) and part is not embedding for part in policy.modules()):
        raise UserError(
            f"lora_rank {rank}: {type(policy).__name__} has no linear layers beside its output embedding, so there is "
            "nothing to adapt; leave it out"
        )
    if experts := _experts_outside_layers(policy):
        raise UserError(
            f"lora_rank {rank}: {type(policy).__name__} keeps its experts' weights outside linear layers, so adapters "
            f"would leave them frozen: {experts[0]} and {len(experts) - 1} more; leave lora_rank out"
        )
    adapters = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out")  # peft sees how a layer is laid out, sets this and warns
        for rule in ("alpha_pattern keys", "target_parameters="):  # peft's, for experts, of a model that has none
            warnings.filterwarnings("ignore", f".*{rule}")
        try:
            inject_adapter_in_model(adapters, policy)
        except ValueError as error:  # layers that peft knows it cannot adapt
            raise UserError(f"lora_rank {rank}: {type(policy).__name__} cannot be adapted: {error}") from error
    generator = torch.Generator(policy.device).manual_seed(seed)
    for path, module in policy.named_modules():
        if ".lora_A." in path or ".lora_B." in path:  # peft's own values would come from global state
            weight = torch.zeros_like(module.get_parameter("weight"), device=policy.device, dtype=torch.float32)
            if ".lora_A." in path:
                nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)
            module.register_parameter("weight", nn.Parameter(weight))


def _experts_outside_layers(policy: PreTrainedModel) -> list[str]:
    """Names of the weights that hold all experts of a layer in one tensor, of which no adapter can be made."""
    layers = {id(p) for part in policy.modules() if isinstance(part, nn.Linear | Conv1D) for p in part.parameters()}
    return [name for name, p in policy.named_parameters() if "expert" in name and p.dim() > 1 and id(p) not in layers]

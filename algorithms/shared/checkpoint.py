"""A training run between two updates, as named tensors and numbers: with them a new trainer goes on bit for bit.

Random streams have no state. Each is seeded by its purpose, the run's seed, and the number of its update or draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ppo_vs_grpo.algorithms.shared.networks.models import Models

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What the optimizer keeps of each parameter, beside its number of steps."""


@dataclass(frozen=True, slots=True)
class State:
    """Tensors by their place, such as `policy.lm_head.weight` and `exp_avg.policy.lm_head.weight`; counts by name."""

    tensors: dict[str, Tensor]
    numbers: dict[str, int]


def tensors_of(models: Models, optimizer: torch.optim.Optimizer, with_reference: bool) -> dict[str, Tensor]:
    """The trained weights and the optimizer's moments and steps, not copied; frozen weights are left out.

    `with_reference` adds the reference's weights, which a run needs if its reference moves.
    """
    trained = _trained(models)
    tensors: dict[str, Tensor] = {**trained, **(_moving(models) if with_reference else {})}
    for name, parameter in trained.items():
        kept = optimizer.state.get(parameter, {})
        tensors |= {f"{what}.{name}": kept[what] for what in (*MOMENTS, "step") if what in kept}
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


@torch.no_grad()
def put_back(
    models: Models, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], with_reference: bool
) -> None:
    """Copy into the networks and the optimizer what `tensors_of` gave. KeyError for a weight that is missing."""
    trained = _trained(models)
    for name, parameter in {**trained, **(_moving(models) if with_reference else {})}.items():
        parameter.copy_(tensors[name])
    optimizer.state.clear()
    for name, parameter in trained.items():
        if f"step.{name}" in tensors:  # a weight without a gradient so far has none, as the policy's in a warm-up
            moments = {what: torch.empty_like(parameter).copy_(tensors[f"{what}.{name}"]) for what in MOMENTS}
            optimizer.state[parameter] = {"step": tensors[f"step.{name}"].to(parameter.device, copy=True), **moments}


def _trained(models: Models) -> dict[str, nn.Parameter]:
    """The parameters that steps change, by network and name."""
    networks = {"policy": models.policy, "value_head": models.value_head, "trunk": models.trunk}
    return {
        f"{role}.{name}": parameter
        for role, network in networks.items()
        if network is not None
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }


def _moving(models: Models) -> dict[str, nn.Parameter]:
    """The reference's parameters, without those that it shares with the policy because nothing changes them."""
    if models.reference is None:
        return {}
    own = {id(parameter) for parameter in models.policy.parameters()}
    return {f"reference.{name}": p for name, p in models.reference.named_parameters() if id(p) not in own}

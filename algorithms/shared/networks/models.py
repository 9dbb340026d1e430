"""Policy, critic and reference, over any Hugging Face causal language model."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.networks.adapters import add_adapters
from ppo_vs_grpo.algorithms.shared.networks.attention import read_packed, reads_packed
from ppo_vs_grpo.algorithms.shared.networks.likelihood import hidden, likelihood, trunk_of
from ppo_vs_grpo.algorithms.shared.networks.precision import compute_in
from ppo_vs_grpo.algorithms.shared.networks.sequences import Packed
from ppo_vs_grpo.algorithms.shared.networks.vocabulary import vocabulary_tokens
from ppo_vs_grpo.algorithms.shared.types import PolicyOutput
from ppo_vs_grpo.tasks.errors import UserError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Models:
    """The networks of a run. `trunk` is the critic's own network; it is None if the critic reads the policy's.

    `bounds` are those of the critic's values, if it has any.
    """

    policy: PreTrainedModel
    reference: PreTrainedModel | None
    value_head: nn.Linear | None
    trunk: PreTrainedModel | None
    bounds: tuple[float, float] | None = None

    @property
    def packed(self) -> bool:
        """Whether the networks read packed tokens."""
        return reads_packed(self.policy)

    def policy_parameters(self) -> list[nn.Parameter]:
        """Parameters that the policy's step changes."""
        return [p for p in self.policy.parameters() if p.requires_grad]

    def value_parameters(self) -> list[nn.Parameter]:
        """Parameters that the critic's step changes, without a shared trunk; empty without a critic."""
        modules = [m for m in (self.value_head, self.trunk) if m is not None]
        return [p for m in modules for p in m.parameters() if p.requires_grad]


def build(
    policy: PreTrainedModel,
    critic: CriticConfig | None,
    needs_reference: bool,
    lora_rank: int | None = None,
    gradient_checkpointing: bool = False,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Models:
    """Set up a run's networks around a start model, which becomes the policy.

    Dropout is off in every pass, so that the ratio at the sampling policy is exactly 1. The value head
    starts at zero: V = 0 everywhere, or half way between its bounds, and the policy's gradient is the one without a
    critic.

    With `lora_rank` the policy gets adapters in place, drawn by `seed`. Reference and trunk are copies with their own
    adapters around the same frozen tensors. Adapters start at zero: the logits equal those of the frozen start model
    bit for bit. With `dtype` bfloat16 the products of every pass have that type, whatever the type of the weights.

    Raises UserError if the model is not a causal language model, if it has no layers to adapt or to compute again, no
    attention to freeze, and if peft is missing.
    """
    vocabulary_tokens(policy)
    if policy.config.is_encoder_decoder:
        raise UserError(f"start: {type(policy).__name__} is an encoder and a decoder; a start is a decoder alone")
    if lora_rank is not None:
        add_adapters(policy, lora_rank, seed)
    policy.eval()
    read_packed(policy)
    reference = None
    if needs_reference:
        reference = _copy(policy).requires_grad_(False)
    head = trunk = None
    if critic is not None:
        weight = policy.get_output_embeddings().get_parameter("weight")
        head = nn.Linear(weight.shape[1], 1, device=weight.device, dtype=torch.float32)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        if critic.kind == "model":
            trunk = _copy(_trunk(policy))
            if critic.frozen_attention:
                _freeze_attention(trunk)
    if gradient_checkpointing:
        for network in (trunk_of(policy) or policy, trunk):
            if network is not None:
                _compute_layers_again(network)
    if dtype != torch.float32:
        for network in (policy, reference, trunk):
            if network is not None:
                compute_in(dtype, network)
    return Models(policy, reference, head, trunk, None if critic is None else critic.bounds)


def policy_output(
    models: Models, packed: Packed, temperature: float, detach_trunk: bool, with_kl: bool = False
) -> PolicyOutput:
    """One pass of the trained networks: the policy's log-probabilities, and the critic's values. A critic that shares
    the trunk reads the same trunk pass. `detach_trunk` keeps the value loss out of a shared trunk. `with_kl` asks the
    reference for its whole distribution at every token.
    """
    read = likelihood(models.policy, packed, temperature, models.reference if with_kl else None)
    values_bT = None
    if (head := models.value_head) is not None:
        hidden_NH = read.hidden_NH if models.trunk is None else hidden(models.trunk, packed)[0]
        if models.trunk is None and detach_trunk:
            hidden_NH = hidden_NH.detach()
        values_bT = packed.unflatten(_value(head, hidden_NH, models.bounds))
    kl_bT = None if read.kl_N is None else packed.unflatten(read.kl_N)
    return PolicyOutput(packed.unflatten(read.logp_N), packed.unflatten(read.entropy_N), values_bT, kl_bT)


def values(models: Models, packed: Packed) -> Tensor:
    """V before each completion token, at the position that predicts it: (b, T). A shared trunk gets no gradient."""
    if models.value_head is None:
        raise ValueError("values need a critic, and this run has none")
    if models.trunk is not None:
        hidden_NH, _ = hidden(models.trunk, packed)
    else:
        with torch.no_grad():
            hidden_NH, _ = hidden(_trunk(models.policy), packed)
    return packed.unflatten(_value(models.value_head, hidden_NH, models.bounds))


def _value(head: nn.Linear, hidden_NH: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """The head's output, within the bounds if there are any: (N,)."""
    output_N: Tensor = head(hidden_NH.float())[:, 0]
    if bounds is None:
        return output_N
    low, high = bounds
    return low + (high - low) * output_N.sigmoid()


def refresh_reference(models: Models) -> None:
    """Copy the current policy into the reference."""
    if models.reference is not None:
        pairs = zip(models.reference.parameters(), models.policy.parameters(), strict=True)
        with torch.no_grad():
            for theirs, own in pairs:
                if theirs is not own:  # a frozen tensor is in both
                    theirs.copy_(own)


def _trunk(policy: PreTrainedModel) -> PreTrainedModel:
    if (trunk := trunk_of(policy)) is None:
        raise UserError(f"start: {type(policy).__name__} has no part that ends before its output, as a critic needs")
    return trunk


def _freeze_attention(trunk: PreTrainedModel) -> None:
    """Keep every attention, with its adapters, as it is. The library names the class of each by what it is."""
    attentions = [part for part in trunk.modules() if type(part).__name__.endswith("Attention")]
    if not attentions:
        raise UserError(
            f"critic.frozen_attention true: {type(trunk).__name__} has no attention that can be told by its name; "
            "leave it out"
        )
    for attention in attentions:
        attention.requires_grad_(False)


def _copy(network: Network) -> Network:
    """A copy that shares the frozen parameters: no step changes them, so one of each is enough."""
    return copy.deepcopy(network, {id(p): p for p in network.parameters() if not p.requires_grad})


def _compute_layers_again(network: nn.Module) -> None:
    """Make the network's layers keep only their input if gradients flow."""
    layers = [part for part in network.modules() if isinstance(part, GradientCheckpointingLayer)]
    if not layers:
        raise UserError(
            f"gradient_checkpointing true: {type(network).__name__} has no layers that the library can compute again; "
            "leave it out"
        )
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = functools.partial(_checkpoint, layer)  # type: ignore[assignment]
    network.register_forward_pre_hook(_checkpoint_where_gradients_flow)


def _checkpoint_where_gradients_flow(network: nn.Module, args: Any) -> None:
    """A layer makes checkpoints only in training mode, in which these networks never are: dropout is off."""
    for part in network.modules():
        if isinstance(part, GradientCheckpointingLayer):
            part.training = torch.is_grad_enabled()


def _checkpoint(layer: nn.Module, run: Callable[..., Any], *args: Any) -> Any:
    """Run the layer and drop its intermediates. Training mode ends first: some layers contain dropout."""
    layer.training = False
    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)

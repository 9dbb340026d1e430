"""Policy, critic and reference, over any Hugging Face causal language model."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.losses import exact_kl
from ppo_vs_grpo.algorithms.shared.sequences import Packed
from ppo_vs_grpo.algorithms.shared.types import PolicyOutput
from ppo_vs_grpo.tasks.errors import UserError


@dataclass(frozen=True, slots=True)
class Models:
    """The networks of a run. `trunk` is the critic's own network, None when it reads the policy's."""

    policy: PreTrainedModel
    reference: PreTrainedModel | None
    value_head: nn.Linear | None
    trunk: nn.Module | None

    def policy_parameters(self) -> list[nn.Parameter]:
        """What the policy's step moves."""
        return [p for p in self.policy.parameters() if p.requires_grad]

    def value_parameters(self) -> list[nn.Parameter]:
        """What the critic has of its own; empty without a critic."""
        modules = [m for m in (self.value_head, self.trunk) if m is not None]
        return [p for m in modules for p in m.parameters()]


def build(policy: PreTrainedModel, critic: CriticConfig | None, needs_reference: bool) -> Models:
    """Set up a run's networks around a start model, which becomes the policy.

    Dropout is off in every pass, so that the ratio at the sampling policy is exactly 1. The value head
    starts at zero: V = 0 everywhere, and the policy's gradient is the one without a critic.
    """
    if policy.get_output_embeddings() is None:
        raise UserError(f"model: {type(policy).__name__} has no output embedding, so it is not a causal language model")
    policy.eval()
    reference = None
    if needs_reference:
        reference = copy.deepcopy(policy).requires_grad_(False)
    head = trunk = None
    if critic is not None:
        weight = policy.get_output_embeddings().get_parameter("weight")
        head = nn.Linear(weight.shape[1], 1, device=weight.device, dtype=torch.float32)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        if critic.kind == "model":
            trunk = copy.deepcopy(policy.base_model)
    return Models(policy, reference, head, trunk)


@contextmanager
def output_read_at(model: PreTrainedModel, reads_N: Tensor) -> Iterator[list[Tensor]]:
    """Let the output embedding see only some positions, and keep what it saw.

    Within the context the model's logits are (1, N, V) instead of (b, L, V): no work is done and no memory held
    for prompts and padding, and whatever the model does to its logits (scaling, soft-capping) still happens.
    The list yields the hidden states read, (N, H), for a value head on the shared trunk.
    """
    seen: list[Tensor] = []

    def narrow(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_NH = inputs[0].flatten(0, 1).index_select(0, reads_N)
        seen.append(hidden_NH)
        return (hidden_NH[None], *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(narrow)
    try:
        yield seen
    finally:
        handle.remove()


def log_probs(model: PreTrainedModel, packed: Packed, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of every next token before each completion token, and the hidden state: (N, V), (N, H).

    The log-softmax is float32 whatever the model's dtype.
    """
    with output_read_at(model, packed.reads_N) as seen:
        logits_NV = model(input_ids=packed.ids_bL, use_cache=False).logits[0]
    return torch.log_softmax(logits_NV.float() / temperature, dim=-1), seen[0]


def policy_output(
    models: Models, packed: Packed, temperature: float, detach_trunk: bool, with_kl: bool = False
) -> PolicyOutput:
    """One pass of what is trained: the policy's log-probabilities, and the critic's values from the same
    trunk pass where it shares the trunk. `detach_trunk` keeps the value loss out of a shared trunk;
    `with_kl` asks the reference for its whole distribution at every token.
    """
    log_probs_NV, hidden_NH = log_probs(models.policy, packed, temperature)
    logp_N = log_probs_NV.gather(1, packed.targets_N[:, None])[:, 0]
    with torch.no_grad():
        entropy_N = -(log_probs_NV.exp() * log_probs_NV).sum(-1)
    values_bT = kl_bT = None
    if with_kl and models.reference is not None:
        with torch.no_grad():
            reference_NV, _ = log_probs(models.reference, packed, temperature)
        kl_bT = packed.unflatten(exact_kl(reference_NV, log_probs_NV))
    if models.value_head is not None:
        if models.trunk is not None:
            hidden_NH = _trunk_hidden(models.trunk, packed)
        elif detach_trunk:
            hidden_NH = hidden_NH.detach()
        values_bT = packed.unflatten(models.value_head(hidden_NH.float())[:, 0])
    return PolicyOutput(packed.unflatten(logp_N), packed.unflatten(entropy_N), values_bT, kl_bT)


def values(models: Models, packed: Packed) -> Tensor:
    """V before each completion token, the same position that scores it: (b, T)."""
    if models.value_head is None:
        raise ValueError("values need a critic, and this run has none")
    hidden_NH = _trunk_hidden(models.trunk if models.trunk is not None else models.policy.base_model, packed)
    return packed.unflatten(models.value_head(hidden_NH.float())[:, 0])


def logp(model: PreTrainedModel, packed: Packed, temperature: float) -> Tensor:
    """Log-probability of each completion token: (b, T)."""
    log_probs_NV, _ = log_probs(model, packed, temperature)
    return packed.unflatten(log_probs_NV.gather(1, packed.targets_N[:, None])[:, 0])


def refresh_reference(models: Models) -> None:
    """Make the reference the policy as it is now."""
    if models.reference is not None:
        models.reference.load_state_dict(models.policy.state_dict())


def _trunk_hidden(trunk: nn.Module, packed: Packed) -> Tensor:
    hidden_bLH: Tensor = trunk(input_ids=packed.ids_bL, use_cache=False).last_hidden_state
    return hidden_bLH.flatten(0, 1).index_select(0, packed.reads_N)

"""Floating-point operations by phase, the critic's apart: matrix products, as torch's own counter counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.profile.memory import PHASES, Peak, Tracker
from ppo_vs_grpo.benchmarks.profile.tracked import tracked_copy


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    flops: int = sdpa_flop_count(query.shape, key.shape, value.shape)
    return flops


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    flops: int = sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape)
    return flops


def _raw(formula: Callable[..., int]) -> Callable[..., int]:
    formula._get_raw = True  # type: ignore[attr-defined]  # asks the counter for tensors instead of shapes
    return formula


ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _raw(_attention),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _raw(_attention_backward),
}
"""Attention on a CPU, which torch's counter does not know. As elsewhere in it, masks do not reduce the count."""


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations of a phase per completion of its update, and the critic's part of them."""

    phase: str
    flops_per_completion: float
    critic_flops_per_completion: float


class FlopCount(TorchDispatchMode):
    """Counts operations by a tracker's phases. Those on the critic's parameters or activations are the critic's."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tracker = tracker
        self._formulas = FlopCounterMode(display=False, custom_mapping=ON_CPU).flop_registry
        self._counts = Counter[tuple[str, bool]]()

    def rows(self, completions: int) -> list[Flops]:
        """One row per phase with operations, divided by the number of completions."""
        critic = {phase: self._counts[phase, True] for phase in PHASES}
        return [
            Flops(phase, self.count(phase) / completions, critic[phase] / completions)
            for phase in PHASES
            if self.count(phase)
        ]

    def add(self, phase: str, flops: int) -> None:
        """Add operations of the policy that did not run here."""
        self._counts[phase, False] += flops

    def count(self, phase: str) -> int:
        """The phase's operations so far."""
        return self._counts[phase, False] + self._counts[phase, True]

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count it."""
        if func is torch.ops.prim.device.default:  # half of all calls on fake tensors, which know their device
            return type(args[0]).__torch_dispatch__(func, types, args)
        result = func(*args, **(kwargs or {}))
        formula = self._formulas.get(func._overloadpacket)  # type: ignore[attr-defined]
        if formula is not None:
            phase = self._tracker.current()[0]
            flops = formula(*args, **(kwargs or {}), out_val=result)
            self._counts[phase, phase == "value" or self._is_critics(args)] += flops
        return result

    def _is_critics(self, args: Any) -> bool:
        """Whether the operation reads a tensor of the critic. Activations get their role after the pass."""
        phase, kept_as = self._tracker.current()
        if phase == "forward" and kept_as == "activations.value":
            return True
        roles = [self._tracker.role(leaf) for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        return phase == "backward" and any(role in ("value.params", "activations.value") for role in roles)


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of an update: memory by phase and role, operations by phase."""

    peaks: tuple[Peak, ...]
    flops: tuple[Flops, ...]


def measure_costs(trainer: Trainer) -> Costs:
    """The costs of the trainer's next update. A copy takes that update: trainer and run do not change.

    Operations are divided by the number of completions that the update takes from the budget.
    """
    probed, tracker = tracked_copy(trainer)
    counting = FlopCount(tracker)
    before = probed.completions
    with tracker, counting:
        next(probed.updates(1, measure_memory=True))
    return Costs(tuple(tracker.peaks()), tuple(counting.rows(probed.completions - before)))


def flop_rows(costs: Costs) -> list[dict[str, Any]]:
    """Rows of each phase's operations per completion of the budget, and of the critic's part of them."""
    return [
        {"probe": "flops", "subject": row.phase, "quantity": quantity, "position": None, "value": value, "se": None}
        for row in costs.flops
        for quantity, value in (("total", row.flops_per_completion), ("critic", row.critic_flops_per_completion))
    ]

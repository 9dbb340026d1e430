"""How a policy learns from scores: one file per algorithm, everything they share in `shared`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if __name__ != "ppo_vs_grpo.algorithms":
    raise ImportError(f"import ppo_vs_grpo.algorithms, not {__name__}: see CONTRIBUTING.md, 'Set up'")

from ppo_vs_grpo.tasks.errors import UserError, nearest

if TYPE_CHECKING:
    from ppo_vs_grpo.algorithms.base import Algorithm
    from ppo_vs_grpo.algorithms.shared.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Entry:
    """An algorithm by name: its class, and what the name alone declares different from the shared settings.

    `says` is the line that lists it, the class's own by default.
    """

    where: str
    says: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    train: Callable[[TrainConfig], dict[str, Any]] = lambda shared: {}


ALGORITHMS = {
    "ppo": Entry("ppo:PPO"),
    "ppo-critic": Entry(
        "ppo:PPO",
        says="PPO whose critic is a network of its own.",
        config={"critic": {"kind": "model"}},
    ),
    "ppo-flat": Entry(
        "ppo:PPO",
        says="PPO on as many prompts as completions, one each.",
        train=lambda t: {"prompts_per_update": t.batch_completions, "group_size": 1},
    ),
    "grpo": Entry("grpo:GRPO"),
    "grpo-source": Entry("grpo_source:GRPOSource", train=lambda t: {"epochs": 1, "mini_batches": 1}),
    "dr-grpo": Entry("dr_grpo:DrGRPO", train=lambda t: {"beta": 0.0}),
    "dapo": Entry("dapo:DAPO", train=lambda t: {"beta": 0.0, "clip_high": 0.28}),
    "gspo": Entry("gspo:GSPO", train=lambda t: {"clip_low": 3e-4, "clip_high": 4e-4}),
    "rloo": Entry("rloo:RLOO"),
    "reinforce++": Entry("reinforce_pp:ReinforcePP"),
    "reinforce": Entry("reinforce:Reinforce", train=lambda t: {"epochs": 1, "mini_batches": 1}),
    "vine-ppo": Entry("vine_ppo:VinePPO"),
    "evpo": Entry("evpo:EVPO"),
    "sao": Entry(
        "sao:SAO",
        config={"value_lam": 1.0, "critic": {"kind": "model", "passes": 2, "frozen_attention": True}},
        train=lambda t: {"prompts_per_update": t.batch_completions, "group_size": 1},
    ),
    "ppo-group": Entry("ppo_group:PPOGroup"),
    "grpo-value": Entry("grpo_value:GRPOValue"),
}


def entry(name: str) -> Entry:
    """What an algorithm's name stands for; an unknown name raises UserError with the nearest right one."""
    if name not in ALGORITHMS:
        raise UserError(f"algorithm: unknown {name!r}; {nearest(name, ALGORITHMS)}")
    return ALGORITHMS[name]


def find(name: str) -> type[Algorithm]:
    """The algorithm's class; an unknown name raises UserError with the nearest right one."""
    module, _, attribute = entry(name).where.partition(":")
    algorithm: type[Algorithm] = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    return algorithm

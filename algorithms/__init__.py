"""How a policy learns from scores: one file per algorithm, everything they share in `shared`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if __name__ != "ppo_vs_grpo.algorithms":
    raise ImportError(f"import ppo_vs_grpo.algorithms, not {__name__}: see CONTRIBUTING.md, 'Set up'")

from ppo_vs_grpo.tasks.errors import UserError, nearest

if TYPE_CHECKING:
    from ppo_vs_grpo.algorithms.base import Algorithm

ALGORITHMS = {
    "ppo": "ppo_vs_grpo.algorithms.ppo:PPO",
    "grpo": "ppo_vs_grpo.algorithms.grpo:GRPO",
}


def find(name: str) -> type[Algorithm]:
    """The algorithm's class; an unknown name raises UserError with the nearest right one."""
    if name not in ALGORITHMS:
        raise UserError(f"algorithm: unknown {name!r}; {nearest(name, ALGORITHMS)}")
    module, _, attribute = ALGORITHMS[name].partition(":")
    algorithm: type[Algorithm] = getattr(importlib.import_module(module), attribute)
    return algorithm

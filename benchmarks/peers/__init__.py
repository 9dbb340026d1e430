"""Trainers of other libraries as arms: the same spec in, the same records out.

This module imports no peer: a suite can be read, and a report made, where none is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A trainer by name: the module with its loop, whose settings it takes, and what it is.

    `frozen` says that what lives when training starts is kept from the garbage collector, as in every arm of this
    package; otherwise the peer runs as its library ships it.
    """

    module: str
    stands_for: str
    says: str
    frozen: bool = True


PEERS = {
    "trl-grpo": Peer("trl_grpo", "grpo", "TRL's GRPOTrainer, with its best settings."),
    "trl-ppo": Peer("trl_ppo", "ppo-critic", "TRL's PPOTrainer (its last release with one is 1.12.0)."),
    "trl-ppo-shipped": Peer(
        "trl_ppo", "ppo-critic", "The same, its garbage collections over all that lives.", frozen=False
    ),
}


def find(name: str) -> Callable[..., None]:
    """The peer's training loop, for `driving.PeerTrainer`."""
    loop: Callable[..., None] = importlib.import_module(f"{__name__}.{PEERS[name].module}").loop
    return loop

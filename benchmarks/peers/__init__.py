"""Trainers of other libraries as arms: the same spec in, the same records out.

settings.py  the settings that a peer accepts
trainer.py   a library's training loop, one update at a time
trl_grpo.py  TRL's GRPOTrainer
trl_ppo.py   TRL's PPOTrainer

This module imports no peer, so suites can be read and reports made without one installed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ppo_vs_grpo.tasks.errors import UserError

CURRENT = Path(sys.prefix) / "trl-current"
"""TRL's current release. The environment has another: the last one with a PPOTrainer."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer: the module of its loop, the algorithm whose settings it takes, and a description.

    `frozen` keeps objects that exist when training starts from the garbage collector, as in every arm of this
    package. Otherwise the peer runs as its library ships it. `current` takes the library from CURRENT.
    """

    module: str
    stands_for: str
    says: str
    frozen: bool = True
    current: bool = False


PEERS = {
    "trl-grpo": Peer("trl_grpo", "grpo", "TRL's GRPOTrainer, with its best settings."),
    "trl-grpo-current": Peer("trl_grpo", "grpo", "The same, of TRL's current release (`make peers`).", current=True),
    "trl-ppo": Peer("trl_ppo", "ppo-critic", "TRL's PPOTrainer (its last release with one is 1.12.0)."),
    "trl-ppo-shipped": Peer(
        "trl_ppo", "ppo-critic", "The same, its garbage collections over all that lives.", frozen=False
    ),
}


def find(name: str) -> Callable[..., None]:
    """The peer's training loop, for `PeerTrainer`. Raises UserError if it needs CURRENT, which is not installed.

    A process can import only one of two releases: the first that is found.
    """
    peer = PEERS[name]
    if peer.current:
        if not (CURRENT / "trl").is_dir():
            raise UserError(f"{name}: TRL's current release is not installed: `make peers` puts it into {CURRENT}")
        if str(CURRENT) not in sys.path:
            sys.path.insert(0, str(CURRENT))
    loop: Callable[..., None] = importlib.import_module(f"{__name__}.{peer.module}").loop
    return loop

"""The settings that a peer accepts: those of the algorithm that it stands for, except what it cannot do."""

from __future__ import annotations

from typing import Any

from ppo_vs_grpo.algorithms import ALGORITHMS
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, TrainConfig
from ppo_vs_grpo.benchmarks.peers import PEERS
from ppo_vs_grpo.tasks.errors import UserError, nearest

FIXED = {
    **{"top_p": 1.0, "top_k": 0, "min_p": 0.0, "dual_clip": None, "lora_rank": None},
    **{"gradient_checkpointing": False, "importance_correction": False, "rollout_rows": None},
    "dtype": "float32",
}
"""Shared settings that no peer supports, and the only value with which a peer runs."""

OWN_FIXED: dict[str, dict[str, Any]] = {
    "grpo": {"ddof": 1, "eps": 1e-4, "kl": "k3"},
    "ppo-critic": {"lam_alpha": None, "value_lam": None, "whiten": True},
}
"""The same for an algorithm's own settings."""

CRITIC_FIXED = {
    **{"kind": "model", "detach": False, "warmup_updates": 0, "bootstrap_truncated": False},
    **{"bounds": None, "passes": 1, "frozen_attention": False},
}
"""The same for a critic's settings."""


def settings_of(name: str) -> str:
    """The algorithm whose settings an arm takes. Raises UserError for an unknown name."""
    if name not in {**ALGORITHMS, **PEERS}:
        raise UserError(f"algorithm: unknown {name!r}; {nearest(name, [*ALGORITHMS, *PEERS])}")
    return PEERS[name].stands_for if name in PEERS else name


def check_settings(name: str, config: dict[str, Any], train: TrainConfig) -> None:
    """Raise a UserError that begins with the key if a peer cannot do what a setting asks."""
    if name not in PEERS:
        return
    asked: dict[str, tuple[Any, Any]] = {f"train.{key}": (getattr(train, key), only) for key, only in FIXED.items()}
    asked |= {f"config.{key}": (config[key], only) for key, only in OWN_FIXED[PEERS[name].stands_for].items()}
    if critic := config.get("critic"):
        asked |= {f"config.critic.{key}": (critic[key], only) for key, only in CRITIC_FIXED.items()}
        rate = CriticConfig.model_validate(critic).rate(train.learning_rate)
        asked["config.critic.learning_rate"] = (rate, train.learning_rate)
        asked["train.clip_high"] = (train.clip_high, train.clip_low)
        if config["value_clip"] is None:
            raise UserError(f"config.value_clip: None: {name} knows only a number here, such as 0.2")
    for key, (value, only) in asked.items():
        if value != only:
            raise UserError(f"{key}: {value}: {name} knows only {only} here")
    if train.batch_completions % train.mini_batches:
        raise UserError(
            f"train.mini_batches: {train.mini_batches}: {name} splits the {train.batch_completions} completions of an "
            "update into equal parts"
        )

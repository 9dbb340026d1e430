"""Critics that runs have saved, from which others set out: values learnt once for a start model (arXiv 2503.01491,
section 3.2), and read by as many runs as wanted.

    critic.json                 kind, bounds, rank of adapters, start model, updates in which the policy learnt too
    value_head.safetensors      V = weight h + bias
    config.json and the like    the critic's own network, or its adapter, where it has one
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from ppo_vs_grpo.algorithms.shared.config import Frozen
from ppo_vs_grpo.benchmarks.models import saved
from ppo_vs_grpo.benchmarks.models.start import path_of
from ppo_vs_grpo.tasks.cache import cache_folder
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ppo_vs_grpo.algorithms.shared.networks.models import Models

ABOUT, HEAD, ADAPTER = "critic.json", "value_head.safetensors", "adapter_model.safetensors"

BETWEEN_NAMES = ".default."
"""How peft names the only adapter of a network, within a weight's name; its files leave that out."""


class SavedCritic(Frozen):
    """What critic.json says. `policy_updates` are those in which a shared trunk changed."""

    kind: Literal["head", "model"]
    bounds: tuple[float, float] | None
    lora_rank: int | None
    start_hash: str
    policy_updates: int


def at_digest(config: dict[str, Any], task: str, start_hash: str, lora_rank: int | None) -> dict[str, Any]:
    """An algorithm's settings with `critic.start` as `folder@digest`, of the task where it is named by task.

    UserError, beginning with its key, where there is no critic there, or one that does not fit the run.
    """
    critic = config.get("critic") or {}
    if not (asked := critic.get("start")):
        return config
    if isinstance(asked, Mapping):
        if task not in asked:
            raise UserError(f"critic.start: names no folder for the task {task}")
        asked = asked[task]
    folder, _, known = str(asked).partition("@")
    fits(folder, critic, start_hash, lora_rank)
    digest = digest_of(Path(folder).expanduser())
    if known and known != digest:
        raise UserError(f"critic.start: {folder}: has changed since it was named: {digest}, not {known}")
    return config | {"critic": critic | {"start": f"{folder}@{digest}"}}


def fits(folder: str, critic: Mapping[str, Any], start_hash: str, lora_rank: int | None) -> None:
    """Raise UserError, beginning with its key, unless a saved critic can go on as this one."""
    own, place = described(folder), f"critic.start: {folder}"
    bounds = critic["bounds"] and tuple(critic["bounds"])
    for name, had, asked in (("kind", own.kind, critic["kind"]), ("bounds", own.bounds, bounds)):
        if had != asked:
            raise UserError(f"{place}: was trained with critic.{name} {had}, and here it is {asked}; set it alike")
    if own.start_hash != start_hash:
        raise UserError(
            f"{place}: belongs to another start model ({own.start_hash}, and here {start_hash}); learn values of "
            "this one, or name a folder for each task as {task: folder}"
        )
    if own.kind == "model" and own.lora_rank != lora_rank:
        raise UserError(f"{place}: has lora_rank {own.lora_rank}, and the arm {lora_rank}; set them alike")
    if own.kind == "head" and own.policy_updates:
        raise UserError(
            f"{place}: its head reads a trunk that learnt for {own.policy_updates} updates, which the start model's "
            "is not; save it after updates of the critic alone (critic.warmup_updates)"
        )


def described(folder: str) -> SavedCritic:
    """What a saved critic says of itself. UserError where there is none."""
    path = path_of("critic.start", folder)
    if not (path / HEAD).is_file() or not (path / ABOUT).is_file():
        raise UserError(
            f"critic.start: {folder}: no critic is in this folder ({ABOUT}, {HEAD}); `run --save-policies` leaves "
            "one in runs/KEY/critic"
        )
    try:
        return SavedCritic.model_validate_json((path / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise UserError(f"critic.start: {folder}: {ABOUT} cannot be read: {str(error).splitlines()[-1]}") from None


def digest_of(folder: Path) -> str:
    """A hash of a saved critic's description and weights."""
    return saved.digest_of(folder, sorted([folder / ABOUT, *folder.glob("*.safetensors")]), cache_folder())


def describe(folder: Path, about: SavedCritic) -> None:
    """Write critic.json."""
    (folder / ABOUT).write_text(json.dumps(about.model_dump(), indent=1) + "\n", encoding="utf-8")


def load(start: str, models: Models) -> None:
    """Give a run's critic the weights of `folder@digest`. UserError where they do not fit, or changed meanwhile."""
    import torch
    from safetensors.torch import load_file

    name, _, digest = start.partition("@")
    folder = Path(name).expanduser()
    described(name)
    if digest_of(folder) != digest:
        raise UserError(f"critic.start: {name}: has changed since the suite began; begin it anew")
    if models.value_head is None:
        raise ValueError("a critic's weights need a critic, and this run has none")
    networks: list[tuple[torch.nn.Module, dict[str, Tensor]]] = [(models.value_head, load_file(folder / HEAD))]
    if models.trunk is not None and (folder / ADAPTER).is_file():
        networks.append((models.trunk, _adapters(load_file(folder / ADAPTER))))
    elif models.trunk is not None:
        networks.append((models.trunk, type(models.trunk).from_pretrained(folder, dtype=torch.float32).state_dict()))
    for network, weights in networks:
        trained = {key for key, parameter in network.named_parameters() if parameter.requires_grad}
        if not trained <= weights.keys() or not all(weight.isfinite().all() for weight in weights.values()):
            raise UserError(f"critic.start: {name}: weights are missing or not finite")
        try:
            network.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise UserError(f"critic.start: {name}: {str(error).splitlines()[-1].strip()}") from None


def _adapters(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adapters' weights by their names in a network, of those in peft's file."""
    return {
        f"{key.removeprefix('base_model.model.').removesuffix('.weight')}{BETWEEN_NAMES}weight": weight
        for key, weight in weights.items()
    }

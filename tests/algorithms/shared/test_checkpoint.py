"""Six updates in one go, and three, a checkpoint, another trainer and three more: the same bits."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

import adapted
from ppo_vs_grpo.algorithms.shared.checkpoint import State
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer

WITH_ADAPTERS = adapted.TRAIN.model_copy(
    update={"prompts_per_update": 4, "group_size": 4, "warmup_completions": 64, "max_new_tokens": 3}
)
TRAIN = WITH_ADAPTERS.model_copy(update={"lora_rank": None})

CASES = {
    "a value head": ("ppo", TRAIN, {}),
    "a critic of its own": ("ppo-critic", TRAIN, {}),
    "a warm-up of the critic alone": ("ppo", TRAIN, {"critic": CriticConfig(warmup_updates=4, detach=True)}),
    "no critic": ("grpo", TRAIN, {}),
    "a reference that moves": ("grpo-source", TRAIN, {"reference": "previous_step"}),
    "draws that are repeated": ("dapo", TRAIN, {}),
    "continuations": ("vine-ppo", TRAIN, {}),
    "adapters": ("ppo-critic", WITH_ADAPTERS, {}),
    "adapters and a reference that moves": ("grpo-source", WITH_ADAPTERS, {"reference": "previous_step"}),
    "bfloat16": ("ppo", TRAIN.model_copy(update={"dtype": "bfloat16"}), {}),
    "bfloat16 and adapters": ("grpo", WITH_ADAPTERS.model_copy(update={"dtype": "bfloat16"}), {}),
}


def made(case: str) -> Trainer:
    name, train, config = CASES[case]
    return adapted.trainer(name, train, **config)


def trained(learning: Trainer, updates: int) -> list[dict[str, object]]:
    """The metrics of some updates, without seconds."""
    records = [record.metrics for record in learning.updates(updates)]
    return [{name: value for name, value in row.items() if not name.endswith("_s")} for row in records]


def weights(learning: Trainer) -> dict[str, Tensor]:
    models = learning.models
    networks = {
        "policy": models.policy,
        "head": models.value_head,
        "trunk": models.trunk,
        "reference": models.reference,
    }
    return {
        f"{role}.{name}": tensor.clone()
        for role, network in networks.items()
        if network is not None
        for name, tensor in network.state_dict().items()
    }


def differing(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    return [name for name in ours | theirs if not torch.equal(ours[name], theirs[name])]


def written(state: State) -> State:
    """The state as it comes back from bytes and text."""
    return State(load(save(state.tensors)), json.loads(json.dumps(state.numbers)))


@pytest.mark.parametrize("case", list(CASES))
def test_a_restored_run_goes_on_bit_for_bit(case: str) -> None:
    through = made(case)
    before = trained(through, 3)
    state, halfway = written(through.state()), weights(through)
    after = trained(through, 3)
    later = made(case)
    trained(later, 1)  # what a trainer did before is forgotten
    later.restore(state)
    assert differing(weights(later), halfway) == []
    assert trained(later, 3) == after != before
    assert differing(weights(later), weights(through)) == []


def test_frozen_weights_are_left_out() -> None:
    """Of adapters of rank 2, and a head: nothing of the start model, and of the reference only what moves."""
    learning = made("adapters")
    trained(learning, 1)
    tensors = learning.state().tensors
    assert {name.partition(".")[0] for name in tensors} == {
        "policy",
        "trunk",
        "value_head",
        "exp_avg",
        "exp_avg_sq",
        "step",
    }
    assert all("lora_" in name for name in tensors if "value_head" not in name)
    trainable = [p for p in learning.models.policy.parameters() if p.requires_grad]
    assert sum(name.startswith("policy.") for name in tensors) == len(trainable)
    moving = made("adapters and a reference that moves")
    assert all("lora_" in name for name in moving.state().tensors)
    assert any(name.startswith("reference.") for name in moving.state().tensors)


def test_a_weight_that_is_missing_is_no_checkpoint() -> None:
    state = made("no critic").state()
    state.tensors.popitem()
    with pytest.raises(KeyError):
        made("no critic").restore(state)

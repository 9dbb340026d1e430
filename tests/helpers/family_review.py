"""What works with a small model of a type: found by building it as a run does, and by oracles of its own."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers import PreTrainedModel

from copying import prompts, uniforms
from families import END, FAMILIES, PAD, VOCABULARY, make
from ppo_vs_grpo.algorithms.shared.agreement import check_agreement
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.networks import likelihood
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Rollouts
from ppo_vs_grpo.tasks.errors import UserError

PROMPTS = prompts((3, 9, 4, 7, 5), (6, 3, 8), (7, 7, 4, 9, 3, 5))
Gradient = dict[str, Tensor]
GROUP, TOKENS, HEAT = 2, 8, 0.7
CLOSE, CLOSE_IN_BFLOAT16 = 1e-4, 1.0
"""Relative error of a gradient. Experts that are chosen otherwise make another one; none at all has an error of 1."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: a type, how its models are read, and what works with it ("yes", or why not)."""

    kind: str
    class_name: str
    reads: str
    places: str = ""
    head: str = ""
    critic: str = ""
    lora: str = ""
    checkpointing: str = ""
    bfloat16: str = ""

    def line(self) -> str:
        """The row as Markdown."""
        cells = (self.kind, self.class_name, *(short(cell) for cell in (self.reads, self.lora, self.checkpointing)))
        return f"| {' | '.join(cells)} |"


SHORT = {
    "its tokens see those after them": "refused: tokens see those after them",
    "it takes no past_key_values": "refused: takes no `past_key_values`",
    "log-probabilities differ": "refused: sampled otherwise than read",
    "does not bear": "refused: its forward pass fails with our cache",
    "keeps its experts' weights": "refused: fused experts",
    "cannot be adapted": "refused by peft",
    "has no layers that the library can compute again": "refused: no layers for it",
}
"""What the page says for a message."""


def short(said: str) -> str:
    """What a run says, in a few words."""
    return next((short for part, short in SHORT.items() if part in said), said)


def started(
    model: PreTrainedModel, rows_at_once: int | None = None, asked: bool = False, **options: Any
) -> Models | str:
    """The networks of a copy, as a run has them; a refusal is returned as text. `asked`: whether also `check_agreement`
    is passed, as by every run.
    """
    try:
        models = build(copy.deepcopy(model), options.pop("critic", None), needs_reference=False, **options)
        if asked:
            check_agreement(sampler(models, (END,), rows_at_once, options.get("dtype", torch.float32)), models, PROMPTS)
    except UserError as error:
        return str(error)
    return models


def sampler(
    models: Models, ends: tuple[int, ...], rows_at_once: int | None = None, dtype: torch.dtype = torch.float32
) -> HuggingFaceEngine:
    return HuggingFaceEngine(models.policy, PAD, ends, TOKENS, HEAT, rows_at_once=rows_at_once, dtype=dtype)


def sampled(models: Models, ends: tuple[int, ...], rows_at_once: int | None = None) -> Rollouts:
    """A batch of which rows leave, if they say an end."""
    engine = sampler(models, ends, rows_at_once)
    return engine.generate(PROMPTS, GROUP, uniforms(TOKENS, GROUP * len(PROMPTS.ids)))


def rows_of(rollouts: Rollouts) -> list[tuple[int, Tensor]]:
    """Each row's number of prompt tokens, and its ids without padding."""
    found = []
    for row, group in enumerate(rollouts.group_B.tolist()):
        prompt = torch.tensor(rollouts.prompts.ids[group])
        found.append((len(prompt), torch.cat([prompt, rollouts.completion_BT[row][rollouts.mask_BT[row]]])))
    return found


def plain_logp(model: PreTrainedModel, rollouts: Rollouts) -> list[Tensor]:
    """Log-probabilities of each row's completion, by the model itself: no padding, no cache; gradients flow."""
    found = []
    for start, ids in rows_of(rollouts):
        logits = model(input_ids=ids[None], use_cache=False).logits[0, start - 1 : -1].float() / HEAT
        found.append(torch.log_softmax(logits, -1)[range(len(ids) - start), ids[start:]])
    return found


def flat(of_rows: list[Tensor]) -> Tensor:
    return torch.cat(of_rows)


def gradient(model: PreTrainedModel, said: Tensor) -> dict[str, Tensor]:
    """Of a sum in which each token has another weight."""
    model.zero_grad()
    (said * torch.linspace(-1, 1, len(said))).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def apart(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Relative distance of two gradients; a parameter that only one of them has counts in full."""
    zero = torch.zeros(())
    pairs = [(found.get(name, zero), expected.get(name, zero)) for name in found.keys() | expected.keys()]
    square = sum(float((one - other).square().sum()) for one, other in pairs)
    return (square / sum(float(g.square().sum()) for g in expected.values())) ** 0.5


def read(models: Models, rollouts: Rollouts) -> tuple[Tensor, Tensor | None]:
    """What the update reads: log-probabilities and values, in the order of the oracle's."""
    packed = pack(join(rollouts, PAD, models.packed), torch.arange(len(rollouts.group_B)))
    output = policy_output(models, packed, HEAT, detach_trunk=False)
    return output.logp_BT[rollouts.mask_BT], None if output.values_BT is None else output.values_BT[rollouts.mask_BT]


def check_values(model: PreTrainedModel, rollouts: Rollouts, kind: str) -> str:
    """A critic's values are the base model's last states, times a vector, in collecting and in updating."""
    models = started(model, critic=CriticConfig(kind=kind))
    if isinstance(models, str):
        return models
    torch.nn.init.normal_(models.value_head.weight)
    trunk = model.model if model.base_model is model else model.base_model
    expected = []
    with torch.no_grad():
        for start, ids in rows_of(rollouts):
            states = trunk(input_ids=ids[None], use_cache=False).last_hidden_state[0, start - 1 : -1]
            expected.append(states @ models.value_head.weight[0])
        updating = read(models, rollouts)[1]
        packed = pack(join(rollouts, PAD, models.packed), torch.arange(len(rollouts.group_B)))
        collecting = values(models, packed)[rollouts.mask_BT]
    scale = float(flat(expected).abs().max())
    torch.testing.assert_close(updating, flat(expected), atol=1e-4 * scale, rtol=0)
    torch.testing.assert_close(collecting, flat(expected), atol=1e-4 * scale, rtol=0)
    return "yes"


def check_gradient(model: PreTrainedModel, rollouts: Rollouts, expected: Gradient, bound: float, **options: Any) -> str:
    """The update's gradient with these options is the oracle's."""
    models = started(model, **options)
    if isinstance(models, str):
        return models
    distance = apart(gradient(models.policy, read(models, rollouts)[0]), expected)
    assert distance < bound, f"gradient with {options}: {distance}"
    return "yes"


def check_chunks(models: Models, rollouts: Rollouts, expected: Gradient) -> None:
    """Logits in chunks make the same gradient."""
    with mock.patch.object(likelihood, "LOGITS_AT_ONCE", 3 * VOCABULARY):
        distance = apart(gradient(models.policy, read(models, rollouts)[0]), expected)
    assert distance < CLOSE, f"gradient in chunks: {distance}"


def check_adapters(model: PreTrainedModel, rollouts: Rollouts, expected: Gradient) -> str:
    """The adapters of all layers learn whose own weight would."""
    models = started(model, lora_rank=2)
    if isinstance(models, str):
        return models
    for name, parameter in models.policy.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    found = gradient(models.policy, read(models, rollouts)[0])
    trained = {name for name, p in models.policy.named_parameters() if p.requires_grad}
    learning = {name.split(".lora_")[0] for name, g in found.items() if g.any()}
    asked = {name.split(".lora_")[0] for name in trained}
    assert learning == {name for name in asked if expected.get(f"{name}.weight", torch.zeros(1)).any()}, "adapters"
    return "yes"


def check_places(model: PreTrainedModel, rollouts: Rollouts, ends: tuple[int, ...]) -> str:
    """A few rows at once say what all say."""
    models = started(model, rows_at_once=4, asked=True)
    if isinstance(models, str):
        return models
    assert torch.equal(sampled(models, ends, 4).completion_BT, rollouts.completion_BT), "rows_at_once"
    return "yes"


def review(kind: str) -> Row:
    """Build the type's model as a run does; whatever is not refused must be right."""
    model = make(kind)
    name, models = type(model).__name__, started(model, asked=True, critic=CriticConfig())
    if isinstance(models, str):
        return Row(kind, name, models)
    whole = sampled(models, ())
    ends = (int(whole.completion_BT[0, 3]),)
    rollouts = sampled(models, ends)
    assert not rollouts.mask_BT.all(), "no row leaves"
    said = flat(plain_logp(model, rollouts))
    torch.testing.assert_close(rollouts.logp_BT[rollouts.mask_BT], said.detach(), atol=5e-4, rtol=0)
    expected = gradient(model, said)
    distance = apart(gradient(models.policy, read(models, rollouts)[0]), expected)
    assert distance < CLOSE, f"gradient: {distance}"
    check_chunks(models, rollouts, expected)
    return Row(
        kind,
        name,
        "packed" if models.packed else "padded",
        check_places(model, rollouts, ends),
        check_values(model, rollouts, "head"),
        check_values(model, rollouts, "model"),
        check_adapters(model, rollouts, expected),
        check_gradient(model, rollouts, expected, CLOSE, gradient_checkpointing=True),
        check_gradient(model, rollouts, expected, CLOSE_IN_BFLOAT16, dtype=torch.bfloat16),
    )


if __name__ == "__main__":
    for family in sorted(FAMILIES):
        print(review(family).line(), flush=True)

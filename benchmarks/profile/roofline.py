"""Seconds of rollout and update beside those of their matrix products alone, on this machine.

`ppo-vs-grpo roofline tiny small` prints a table. The limit is the time of the linear layers' products alone, without
attention, norms, sampling, optimizer or Python. It is measured with the run's shapes, not computed from a peak that no
program reaches. Measurements of limit and phases alternate, since a machine's speed changes within seconds. The phases
are also measured in bfloat16, to show from which size on that type pays here. Products alone could not show it, since
casts take time as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Literal

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.sequences import full_length, micro_batches
from ppo_vs_grpo.algorithms.shared.trainer import Trainer, UpdateRecord
from ppo_vs_grpo.benchmarks.models import blank, tiny
from ppo_vs_grpo.tasks.errors import UserError, nearest
from ppo_vs_grpo.tasks.lengths import Lengths

PROMPT_TOKENS, NEW_TOKENS = 16, 64
TRAIN = TrainConfig(
    completions=10_000_000, prompts_per_update=16, group_size=8, mini_batches=1, beta=0.0, warmup_completions=10**9
)
REPEATS = 5
PHASES = ("rollout", "update")


@dataclass(frozen=True, slots=True)
class Distance:
    """Seconds of a phase, of its matrix products, and of the phase in bfloat16."""

    size: str
    phase: str
    measured_s: float
    limit_s: float
    bfloat16_s: float

    @property
    def times(self) -> float:
        """The phase's time divided by the limit."""
        return self.measured_s / self.limit_s


def distances(size: str, train: TrainConfig = TRAIN, new_tokens: int = NEW_TOKENS) -> list[Distance]:
    """Rollout and update of GRPO on a blank model, with every completion at full length."""
    task = Lengths(new_tokens=new_tokens, prompt_tokens=PROMPT_TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        blank.make(task, tiny.SIZES[size], Path(folder))
        trainers = [_trainer(Path(folder), task, train, dtype) for dtype in ("float32", "bfloat16")]
    turns = [
        (_seconds(in_float32), limits(trainers[0].models.policy, train, new_tokens), _seconds(in_bfloat16))
        for in_float32, in_bfloat16 in zip(*(trainer.updates(1 + REPEATS) for trainer in trainers), strict=True)
    ][1:]
    return [
        Distance(size, phase, *(median(seconds[i] for seconds in column) for column in zip(*turns, strict=True)))
        for i, phase in enumerate(PHASES)
    ]


def _trainer(folder: Path, task: Lengths, train: TrainConfig, dtype: Literal["float32", "bfloat16"]) -> Trainer:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    train = train.model_copy(update={"dtype": dtype})
    grpo = find("grpo")
    return Trainer(model, AutoTokenizer.from_pretrained(folder), task, grpo(grpo.Config(), train), train, seed=0)


def limits(model: PreTrainedModel, train: TrainConfig, new_tokens: int) -> tuple[float, float]:
    """Seconds of the matrix products of one rollout and one update."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    head = model.get_output_embeddings()
    trunk = [layer for layer in layers if layer is not head]
    rows = train.batch_completions
    prompt_s = products(trunk, train.prompts_per_update * PROMPT_TOKENS)
    decode_s = sum(products([*trunk, head], rows) for _ in range(new_tokens))
    whole = full_length(PROMPT_TOKENS, new_tokens, torch.arange(rows) // train.group_size)
    update_s = 0.0
    for part in micro_batches(whole, torch.arange(rows), train.micro_batch_tokens):
        update_s += products(trunk, whole.packed_tokens(part), with_backward=True)
        update_s += products([head], len(part) * new_tokens, with_backward=True)
    return prompt_s + decode_s, update_s


def products(layers: Sequence[nn.Module], rows: int, with_backward: bool = False) -> float:
    """Seconds of the layers' products with `rows` rows; `with_backward` adds the gradients of input and weight."""
    spent_s = 0.0
    for layer in layers:
        weight = layer.get_parameter("weight").detach()
        inputs = torch.randn(rows, weight.shape[1])
        gradients = torch.randn(rows, weight.shape[0])
        start_s = perf_counter()
        torch.mm(inputs, weight.T)
        if with_backward:
            torch.mm(gradients, weight)
            torch.mm(gradients.T, inputs)
        spent_s += perf_counter() - start_s
    return spent_s


def _seconds(record: UpdateRecord) -> tuple[float, ...]:
    return tuple(float(record.metrics[f"{phase}_s"] or 0.0) for phase in PHASES)


def rows(sizes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Per size and phase: its time, that of its products alone, their ratio, and the time in bfloat16."""
    for size in sizes:
        if size not in tiny.SIZES:
            raise UserError(f"roofline: {size!r}: no embedded start model; {nearest(size, tiny.SIZES)}")
    yield f"{torch.get_num_threads()} threads", f"{TRAIN.batch_completions} completions of {NEW_TOKENS} tokens"
    for size in sizes:
        for found in distances(size):
            yield (
                f"{size} {found.phase}",
                f"{1000 * found.measured_s:.1f} ms, products alone {1000 * found.limit_s:.1f} ms",
                f"{found.times:.2f} times",
                f"in bfloat16 {1000 * found.bfloat16_s:.1f} ms, {found.bfloat16_s / found.measured_s:.2f} of float32",
            )

"""How far rollout and update are from the time of their matrix products alone, on this machine.

`python -m ppo_vs_grpo.benchmarks.roofline tiny small` prints a table. The limit is what the products of the linear
layers take when nothing else is done: no attention, norms, sampling, optimizer or Python. It is measured, not computed
from a peak that no program reaches, with the shapes that the run has; in bfloat16 too, which says from which size on
that type would pay here.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.sequences import full_length, micro_batches
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks import blanks, starts
from ppo_vs_grpo.tasks.lengths import Lengths

PROMPT_TOKENS, NEW_TOKENS = 16, 64
TRAIN = TrainConfig(
    completions=10_000_000, prompts_per_update=16, group_size=8, mini_batches=1, beta=0.0, warmup_completions=10**9
)
REPEATS = 5


@dataclass(frozen=True, slots=True)
class Distance:
    """Seconds of a phase, of its matrix products, and of the same products in bfloat16."""

    size: str
    phase: str
    measured_s: float
    limit_s: float
    bfloat16_s: float

    @property
    def times(self) -> float:
        """How many times the limit the phase takes."""
        return self.measured_s / self.limit_s


def distances(size: str, train: TrainConfig = TRAIN, new_tokens: int = NEW_TOKENS) -> list[Distance]:
    """Rollout and update of GRPO on a blank model, every completion at full length."""
    task = Lengths(new_tokens=new_tokens, prompt_tokens=PROMPT_TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        blanks.make(task, starts.SIZES[size], Path(folder))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    grpo = find("grpo")
    trainer = Trainer(model, tokenizer, task, grpo(grpo.Config(), train), train, seed=0)
    records = [record.metrics for record in trainer.updates(REPEATS)][1:]
    both = (limits(model, train, new_tokens, dtype) for dtype in (torch.float32, torch.bfloat16))
    return [
        Distance(size, phase, _median(records, f"{phase}_s"), limit_s, bfloat16_s)
        for phase, limit_s, bfloat16_s in zip(("rollout", "update"), *both, strict=True)
    ]


def limits(model: PreTrainedModel, train: TrainConfig, new_tokens: int, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds of the matrix products of a rollout and of an update."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    head = model.get_output_embeddings()
    trunk = [layer for layer in layers if layer is not head]
    rows = train.batch_completions
    decode = _repeated(lambda: products([*trunk, head], rows, dtype))
    prompt = _repeated(lambda: products(trunk, train.prompts_per_update * PROMPT_TOKENS, dtype))
    whole = full_length(PROMPT_TOKENS, new_tokens, torch.arange(rows) // train.group_size)
    parts = [
        (whole.packed_tokens(part), len(part) * new_tokens)
        for part in micro_batches(whole, torch.arange(rows), train.micro_batch_tokens)
    ]
    update = _repeated(
        lambda: sum(products(trunk, read, dtype, True) + products([head], said, dtype, True) for read, said in parts)
    )
    return prompt + new_tokens * decode, update


def products(layers: Sequence[nn.Module], rows: int, dtype: torch.dtype, with_backward: bool = False) -> float:
    """Seconds of the layers' products with that many rows; with those of the backward pass, by input and by weight."""
    spent_s = 0.0
    for layer in layers:
        weight = layer.get_parameter("weight").detach().to(dtype)
        inputs = torch.randn(rows, weight.shape[1], dtype=dtype)
        gradients = torch.randn(rows, weight.shape[0], dtype=dtype)
        start_s = perf_counter()
        torch.mm(inputs, weight.T)
        if with_backward:
            torch.mm(gradients, weight)
            torch.mm(gradients.T, inputs)
        spent_s += perf_counter() - start_s
    return spent_s


def _repeated(measure: Callable[[], float]) -> float:
    """The median of some measurements, the first left out."""
    return median([measure() for _ in range(4 * REPEATS)][1:])


def _median(records: Sequence[dict[str, float | int | bool | None]], name: str) -> float:
    return median(float(record[name] or 0.0) for record in records)


def main(arguments: list[str] | None = None) -> int:
    """Print how many times the time of its matrix products each phase takes."""
    parser = argparse.ArgumentParser(prog="python -m ppo_vs_grpo.benchmarks.roofline", description=main.__doc__)
    parser.add_argument("sizes", nargs="+", choices=list(starts.SIZES))
    args = parser.parse_args(arguments)
    print(f"{torch.get_num_threads()} threads, {TRAIN.batch_completions} completions of {NEW_TOKENS} tokens")
    for size in args.sizes:
        for found in distances(size):
            print(
                f"{size:<6} {found.phase:<8} {1000 * found.measured_s:8.1f} ms, products alone "
                f"{1000 * found.limit_s:8.1f} ms: {found.times:.2f} times; "
                f"products in bfloat16 {1000 * found.bfloat16_s:8.1f} ms"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How many runs go at a time: as many as the cores have threads for, and as the memory holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from ppo_vs_grpo.benchmarks.run.machine import cores
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.tasks.errors import UserError

LIBRARIES_BYTES = 450_000_000
"""What a run's process holds before it loads a model."""

LARGE_BYTES = 100_000_000
"""Weights of start models that are worth a prediction; runs of smaller ones fit wherever this package runs."""

PROMPT_TOKENS = 128
"""The length for which a prediction takes prompts. Micro-batches bound what longer ones add."""


def at_a_time(slots: int | None, threads: int, device: str) -> int:
    """The slots that are asked for; else as many as the cores have threads for, on an accelerator one. UserError."""
    if slots is None:
        return max(1, cores() // threads) if device == "cpu" else 1
    if slots < 1:
        raise UserError(f"--slots {slots}: should be at least 1")
    return slots


def holding(slots: int, specs: Sequence[RunSpec], models: Mapping[str, Path]) -> tuple[int, str | None]:
    """`slots`, or fewer where the free memory does not hold so many of the largest runs; and what is to be said.

    Memory is predicted as by the command `predict`, by its closed form; runs whose shape that does not know are taken
    to fit.
    """
    asked = {(spec.task, spec.arm): spec for spec in specs if spec.purpose == "train"}
    large = [spec for spec in asked.values() if _weights_bytes(models[spec.task]) > LARGE_BYTES]
    if not large:
        return slots, None
    needed_bytes, spec = max(((run_bytes(spec, models[spec.task]), spec) for spec in large), key=lambda pair: pair[0])
    free_bytes = psutil.virtual_memory().available
    fitting = int(free_bytes // needed_bytes) if needed_bytes else slots
    if fitting >= slots:
        return slots, None
    needs = f"a run of {spec.arm} on {spec.task} needs about {needed_bytes / 1e9:.1f} GB, as predicted, and "
    free = f"{free_bytes / 1e9:.1f} GB are free: "
    if fitting >= 1:
        return fitting, f"{needs}{free}{fitting} at a time instead of {slots}"
    smaller = "it may be killed; smaller: train.micro_batch_tokens, gradient_checkpointing, lora_rank"
    return 1, f"{needs}{free}{smaller}"


def run_bytes(spec: RunSpec, folder: Path) -> int:
    """The peak of a run with its libraries, by the closed form; 0 where that has no answer."""
    import torch
    from transformers import AutoConfig

    from ppo_vs_grpo.algorithms.shared.config import TrainConfig
    from ppo_vs_grpo.benchmarks.profile.closed_form import closed_form
    from ppo_vs_grpo.benchmarks.profile.work import READ, Work

    train = TrainConfig(**spec.train.model_dump(include=READ))
    work = Work(train, PROMPT_TOKENS, spec.train.max_new_tokens or 0, getattr(torch, spec.train.start_dtype))
    kind = str((spec.config.get("critic") or {}).get("kind"))
    alike = {"head": "ppo", "model": "ppo-critic"}.get(kind, "grpo")
    form = closed_form(AutoConfig.from_pretrained(folder), alike, work)
    return 0 if form is None else form.total_peak_bytes + LIBRARIES_BYTES


def _weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))

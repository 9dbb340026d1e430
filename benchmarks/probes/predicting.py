"""The command `predict`: its input checked, its answer as rows of text."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig, PretrainedConfig

from ppo_vs_grpo.algorithms import entry
from ppo_vs_grpo.benchmarks.probes.memory import TOTAL
from ppo_vs_grpo.benchmarks.probes.predict import Prediction, Work, predict, shape
from ppo_vs_grpo.tasks.errors import UserError, nearest

GROUP_SIZE = 8
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def work_of(
    completions: int, prompt_tokens: int, new_tokens: int, micro_batch_tokens: int, dtype: str, checkpointing: bool
) -> Work:
    """The update to predict; UserError for a number of completions that are no groups, or an unknown type."""
    if completions % GROUP_SIZE:
        near = max(GROUP_SIZE, completions // GROUP_SIZE * GROUP_SIZE)
        raise UserError(f"--completions {completions}: should be a multiple of {GROUP_SIZE}, the group, as {near} is")
    if dtype not in DTYPES:
        raise UserError(f"--dtype {dtype}: {nearest(dtype, DTYPES)}")
    return Work(
        completions=completions,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        group_size=GROUP_SIZE,
        micro_batch_tokens=micro_batch_tokens,
        dtype=DTYPES[dtype],
        gradient_checkpointing=checkpointing,
    )


def read_config(model: str) -> PretrainedConfig:
    """The config of a known shape, of a model's folder or of a config.json; nothing is downloaded."""
    path = Path(model)
    if not path.exists():
        return shape(model)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"--model {model}: no config of a Hugging Face model ({str(error).splitlines()[0]})") from None
    return config


def predicted_rows(config: PretrainedConfig, arms: list[str], work: Work) -> list[tuple[str, ...]]:
    """A table: memory in GB (10^9 bytes) by phase and by role at the peak, what fits, operations; an arm a column."""
    for arm in arms:
        entry(arm)  # refuses an unknown name before anything is computed
    made = predict(config, arms, work)
    phases = list(dict.fromkeys(row.phase for p in made for row in p.peaks if row.phase != TOTAL))
    roles = list(dict.fromkeys(row.role for p in made for row in p.peaks if row.phase == TOTAL))
    lines: list[tuple[str, ...]] = [("GB", *arms), ("peak of an update", *(_gb(p.total_peak_bytes) for p in made))]
    lines += [(f"  {role}", *(_gb(_held(p, TOTAL, role)) for p in made)) for role in roles]
    lines += [(f"peak in {phase}", *(_gb(_held(p, phase)) for p in made)) for phase in phases]
    sizes = made[0].fits
    lines += [(f"fits in {size}", *("yes" if p.fits[size] else "no" for p in made)) for size in sizes]
    return [*lines, ("10^12 operations an update", *(f"{p.flops_per_update / 1e12:,.1f}" for p in made))]


def _held(prediction: Prediction, phase: str, role: str | None = None) -> int:
    return sum(
        row.bytes_at_total_peak for row in prediction.peaks if row.phase == phase and (role is None or row.role == role)
    )


def _gb(held_bytes: int) -> str:
    return f"{held_bytes / 1e9:,.2f}"

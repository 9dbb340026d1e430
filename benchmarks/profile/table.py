"""The command `predict`: checks of its input, and its answer as rows of text."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PretrainedConfig

from ppo_vs_grpo.algorithms import entry
from ppo_vs_grpo.benchmarks.profile.closed_form import closed_form
from ppo_vs_grpo.benchmarks.profile.memory import TOTAL
from ppo_vs_grpo.benchmarks.profile.predict import CARDS_GB, Prediction, predict
from ppo_vs_grpo.benchmarks.profile.work import Work
from ppo_vs_grpo.tasks.errors import UserError, nearest

GROUP_SIZE = 8
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SMALLER: dict[str, dict[str, Any]] = {
    "gradient checkpointing": {"gradient_checkpointing": True},
    "LoRA of rank 16": {"lora_rank": 16},
    "micro-batches of 1024": {"micro_batch_tokens": 1024},
}
"""Settings that make an update smaller."""


def work_of(completions: int, prompt_tokens: int, new_tokens: int, dtype: str, **settings: Any) -> Work:
    """The update to predict; `settings` are fields of TrainConfig.

    Raises UserError if the completions are not whole groups, the type is unknown, or the rank is below 1.
    """
    if completions % GROUP_SIZE:
        near = max(GROUP_SIZE, completions // GROUP_SIZE * GROUP_SIZE)
        raise UserError(f"--completions {completions}: should be a multiple of {GROUP_SIZE}, the group, as {near} is")
    if dtype not in DTYPES:
        raise UserError(f"--dtype {dtype}: {nearest(dtype, DTYPES)}")
    if (lora := settings.get("lora_rank")) is not None and lora < 1:
        raise UserError(
            f"--lora {lora}: should be the rank of the adapters, 1 or more; leave it out to train everything"
        )
    return Work.of(completions, prompt_tokens, new_tokens, GROUP_SIZE, DTYPES[dtype], **settings)


def predicted_rows(config: PretrainedConfig, arms: list[str], work: Work) -> list[tuple[str, ...]]:
    """A table with a column per arm: GB (10^9 bytes) by role at the peak and by phase, what fits, operations."""
    for arm in arms:
        entry(arm)  # raises UserError for an unknown name before anything is computed
    made = predict(config, arms, work)
    phases = list(dict.fromkeys(row.phase for p in made for row in p.peaks if row.phase != TOTAL))
    roles = list(dict.fromkeys(row.role for p in made for row in p.peaks if row.phase == TOTAL))
    lines: list[tuple[str, ...]] = [("GB", *arms), ("peak of an update", *(_gb(p.total_peak_bytes) for p in made))]
    lines += [(f"  {role}", *(_gb(_held(p, TOTAL, role)) for p in made)) for role in roles]
    lines += [(f"peak in {phase}", *(_gb(_held(p, phase)) for p in made)) for phase in phases]
    sizes = made[0].fits
    lines += [(f"fits in {size}", *("yes" if p.fits[size] else "no" for p in made)) for size in sizes]
    lines.append(("10^12 operations an update", *(_trillions(p.flops_per_update) for p in made)))
    lines += closed_form_rows(config, arms, work)
    return lines if all(p.fits[min(sizes)] for p in made) else [*lines, *smaller_rows(config, arms, work)]


def smaller_rows(config: PretrainedConfig, arms: list[str], work: Work) -> list[tuple[str, ...]]:
    """The peak with each of SMALLER and with all of them, and the smallest card that holds it.

    Peaks are those of the closed form, or of `predict` if there is none.
    """
    choices = SMALLER | {"all three": {key: value for change in SMALLER.values() for key, value in change.items()}}
    rows = []
    for name, change in choices.items():
        changed = work.having(**change)
        peaks = [
            (closed_form(config, arm, changed) or predict(config, [arm], changed)[0]).total_peak_bytes for arm in arms
        ]
        rows.append((name, *(f"{_gb(peak)} ({_smallest_card(peak)})" for peak in peaks)))
    return [("GB (smallest card for it)", *[""] * len(arms)), *rows]


def _smallest_card(peak_bytes: int) -> str:
    return next((str(size) for size in CARDS_GB if peak_bytes <= size * 10**9), "none")


def closed_form_rows(config: PretrainedConfig, arms: list[str], work: Work) -> list[tuple[str, ...]]:
    """GB and operations by the closed form, for comparison; a dash if it has no answer."""
    forms = [closed_form(config, arm, work) for arm in arms]

    def row(name: str, *roles: str) -> tuple[str, ...]:
        return (name, *(_gb(sum(f.role_bytes.get(role, 0) for role in roles)) if f else "-" for f in forms))

    held = [f"{owner}.{kind}" for owner in ("policy", "value") for kind in ("params", "grads")]
    return [
        ("closed form: peak of an update", *(_gb(f.total_peak_bytes) if f else "-" for f in forms)),
        row("  parameters, gradients, optimizer", *held, "optimizer.policy", "optimizer.value", "reference.params"),
        row("  activations of a micro-batch", "activations.policy", "activations.value"),
        row("  key/value cache", "kv_cache"),
        ("closed form: 10^12 operations", *(_trillions(f.flops_per_update) if f else "-" for f in forms)),
    ]


def _held(prediction: Prediction, phase: str, role: str | None = None) -> int:
    return sum(
        row.bytes_at_total_peak for row in prediction.peaks if row.phase == phase and (role is None or row.role == role)
    )


def _trillions(flops: float) -> str:
    return f"{flops / 1e12:,.1f}"


def _gb(held_bytes: int) -> str:
    return f"{held_bytes / 1e9:,.2f}"

"""Ask what a machine can do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ppo_vs_grpo.benchmarks.analysis.report.terminal import print_rows
from ppo_vs_grpo.benchmarks.commands.options import CacheOption, ResultsOption

PREDICTED = ("ppo-critic", "ppo", "grpo")
"""What is predicted unless arms are named: PPO with a critic network and with a head on the policy, and no critic."""


def doctor(results: ResultsOption = Path("results"), cache: CacheOption = None) -> None:
    """Check versions, cores, memory, folders and accelerator; exit code 1 when something is missing."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.run.doctor import MEND, PACKAGES, examine

    checks = examine(results, cache)
    print_rows(Console(), [("✓" if check.ok else "✗", check.name, check.found) for check in checks])
    if any(not check.ok for check in checks if check.name in PACKAGES):
        print(MEND, file=sys.stderr)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def predict(
    model: Annotated[str, typer.Option(metavar="MODEL", help="A known shape, a model's folder, or its config.json.")],
    arm: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An algorithm; else ppo-critic, ppo and grpo. May be repeated."),
    ] = None,
    completions: Annotated[int, typer.Option(metavar="N", min=1, help="Of an update.")] = 128,
    prompt_tokens: Annotated[int, typer.Option(metavar="N", min=1)] = 256,
    new_tokens: Annotated[int, typer.Option(metavar="N", min=1)] = 256,
    micro_batch_tokens: Annotated[int, typer.Option(metavar="N", min=1)] = 8192,
    dtype: Annotated[
        str, typer.Option(metavar="TYPE", help="bfloat16, float16 or float32: of all weights.")
    ] = "bfloat16",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute layers again in the backward pass.")
    ] = False,
    lora: Annotated[
        int | None, typer.Option(metavar="RANK", help="Train adapters of this rank instead of the model.")
    ] = None,
    rollout_rows: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Sample so many completions at once instead of all.")
    ] = None,
) -> None:
    """Say what an update of each arm would need: memory by phase and role, which cards hold it, operations."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.profile.shapes import read_config
    from ppo_vs_grpo.benchmarks.profile.table import predicted_rows, work_of

    work = work_of(
        completions, prompt_tokens, new_tokens, dtype, micro_batch_tokens=micro_batch_tokens,
        gradient_checkpointing=gradient_checkpointing, lora_rank=lora, rollout_rows=rollout_rows,
    )  # fmt: skip
    print_rows(Console(), predicted_rows(read_config(model), arm or list(PREDICTED), work))


def roofline(
    sizes: Annotated[
        list[str], typer.Argument(metavar="SIZE...", help="Embedded start models: nano, tiny, small, medium.")
    ],
) -> None:
    """Time rollout and update beside their matrix products alone, on this machine."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.profile.roofline import rows

    console = Console()
    for row in rows(sizes):
        console.print("  ".join(row), markup=False, highlight=False, soft_wrap=True)

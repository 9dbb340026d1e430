"""Profile updates: a trace for a viewer, and a table of seconds by phase and operator for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppo_vs_grpo.algorithms.shared.trainer import UpdateRecord

UPDATES = 2
"""Updates to profile, after those that are measured."""

OPERATORS = 30
"""Rows of the table of operators."""


def profile(updates: Iterator[UpdateRecord], folder: Path) -> None:
    """Run the updates under torch.profiler and write trace.json.gz and profile.txt into the folder.

    The profiler slows the updates, so read the table's shares, not its seconds.
    """
    import torch
    from torch.profiler import ProfilerActivity

    from ppo_vs_grpo.algorithms.shared.config import PHASES

    kinds = {ProfilerActivity.CPU}
    if torch.cuda.is_available():
        kinds.add(ProfilerActivity.CUDA)
    everywhere = torch._C._profiler._ExperimentalConfig(
        profile_all_threads=True
    )  # a peer's loop runs in its own thread
    with torch.profiler.profile(activities=kinds, experimental_config=everywhere) as watched:
        records = list(updates)
    watched.export_chrome_trace(str(folder / "trace.json.gz"))
    seconds = {phase: sum(float(record.metrics[f"{phase}_s"] or 0) for record in records) for phase in PHASES}
    whole = sum(seconds.values())
    lines = [f"{len(records)} updates under the profiler, which slows them: shares are the point", ""]
    lines += [f"{phase:<10}{spent / len(records):9.4f} s{spent / whole:8.1%}" for phase, spent in seconds.items()]
    by_self = watched.key_averages().table(sort_by="self_cpu_time_total", row_limit=OPERATORS, max_name_column_width=60)
    (folder / "profile.txt").write_text("\n".join(lines) + "\n\n" + by_self + "\n", encoding="utf-8")

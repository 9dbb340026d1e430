"""A suite made ready to be published: its report, its lock and its records, without the runs' folders.

    ppo-vs-grpo publish results/core results/published/core

`load`, `verify`, `compare` and the notebook work on such a folder as on the runs themselves.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ppo_vs_grpo.benchmarks.analysis.frames.load import load
from ppo_vs_grpo.benchmarks.analysis.frames.published import write_records
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.records.folder import LOCK


def publish(folder: Path, out: Path) -> Path:
    """Write report, lock and records of a results folder into `out`; returns the path of records/.

    UserError where runs cannot be read: what is published is whole or says itself what is missing. What an earlier
    report left in `out` and this one has not is named by `verify`.
    """
    results = load(folder)
    write.write(results, out)
    shutil.copy(folder / LOCK, out / LOCK)
    return write_records(results, out)

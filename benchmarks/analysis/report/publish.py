"""A suite made ready to be published: its report, its lock and its records, without the runs' folders.

    ppo-vs-grpo publish results/core results/published/core

`load`, `verify`, `compare` and the notebook work on such a folder as on the runs themselves. Several folders, such as
those of two machines, are joined as `analysis.frames.join` says; published ones count too, so that a suite that takes
several nights is published seeds by seeds.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ppo_vs_grpo.benchmarks.analysis.frames.join import join
from ppo_vs_grpo.benchmarks.analysis.frames.load import load
from ppo_vs_grpo.benchmarks.analysis.frames.published import write_records
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.records.folder import LOCK
from ppo_vs_grpo.benchmarks.records.lock import document, read_seals, write_lock


def publish(folders: Sequence[Path], out: Path) -> Path:
    """Write report, lock and records of results folders into `out`; returns the path of records/.

    UserError where runs cannot be read or joined: what is published is whole or says itself what is missing. What an
    earlier report left in `out` and this one has not is named by `verify`.
    """
    first, *others = folders
    results = join([(str(folder), load(folder)) for folder in folders]) if others else load(first)
    write.write(results, out)
    if others:
        _write_lock(results, folders, out)
    else:
        shutil.copy(first / LOCK, out / LOCK)
    return write_records(results, out)


def _write_lock(results: Results, folders: Sequence[Path], out: Path) -> None:
    """The lock of what was joined: one suite, the keys of its runs, and their seals."""
    keys = [*results.runs["key"], *results.missing["key"]]
    first, *others = [read_seals(folder) or {} for folder in folders]
    trained = {key: seal for seals in others for key, seal in seals.items() if key in set(results.runs["key"])}
    write_lock(out, document(results.suite, keys, dict(results.changed)), trained | first)

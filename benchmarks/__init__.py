"""How arms are run, measured, compared and reported: one corridor, with rooms beside it.

Corridor: suites (what is asked) -> run (how it is run) -> records (what runs leave) -> analysis (what the records say).

- models: what runs start from
- peers: other libraries' trainers
- probes: what a policy is like, frozen in a run
- profile: what an update takes
- theory: what is exactly so
- tracking: Weights & Biases beside a run

A room uses those below it; pyproject.toml says which that are. `load` opens the results of a suite, without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if __name__ != "ppo_vs_grpo.benchmarks":
    raise ImportError(f"import this package as ppo_vs_grpo.benchmarks, not as {__name__}")

if TYPE_CHECKING:
    import pandas as pd

    from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
    from ppo_vs_grpo.benchmarks.analysis.notebook import NotebookResults

__all__ = ["load"]


def load(source: str | Path | pd.DataFrame, *more: str | Path, strict: bool = True) -> NotebookResults:
    """Open a suite's results folder such as `results/core`; see `analysis.frames.load`.

    Several folders are joined; see `analysis.frames.join`. A frame or a .csv file exported from wandb gives results
    that have metrics only; see `analysis.frames.wandb_export`. What a notebook can ask of the answer is in
    `analysis.notebook`. The imports wait for the call: a run's own process never needs pandas' half second.
    """
    from ppo_vs_grpo.benchmarks.analysis.frames.join import join
    from ppo_vs_grpo.benchmarks.analysis.notebook import NotebookResults

    first = _open(source, strict)
    if not more:
        return NotebookResults.of(first)
    return NotebookResults.of(join([(str(source), first), *[(str(other), _open(other, strict)) for other in more]]))


def _open(source: str | Path | pd.DataFrame, strict: bool) -> Results:
    if isinstance(source, str | Path) and Path(source).suffix != ".csv":
        from ppo_vs_grpo.benchmarks.analysis.frames.load import load as load_folder

        return load_folder(source, strict=strict)
    from ppo_vs_grpo.benchmarks.analysis.frames.wandb_export import results_of

    return results_of(source)

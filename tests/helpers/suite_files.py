"""A suite file, its runs, and the message of a mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppo_vs_grpo.benchmarks.suites.load import load_suite, source_of
from ppo_vs_grpo.benchmarks.suites.resolve import resolve
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.tasks.errors import UserError

SUITE = """
tasks: [sorting, recall]
arms:
  ppo: {algorithm: ppo, config: {lam: 0.9}}
  grpo: {algorithm: grpo, train: {learning_rate: 1e-4}}
seeds: 2
train: {completions: 640, prompts_per_update: 4, group_size: 8}
timing: {updates: 5, warmup_updates: 2}
"""


def specs(path: Path, *overrides: str) -> list[RunSpec]:
    return resolve(load_suite(path, overrides), source_of(path, overrides))


def message(path: Path, *overrides: str) -> str:
    """What a user reads about a mistake; without the source in front."""
    with pytest.raises(UserError) as caught:
        specs(path, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{source_of(path, overrides)}: ")

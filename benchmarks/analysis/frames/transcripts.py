"""Transcripts beside each other: one prompt, and what each arm writes to it with the same random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import Results

SHOWN = 20
"""Prompts of a task that stand beside each other at most."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A completion; None for what its record does not say."""

    text: str
    passed: bool
    reward: float | None
    tokens: int | None
    ended: bool | None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A held-out prompt by its index, and each arm's completion before training and at the end."""

    index: int
    text: str
    starts: Mapping[str, Transcript]
    ends: Mapping[str, Transcript]

    @property
    def solved_by(self) -> list[str]:
        """The arms whose completion at the end passed."""
        return [arm for arm, end in self.ends.items() if end.passed]

    @property
    def differs(self) -> bool:
        """Whether one arm solves it at the end and another does not."""
        return 0 < len(self.solved_by) < len(self.ends)

    @property
    def common_start(self) -> Transcript | None:
        """The completion before training where every arm that has an end has the same one."""
        starts = [self.starts.get(arm) for arm in self.ends]
        return starts[0] if all(start == starts[0] for start in starts) else None


@dataclass(frozen=True, slots=True)
class Beside:
    """The prompts of a task under one seed. First come those that one arm solves and another does not."""

    task: str
    seed: int
    arms: tuple[str, ...]
    left_out: tuple[str, ...]
    prompts: tuple[Prompt, ...]


def side_by_side(results: Results, task: str) -> Beside | None:
    """The first prompts of a task with the completions of each arm that has a complete run with one seed.

    The seed is the first of those with the most arms; `left_out` are the other arms that run on the task. None where
    no run kept a transcript of its last evaluation.
    """
    samples = results.samples
    samples = samples[(samples["task"] == task) & samples["key"].isin(results.complete)]
    last = samples["update"] == samples.groupby("key")["update"].transform("max")
    samples = samples.assign(last=last & (samples["update"] > 0))
    there = samples[samples["last"]].groupby("seed")["arm"].nunique()
    if there.empty:
        return None
    seed = next(seed for seed in [*results.seeds, *there.index] if there.get(seed) == there.max())
    here = samples[samples["seed"] == seed]
    ends, starts = _by_arm(here[here["last"]]), _by_arm(here[here["update"] == 0])
    running = [arm for arm in results.arms if task in results.runs_on(arm)]
    arms = tuple(arm for arm in running if arm in ends)
    prompts = []
    for index, text in enumerate(list(ends[arms[0]]["prompt"])[:SHOWN]):
        both = [
            {arm: found for arm in arms if arm in rows and (found := _transcript(rows[arm], index, text))}
            for rows in (starts, ends)
        ]
        prompts.append(Prompt(index, str(text), *both))
    prompts.sort(key=lambda prompt: not prompt.differs)
    return Beside(task, int(seed), arms, tuple(arm for arm in running if arm not in arms), tuple(prompts))


def _by_arm(samples: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(arm): rows for arm, rows in samples.groupby("arm", sort=False)}


def _transcript(rows: pd.DataFrame, index: int, prompt: str) -> Transcript | None:
    """The transcript of the prompt at an index; None where there is none, or it is of another prompt."""
    if index >= len(rows) or rows["prompt"].iloc[index] != prompt:
        return None
    row = rows.iloc[index]
    reward, tokens, ended = (_known(row.get(name)) for name in ("reward", "tokens", "ended"))
    return Transcript(
        text=str(row["completion"]),
        passed=bool(row["passed"]),
        reward=None if reward is None else float(reward),
        tokens=None if tokens is None else int(tokens),
        ended=None if ended is None else bool(ended),
    )


def _known(value: Any) -> Any:
    return None if pd.isna(value) else value

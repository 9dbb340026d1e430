"""Completions that are meant to break a scorer: each has a finite score, in time."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mutations import answer
from outcome import Outcome

from hostile import hostile
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Problem, Task
from ppo_vs_grpo.tasks.splits import problems

SCORERS = ("countdown", "sorting", "recall", "arithmetic", "lengths", "noisy", "reasoning-gym/chain_sum")


def completions(trials: int) -> Iterator[Outcome]:
    """So many completions for each scorer, the same for all."""
    for name in SCORERS:
        task = make(name)
        (problem,) = problems(task, "train", 0, 0, 1)
        for number, text in enumerate(hostile(0, trials)):
            yield scored(f"{name} {number}", task, problem, text)


def scored(name: str, task: Task, problem: Problem, text: str) -> Outcome:
    """How the score of one completion ends."""
    found: list[float] = []
    outcome = answer(name, lambda: found.append(task.score(problem, text).reward))
    return Outcome(name, "wrong", f"a score of {found[0]}") if found and not math.isfinite(found[0]) else outcome

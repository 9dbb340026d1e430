"""The problems to train on, to tune on and to hold out, and the seeds of all of them.

A problem's split depends only on its prompt's text, so no prompt is in two splits under any seed.
Every item of a stream has its own generator, so two seeds share prompts only by chance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Literal

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Task
from ppo_vs_grpo.tasks.errors import UserError

Split = Literal["train", "validation", "heldout"]

_EIGHTHS: dict[int, Split] = {0: "heldout", 1: "validation"}
"""The eighths of the hashes that are not trained on."""

_PATIENCE = 20_000
"""Consecutive draws without a new prompt after which a task counts as having too few different prompts."""


def rng(*parts: str | int) -> np.random.Generator:
    """A generator seeded by all parts together. Other parts, or another order, give an unrelated stream."""
    named = json.dumps([part if isinstance(part, str) else int(part) for part in parts])
    digest = hashlib.blake2b(named.encode(), digest_size=16).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest, "little")))


def split_of(prompt: str) -> Split:
    """The split of a prompt, by a hash of its text: 1/8 heldout, 1/8 validation, the rest train."""
    return _EIGHTHS.get(hashlib.blake2b(prompt.encode(), digest_size=1).digest()[0] % 8, "train")


def problems(task: Task, split: Split, seed: int, start: int, count: int) -> list[Problem]:
    """Items start..start+count-1 of a seed's endless stream of problems; prompts may recur in it."""
    key = (task.name, task.version, split, seed)
    return [_draw(task, split, rng(*key, i)) for i in range(start, start + count)]


def heldout(task: Task, split: Split, count: int) -> list[Problem]:
    """The first `count` problems of a split with different prompts, the same for every seed."""
    stream = rng(task.name, task.version, split, "distinct")
    found: dict[str, Problem] = {}
    while len(found) < count:
        problem = _draw(task, split, stream, seen=found)
        found[problem.prompt] = problem
    return list(found.values())


def demonstrations(task: Task, count: int) -> list[tuple[Problem, str]]:
    """Problems of the train split, each with an answer, for the warm start. They are always the same."""
    stream = rng(task.name, task.version, "demonstrations")
    drawn = (_draw(task, "train", stream) for _ in range(count))
    return [(problem, task.demonstrate(problem, stream)) for problem in drawn]


def data_hash(task: Task) -> str:
    """Hex digest of a sample of a task's output: version, problems, demonstrations and their scores."""
    taught = demonstrations(task, 64)
    asked = [*heldout(task, "heldout", 32), *problems(task, "train", 0, 0, 32), *(problem for problem, _ in taught)]
    scores = [task.score(problem, answer) for problem, answer in taught]
    sample = {
        "task": [task.name, task.version, task.max_new_tokens, task.best_score],
        "problems": [(p.prompt, dict(p.facts), p.stratum) for p in asked],
        "demonstrations": [(answer, s.reward, s.passed) for (_, answer), s in zip(taught, scores, strict=True)],
    }
    return hashlib.sha256(json.dumps(sample, sort_keys=True, default=repr).encode()).hexdigest()


def _draw(task: Task, split: Split, stream: np.random.Generator, seen: Collection[str] = ()) -> Problem:
    """Draw until a prompt is in the split and was not seen."""
    for _ in range(_PATIENCE):
        problem = task.draw(stream)
        if split_of(problem.prompt) == split and problem.prompt not in seen:
            return problem
    raise UserError(
        f"task: {task.name!r} has too few different prompts: {_PATIENCE} draws gave no "
        f"{'further ' if seen else ''}prompt of the {split} split"
        + (f" after {len(seen)}" if seen else "")
        + "; ask for fewer, or choose options with more"
    )

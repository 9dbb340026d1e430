"""The problems to train on, to tune on and to hold out, and the seeds of all of them.

A drawn problem's split depends only on its prompt's text, so no prompt is in two splits under any seed.
Every item of a stream has its own generator, so two seeds share prompts only by chance.

A task with rows keeps its splits itself. A stream of its rows is one epoch after the other, each shuffled by the seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any, TypeGuard, cast, get_args

import numpy as np

from ppo_vs_grpo.tasks.base import DrawingTask, Problem, RowTask, Split, Task
from ppo_vs_grpo.tasks.errors import UserError

__all__ = ["Split", "data_hash", "demonstrations", "heldout", "problems", "rng", "split_of"]

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
    """Items start..start+count-1 of a seed's endless stream of problems; prompts may recur in it.

    Of n rows, item i is row number i % n of epoch i // n, in that epoch's own order.
    """
    key = (task.name, task.version, split, seed)
    if _has_rows(task):
        rows = _rows(task, split)
        orders = {epoch: rng(*key, epoch).permutation(len(rows)) for epoch in _epochs(len(rows), start, count)}
        return [rows[orders[i // len(rows)][i % len(rows)]] for i in range(start, start + count)]
    return [_draw(task, split, rng(*key, i)) for i in range(start, start + count)]


def heldout(task: Task, split: Split, count: int) -> list[Problem]:
    """The first `count` problems of a split with different prompts, the same for every seed.

    Rows come in one shuffled order, since files are often sorted by subject or level. Raises UserError if the task
    has fewer different prompts.
    """
    stream = rng(task.name, task.version, split, "distinct")
    found: dict[str, Problem] = {}
    if _has_rows(task):
        rows = _rows(task, split)
        for at in stream.permutation(len(rows)):
            found.setdefault(rows[at].prompt, rows[at])
        if len(found) < count:
            raise UserError(
                f"eval.prompts: {count}: should be at most {len(found)}, for task {task.name!r} has no more different "
                f"prompts in its {split} split"
            )
        return list(islice(found.values(), count))
    while len(found) < count:
        problem = _draw(task, split, stream, seen=found)
        found[problem.prompt] = problem
    return list(found.values())


def demonstrations(task: Task, count: int) -> list[tuple[Problem, str]]:
    """Problems of the train split, each with an answer, for the warm start. They are always the same.

    Raises UserError for a task with rows that demonstrates nothing.
    """
    stream = rng(task.name, task.version, "demonstrations")
    if _has_rows(task):
        rows = _rows(task, "train")
        orders = (stream.permutation(len(rows)) for _ in _epochs(len(rows), 0, count))
        drawn: Iterable[Problem] = islice((rows[at] for order in orders for at in order), count)
    else:
        drawn = (_draw(task, "train", stream) for _ in range(count))
    if not hasattr(task, "demonstrate"):
        raise UserError(f"task: {task.name!r} has no demonstrations for an embedded model; start from a saved one")
    return [(problem, cast(DrawingTask, task).demonstrate(problem, stream)) for problem in drawn]


def data_hash(task: Task) -> str:
    """Hex digest of all rows of a task, or of a sample of what it draws: problems, demonstrations and their scores."""
    sample: dict[str, Any] = {"task": [task.name, task.version, task.max_new_tokens, task.best_score]}
    if _has_rows(task):
        if hasattr(task, "rewards"):
            sample["rewards"] = task.rewards.digest()
        sample["rows"] = {
            split: [(p.prompt, dict(p.facts), p.stratum, list(map(dict, p.messages))) for p in task.rows(split)]
            for split in get_args(Split)
        }
    else:
        taught = _taught(task)
        asked = [*heldout(task, "heldout", 32), *problems(task, "train", 0, 0, 32), *(problem for problem, _ in taught)]
        scores = [task.score(problem, answer) for problem, answer in taught]
        sample["problems"] = [(p.prompt, dict(p.facts), p.stratum) for p in asked]
        sample["demonstrations"] = [(answer, s.reward, s.passed) for (_, answer), s in zip(taught, scores, strict=True)]
    return hashlib.sha256(json.dumps(sample, sort_keys=True, default=repr).encode()).hexdigest()


def _taught(task: Task) -> list[tuple[Problem, str]]:
    try:
        return demonstrations(task, 64)
    except UserError:  # a task that has nothing to teach an embedded model is hashed by its problems
        return []


def _has_rows(task: Task) -> TypeGuard[RowTask]:
    return hasattr(task, "rows")


def _rows(task: RowTask, split: Split) -> Sequence[Problem]:
    rows = task.rows(split)
    if not rows:
        raise UserError(f"task: {task.name!r} has no rows in its {split} split; it needs one at least")
    return rows


def _epochs(rows: int, start: int, count: int) -> range:
    """The epochs that items start..start+count-1 are in."""
    return range(start // rows, -(-(start + count) // rows))


def _draw(task: Task, split: Split, stream: np.random.Generator, seen: Collection[str] = ()) -> Problem:
    """Draw until a prompt is in the split and was not seen."""
    for _ in range(_PATIENCE):
        problem = cast(DrawingTask, task).draw(stream)
        if split_of(problem.prompt) == split and problem.prompt not in seen:
            return problem
    raise UserError(
        f"task: {task.name!r} has too few different prompts: {_PATIENCE} draws gave no "
        f"{'further ' if seen else ''}prompt of the {split} split"
        + (f" after {len(seen)}" if seen else "")
        + "; ask for fewer, or choose options with more"
    )

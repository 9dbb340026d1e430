"""Embedded start models: tiny Hugging Face models that are made here and taught a task's form.

They know how an answer looks and are sometimes right, so that rewards are neither all 0 nor all 1. Each is built once
per size and task, and found by the hash of everything that determines it. Only building imports torch and TRL.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.models import blank, reward
from ppo_vs_grpo.benchmarks.models.start import Start
from ppo_vs_grpo.benchmarks.models.taught import RECIPE, warm_start
from ppo_vs_grpo.benchmarks.models.tiny import CHARACTERS, SIZES, Size
from ppo_vs_grpo.tasks import lengths, make
from ppo_vs_grpo.tasks.base import Task
from ppo_vs_grpo.tasks.learned import Learned
from ppo_vs_grpo.tasks.splits import demonstrations


def find(start: str, task: str, options: Mapping[str, Any]) -> Start:
    """The start model of a size for a task with these options."""
    choice = {"task": task, "options": dict(options)}
    digest = hash_of_recipe(start, json.dumps(choice, separators=(",", ":"), ensure_ascii=False))

    def write(folder: Path, cache: Path) -> None:
        _make(SIZES[start], make(task, options), folder)

    return Start(start, digest, Path(f"{start}.{task.replace(':', '.')}.{digest}"), write)


def _make(size: Size, task: Task, folder: Path) -> None:
    if isinstance(task, lengths.Lengths):
        blank.make(task, size, folder)
        return
    warm_start(size, task, folder)
    if isinstance(task, Learned):
        for number in range(task.models):
            reward.teach(task, folder, number)


@functools.cache
def hash_of_recipe(start: str, choice_json: str) -> str:
    """The content hash of a size for a task, which is given as JSON: {"task": ..., "options": {...}}."""
    choice = json.loads(choice_json)
    size = SIZES[start]
    task = make(choice["task"], choice["options"])
    shown = [] if isinstance(task, lengths.Lengths) else demonstrations(task, size.demonstrations)
    taught = [(problem.prompt, answer) for problem, answer in shown]
    versions = {name: version(name) for name in ("torch", "transformers", "trl")}
    made_of = {"recipe": RECIPE, "size": asdict(size), "characters": CHARACTERS, "taught": taught, "versions": versions}
    if isinstance(task, Learned):
        made_of["reward"] = [reward.RECIPE, choice_json]
    if isinstance(task, lengths.Lengths):
        made_of["blank"] = [blank.RECIPE, task.mean_tokens]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]

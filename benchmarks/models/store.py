"""Start models by name and task: found, hashed, built once.

Embedded start models are tiny Hugging Face models that are made here and taught a task's form. They know how an answer
looks and are sometimes right, so that rewards are neither all 0 nor all 1. Each is built once per size and task, cached
by the hash of everything that determines it, and shared by all runs. Only building imports torch and TRL.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from ppo_vs_grpo.benchmarks.models import blank, reward, saved
from ppo_vs_grpo.benchmarks.models.taught import RECIPE, warm_start
from ppo_vs_grpo.benchmarks.models.tiny import CHARACTERS, SIZES, Size
from ppo_vs_grpo.tasks import lengths, make
from ppo_vs_grpo.tasks.base import Task
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.learned import Learned
from ppo_vs_grpo.tasks.splits import demonstrations

CACHE_VARIABLE = "PPO_VS_GRPO_CACHE"

Options = Mapping[str, Any]
"""A task's constructor options."""


def cache_folder(override: Path | None = None) -> Path:
    """The folder of start models: the override, else the environment variable, else the user's cache folder."""
    if override is not None:
        return override.expanduser()
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    return user_cache_path("ppo-vs-grpo") / "starts"


def locate(start: str, task: str, options: Options, cache: Path) -> Path:
    """The folder of a start model, built or not. Raises UserError for a path without a saved model."""
    if start in SIZES:
        return cache / f"{start}.{task.replace(':', '.')}.{_content_hash(start, task, options)}"
    if isinstance(make(task, options), Learned):
        raise UserError(
            f"start: {start!r}: a learned reward is taught beside an embedded start model: {', '.join(SIZES)}"
        )
    return saved.model_folder(start, ", ".join(SIZES))


def digest(start: str, task: str, options: Options) -> str:
    """An identifier of a start model: the content hash of an embedded one, that of a saved one's files."""
    if start in SIZES:
        return _content_hash(start, task, options)
    return saved.digest_of(locate(start, task, options, Path()), cache_folder())


def is_built(folder: Path) -> bool:
    """Whether the folder holds a complete model. Folders appear complete, by a rename."""
    return (folder / "config.json").is_file()


def build(start: str, task: str, options: Options, cache: Path) -> Path:
    """Build an embedded start model unless it exists. Several processes may ask at once."""
    from filelock import FileLock

    folder = locate(start, task, options, cache)
    if is_built(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(f"cache: cannot write to {cache} ({error.strerror}); choose another with --cache") from error
    with lock:
        if not is_built(folder):
            scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
            try:
                _make(SIZES[start], make(task, options), scratch)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _make(size: Size, task: Task, folder: Path) -> None:
    if isinstance(task, lengths.Lengths):
        blank.make(task, size, folder)
        return
    warm_start(size, task, folder)
    if isinstance(task, Learned):
        for number in range(task.models):
            reward.teach(task, folder, number)


def _content_hash(start: str, task: str, options: Options) -> str:
    choice = {"task": task, "options": dict(options)}
    return _hash_of_recipe(start, json.dumps(choice, separators=(",", ":"), ensure_ascii=False))


@functools.cache
def _hash_of_recipe(start: str, choice_json: str) -> str:
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


def main(arguments: list[str] | None = None) -> int:
    """Build one start model and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m ppo_vs_grpo.benchmarks.models.store", description=main.__doc__)
    parser.add_argument("start", choices=list(SIZES))
    parser.add_argument("choice", help='the task as JSON, {"task": ..., "options": {...}}')
    parser.add_argument("--cache", type=Path, default=None)
    args = parser.parse_args(arguments)
    try:
        choice = json.loads(args.choice)
        print(build(args.start, choice["task"], choice["options"], cache_folder(args.cache)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

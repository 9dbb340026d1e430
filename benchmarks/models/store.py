"""Start models by name and task: found, hashed, made once.

What `start` may be, in the order in which a name is looked up:

embedded.py  a size: nano, tiny, small, medium
smollm2.py   `smollm2`
gguf.py      a GGUF file, or a folder with one and no other weights
adapter.py   a folder with a LoRA adapter
saved.py     a folder with a model
hub.py       `org/name@revision` on the Hugging Face hub

What is made is cached by the hash of everything that determines it, and shared by all runs.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.models import adapter, admission, embedded, gguf, hub, saved, smollm2
from ppo_vs_grpo.benchmarks.models.start import Start, built, is_built, path_of
from ppo_vs_grpo.benchmarks.models.tiny import SIZES
from ppo_vs_grpo.tasks import kind_of
from ppo_vs_grpo.tasks.cache import cache_folder
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.learned import Learned

Options = Mapping[str, Any]
"""A task's constructor options."""


def find(start: str, task: str, options: Options) -> Start:
    """The start model of this name. UserError, beginning with its key, where there is none or it cannot be one."""
    if start in SIZES:
        return embedded.find(start, task, options)
    kind = kind_of(task)
    if isinstance(kind, type) and issubclass(kind, Learned):
        raise UserError(
            f"start: {start!r}: a learned reward is taught beside an embedded start model: {', '.join(SIZES)}"
        )
    return _find_language_model(start)


def _find_language_model(start: str) -> Start:
    """A model of somebody's, which is the same for every task."""
    path, memory = path_of("start", start), cache_folder()
    if start == smollm2.NAME:
        return smollm2.find(memory)
    if path.is_file() and path.suffix == gguf.SUFFIX:
        return gguf.find(start, path, memory)
    if path.is_dir():
        if adapter.is_adapter(path):
            return adapter.find(start, path, _find_language_model, memory)
        if not saved.has_weights(path) and (file := gguf.only_file(start, path)):
            return gguf.find(start, file, memory)
        return saved.find(start, path, memory)
    if hub.NAME.fullmatch(start):
        return hub.find(start)
    raise UserError(
        f"start: {start!r} is neither an embedded size ({', '.join(SIZES)}) nor {smollm2.NAME}, a folder with a model, "
        "a GGUF file, or a name on the hub (org/name@revision)"
    )


@functools.cache
def admit(start: Start) -> str | None:
    """How a start model's weights are quantised; None where they are not, or where it is not made yet.

    UserError where a model that was saved by somebody cannot be a start. What is made here is asked when it is made.
    """
    folder = start.folder(cache_folder())
    if start.make is None:
        admission.check(start.name, folder)
    return admission.quantization(folder) if is_built(folder) else None


def locate(start: str, task: str, options: Options, cache: Path) -> Path:
    """The folder of a start model, built or not. Raises UserError as `find` does."""
    return find(start, task, options).folder(cache)


def digest(start: str, task: str, options: Options) -> str:
    """An identifier of a start model's content."""
    return find(start, task, options).digest


def build(start: str, task: str, options: Options, cache: Path) -> Path:
    """Build a start model unless it exists, and return its folder. Several processes may ask at once."""
    return built(find(start, task, options), cache)


def main(arguments: list[str] | None = None) -> int:
    """Build one start model and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m ppo_vs_grpo.benchmarks.models.store", description=main.__doc__)
    parser.add_argument("start", help="what a suite's `start` may be")
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

"""Tasks: the questions, and the rules that score answers. One file per task, no torch.

base.py     what a task is: it draws problems, or it has rows of them
splits.py   train, validation and held-out prompts, and all seeds
options.py  checks of a task's options
dataset.py  rows of a file or of a Hugging Face dataset as a task: tables.py and hub.py read them, prompts.py makes
            problems of them, partition.py three splits, unusable.py leaves rows out; presets.py names shared ones
gym.py      generators of Reasoning Gym
one_turn.py environments of verifiers that take one turn
environment.py  the variables of child processes
cache.py    the folder of what was made or found out once
embedded.py what the embedded models can read
errors.py   UserError, and advice for a wrong name
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

if __name__ != "ppo_vs_grpo.tasks":
    raise ImportError(f"import ppo_vs_grpo.tasks, not {__name__}: see CONTRIBUTING.md, 'Set up'")

from ppo_vs_grpo.tasks.base import DrawingTask, Task
from ppo_vs_grpo.tasks.errors import UserError, nearest

TASKS = {
    "countdown": "ppo_vs_grpo.tasks.countdown:Countdown",
    "sorting": "ppo_vs_grpo.tasks.sorting:Sorting",
    "recall": "ppo_vs_grpo.tasks.recall:Recall",
    "arithmetic": "ppo_vs_grpo.tasks.arithmetic:Arithmetic",
    "noisy": "ppo_vs_grpo.tasks.noisy:Noisy",
    "learned": "ppo_vs_grpo.tasks.learned:Learned",
    "lengths": "ppo_vs_grpo.tasks.lengths:Lengths",
    "dataset": "ppo_vs_grpo.tasks.dataset:Dataset",
    "gsm8k": "ppo_vs_grpo.tasks.presets:gsm8k",
    "math": "ppo_vs_grpo.tasks.presets:math",
    "reasoning-gym": "ppo_vs_grpo.tasks.gym:ReasoningGym",
    "verifiers": "ppo_vs_grpo.tasks.one_turn:OneTurn",
}

FAMILIES = {"reasoning-gym": "generator", "verifiers": "environment"}
"""Tasks that are named with one of many, as `reasoning-gym/chain_sum`, and what these are."""

_MEMBERS = ("name", "version", "max_new_tokens", "best_score", "draw", "demonstrate", "score")
_OF_DRAWING = ("draw", "demonstrate")
"""The members that a task with `rows` does without."""


def make(task: str, options: Mapping[str, Any] | None = None) -> Task:
    """The task with a name in TASKS, or of `package.module:Class`, built with its constructor options.

    `reasoning-gym/chain_sum` is a generator of Reasoning Gym, `verifiers/NAME` an environment of verifiers.

    Raises UserError for an unknown name, for a class that cannot be imported or is not a task, and for an
    unknown or wrong option.
    """
    kind = kind_of(task)
    given = dict(options or {})
    accepted = inspect.signature(kind).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        for option in given:
            if option not in accepted:
                raise UserError(f"options.{option}: {task!r} has no such option; {nearest(option, accepted)}")
    try:
        made = kind(**given)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"task: {task!r} cannot be made with the options {given}: {error}") from error
    needed = [member for member in _MEMBERS if not (hasattr(made, "rows") and member in _OF_DRAWING)]
    missing = [member for member in needed if not hasattr(made, member)]
    if missing:
        raise UserError(f"task: {task!r} is no task: it lacks {', '.join(missing)} (see docs/tasks.md)")
    checked: Task = made
    return checked


def make_gold(task: str, options: Mapping[str, Any] | None = None) -> DrawingTask:
    """The task that another one wraps and holds as `gold`.

    Raises UserError if it is itself such a wrapper, or if it has rows: a dataset's reward is an option of its own.
    """
    try:
        made = make(task, options)
    except UserError as error:
        raise UserError(f"options.{error}") from None  # the error begins with its key
    if hasattr(made, "gold"):
        raise UserError(f"options.task: {task!r}: should be a task with a rule of its own")
    if hasattr(made, "rows"):
        raise UserError(f"options.task: {task!r}: should be a task that draws; a dataset names its own `reward`")
    return cast(DrawingTask, made)


def kind_of(task: str) -> Callable[..., Any]:
    """What makes the task, a class as a rule. Raises UserError as `make` does for what is not there."""
    family, _, member = task.partition("/")
    if member and family in FAMILIES:
        return functools.partial(kind_of(family), member)
    place = TASKS.get(task, task)
    module, colon, attribute = place.partition(":")
    if not (module and colon and attribute):
        raise UserError(f"task: unknown {task!r}; {nearest(task, TASKS)}, or 'package.module:Class' for your own")
    try:
        loaded = importlib.import_module(module)
    except Exception as error:  # the user should read whatever their own file raises
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"task: {task!r}: the module {module!r} cannot be imported ({reason})") from error
    if not callable(found := getattr(loaded, attribute, None)):
        classes = [name for name, kind in vars(loaded).items() if inspect.isclass(kind) and kind.__module__ == module]
        raise UserError(f"task: {task!r}: {module!r} has no class {attribute!r}; {nearest(attribute, classes)}")
    kind: Callable[..., Any] = found
    return kind

"""A first suite to change: what `init` writes."""

from __future__ import annotations

import re

from ppo_vs_grpo.benchmarks.suites import suite_names
from ppo_vs_grpo.benchmarks.suites.sections import LABEL
from ppo_vs_grpo.tasks.errors import UserError

DRAFT = """\
# A suite compares its arms: each is trained on each task with each seed, in a process of its own.
# Run it with `ppo-vs-grpo run {name}.yaml`; Ctrl-C stops it, and the same command goes on.
# Every key with its default: `ppo-vs-grpo show {name}.yaml`. What may stand here: `ppo-vs-grpo list algorithms`.
# Its results go to results/{name}/, which a `name` here would change.

description: my first comparison
start: nano                    # nano, tiny, small: made on the spot; or smollm2, a model's folder, org/name
tasks: [countdown]             # one or more of: countdown, sorting, recall, arithmetic
arms:                          # label: the algorithm, and its own settings
  ppo:
    algorithm: ppo-critic
    # config: {{lam: 0.9}}       # a setting of the algorithm
    # train: {{beta: 0}}         # a setting below, in which this arm differs on purpose
  grpo:
    algorithm: grpo
seeds: 8                       # how many, or a list; paired across arms. A verdict needs 8
train:                         # the same in every arm
  completions: 6400            # the budget of a run: 50 updates of 16 prompts x 8 completions
  prompts_per_update: 16
  group_size: 8
  learning_rate: 4e-4
  beta: 0.01                   # the penalty for leaving the start model
eval: {{prompts: 128, samples: 4, points: 11}}   # held-out, at even places of the budget
timing: {{updates: 5, warmup_updates: 1}}       # seconds and memory, alone on the machine; null leaves it out
# probes: {{}}                   # gradient noise, value, memory and operations at start, middle and end
"""
"""A suite of two arms that trains its 16 runs in a few minutes."""


def draft(name: str) -> str:
    """The text of a first suite. Raises UserError as `check_name` does."""
    check_name(name, f"init {name}")
    return DRAFT.format(name=name)


def check_name(name: str, asked: str) -> None:
    """Raise UserError, which begins with what was asked, for what cannot name a suite, or names one of the package."""
    if not re.fullmatch(LABEL, name):
        raise UserError(f"{asked}: a suite's name has letters, digits, _, + and - only, as in my-suite")
    if name in suite_names():
        raise UserError(f"{asked}: a suite of the package is called so; choose another name, such as my-{name}")

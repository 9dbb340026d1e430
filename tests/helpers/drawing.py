"""The names of the tasks that draw; they need neither data nor a generator."""

from __future__ import annotations

from ppo_vs_grpo.tasks import TASKS

WITH_DATA = ("dataset", "gsm8k", "math", "reasoning-gym", "verifiers")
DRAWING = tuple(name for name in TASKS if name not in WITH_DATA)

"""One run of a suite: what spec.json holds, its key, the protocol."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ppo_vs_grpo.algorithms.shared.config import Frozen, TrainConfig
from ppo_vs_grpo.benchmarks.probes import ProbeConfig
from ppo_vs_grpo.benchmarks.records.folder import Purpose, run_key
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig, TaskChoice, Timing

PROTOCOL = 1
"""Version of what a run measures and how; results of two versions are never mixed."""


class RunSpec(Frozen):
    """Everything one process needs to train one arm on one task with one seed.

    `purpose` is "train" for the comparison and "timing" for the pass on the idle machine, whose
    repeats are told apart by `seed` and whose budget is the warm-up and the measured updates.
    `config` is the algorithm's resolved settings. `threads` is None where the run takes all cores.
    """

    suite: str
    protocol: int = PROTOCOL
    purpose: Purpose = "train"
    arm: str
    algorithm: str
    config: dict[str, Any]
    task: str
    task_choice: TaskChoice
    task_data: str
    start: str
    start_hash: str
    seed: int
    tuning: bool
    threads: int | None = None
    train: TrainConfig
    eval: EvalConfig
    timing: Timing | None = None
    probes: ProbeConfig | None = None

    @property
    def cfg8(self) -> str:
        """Eight hex digits of everything that changes a result except the seed."""
        names: dict[str, Any] = dict.fromkeys(("suite", "seed", "arm", "task", "start"), True)
        fields = self.model_dump(mode="json", exclude=names | {"timing": {"repeats", "arms", "cells"}})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def key(self) -> str:
        """The run's folder name."""
        return run_key(self.purpose, self.arm, self.task, self.seed, self.cfg8)

    @property
    def identity(self) -> dict[str, Any]:
        """Who the run is, as its manifest has it."""
        names = ("key", "suite", "purpose", "arm", "algorithm", "task", "seed", "cfg8", "protocol")
        return {name: getattr(self, name) for name in names}

"""One run's spec."""

from __future__ import annotations

from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig, TaskChoice

SPEC = RunSpec(
    suite="s",
    arm="ppo",
    algorithm="ppo",
    config={},
    task="countdown",
    task_choice=TaskChoice(task="countdown"),
    task_data="0",
    start="nano",
    start_hash="0",
    seed=3,
    tuning=False,
    train=TrainConfig(),
    eval=EvalConfig(),
)

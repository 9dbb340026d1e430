"""The loss of an imported arm is that of TRL's trainer under the same configuration: advantages, loss, gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.benchmarks.suites.trl_config import read_trl
from ppo_vs_grpo.benchmarks.suites.trl_suite import suite_of, text_of
from suite_files import specs
from trl_oracle import DEPRECATED, FixedGRPO, assert_same, distance, ours, theirs

pytestmark = pytest.mark.filterwarnings(DEPRECATED)

# What the oracle's trainer has; a task and a start model of the package stand for those of the file.
FILE = {
    "model_name_or_path": "org/model",
    "dataset_name": "org/data",
    "reward_funcs": ["accuracy_reward"],
    "per_device_train_batch_size": 12,
    "num_generations": 4,
    "max_completion_length": 6,
    "temperature": 0.7,
}
HERE = {"tasks": ["sorting"], "start": "nano", "seeds": 1, "timing": None}


def imported(folder: Path, fields: dict[str, Any]) -> Algorithm:
    """The algorithm of the imported arm, from the suite's file as a run has it."""
    source, path = folder / "trl.yaml", folder / "suite.yaml"
    source.write_text(yaml.safe_dump(FILE | fields))
    suite, notes = suite_of(read_trl(source), source)
    path.write_text(text_of(suite | HERE, notes, source, "suite"))
    (spec,) = [spec for spec in specs(path) if spec.arm != "ppo-critic"]
    kind = find(spec.algorithm)
    return kind(kind.Config(**spec.config), spec.train)


@pytest.mark.parametrize(
    "fields",
    [
        {"loss_type": "grpo"},
        {"loss_type": "grpo", "scale_rewards": "batch", "beta": 0.3, "epsilon": 0.15, "epsilon_high": 0.28},
        {"loss_type": "grpo", "scale_rewards": False, "beta": 0.3, "use_bias_correction_kl": False, "delta": 1.5},
        {"loss_type": "grpo", "epsilon_high": 0.5, "delta": 1.1},
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.1, "epsilon_high": 0.15},
        {"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.3, "use_bias_correction_kl": False},
        {"loss_type": "dapo", "epsilon_high": 0.28},
        {"loss_type": "bnpo", "beta": 0.3, "use_bias_correction_kl": False, "delta": 1.5},
    ],
    ids=lambda fields: " ".join(f"{key}={value}" for key, value in fields.items()),
)
def test_the_imported_arm_has_trls_loss(fields: dict[str, Any], tmp_path: Path) -> None:
    theirs_ = theirs(FixedGRPO, tmp_path, shift=0.8, **fields)
    assert_same(ours(imported(tmp_path, fields), shift=0.8), theirs_)
    assert distance(ours(imported(tmp_path, {**fields, "epsilon": 0.05}), shift=0.8), theirs_, "loss") > 1e-3

"""Configurations of TRL's GRPO, and the suites that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from checkout import ROOT
from ppo_vs_grpo.benchmarks.suites.trl_config import read_trl
from ppo_vs_grpo.benchmarks.suites.trl_suite import suite_of
from ppo_vs_grpo.tasks.errors import UserError

EXAMPLE = ROOT / "tests/helpers/data/trl_grpo.yaml"
LEAST = {"model_name_or_path": "org/model", "dataset_name": "org/data", "reward_funcs": ["accuracy_reward"]}


def suite(folder: Path, **fields: Any) -> dict[str, Any]:
    path = folder / "trl.yaml"
    path.write_text(yaml.safe_dump(LEAST | fields))
    return suite_of(read_trl(path), path)[0]


def train(folder: Path, **fields: Any) -> dict[str, Any]:
    shared: dict[str, Any] = suite(folder, **fields)["train"]
    return shared


def message(folder: Path, **fields: Any) -> str:
    with pytest.raises(UserError) as caught:
        suite(folder, **fields)
    return str(caught.value).removeprefix(f"{folder / 'trl.yaml'}: ")

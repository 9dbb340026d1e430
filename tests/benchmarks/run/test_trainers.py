"""The trainer of a run: what no trainer can train is refused when the start model is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from example_spec import SPEC
from ppo_vs_grpo.benchmarks.run.trainers import make_trainer
from ppo_vs_grpo.tasks.errors import UserError
from run_folders import prepared
from tiny_models import change_json


def test_quantised_weights_are_refused_where_all_of_them_would_be_trained(tmp_path: Path) -> None:
    _, model = prepared(tmp_path, SPEC)
    change_json(model / "config.json", quantization_config={"quant_method": "gptq"})
    with pytest.raises(UserError, match=r"lora_rank: null: the weights of the start 'nano' are quantised \(gptq\)"):
        make_trainer(SPEC, model)

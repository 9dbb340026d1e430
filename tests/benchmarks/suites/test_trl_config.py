"""Files of TRL's GRPO: the fields and defaults are TRL's, and what is wrong with a file is one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from trl import GRPOConfig, ModelConfig
from trl.scripts.grpo import GRPOScriptArguments
from trl.scripts.utils import DatasetMixtureConfig

from ppo_vs_grpo.benchmarks.suites.trl_config import PARTS, QUIET, TrlConfig, read_trl
from ppo_vs_grpo.tasks.errors import UserError

PARTS_OF_FIELDS = [part for parts in PARTS.values() for part in parts]


def fields_of_trl() -> dict[str, Any]:
    """Every field that `trl grpo` reads, with TRL's default."""
    kinds = (GRPOScriptArguments, GRPOConfig, ModelConfig, DatasetMixtureConfig)
    return {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for kind in kinds
        for field in dataclasses.fields(kind)
    }


def read(folder: Path, text: str) -> TrlConfig:
    path = folder / "trl.yaml"
    path.write_text(text)
    return read_trl(path).config


def test_every_default_is_trls() -> None:
    theirs = fields_of_trl()
    ours = {name: field.get_default(call_default_factory=True) for name, field in TrlConfig.model_fields.items()}
    assert ours == {name: theirs.get(name, "no field of TRL's") for name in ours}


def test_every_field_of_trl_has_its_place_and_only_one() -> None:
    placed = [*TrlConfig.model_fields, *PARTS_OF_FIELDS, *QUIET]
    assert sorted(placed) == sorted(fields_of_trl())
    assert set(PARTS) <= set(TrlConfig.model_fields)


def test_what_a_file_leaves_out_is_trls_default(tmp_path: Path) -> None:
    assert read(tmp_path, "learning_rate: 5e-6\nlogging_steps: 1") == TrlConfig(learning_rate=5e-6)


def test_older_names_are_read(tmp_path: Path) -> None:
    config = read(tmp_path, "warmup_ratio: 0.1\ntorch_dtype: bfloat16\nmax_prompt_length: 512")
    assert (config.warmup_steps, config.dtype) == (0.1, "bfloat16")


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("{}", "group"),
        *[(f"scale_rewards: {word}", word) for word in ("group", "batch", "none")],
        ("scale_rewards: true", "group"),
        ("scale_rewards: false", "none"),
    ],
)
def test_rewards_are_scaled_by_a_word_or_a_flag(text: str, scale: str, tmp_path: Path) -> None:
    assert read(tmp_path, text).scale == scale


@pytest.mark.parametrize(
    ("text", "bfloat16"),
    [
        ("{}", True),
        ("bf16: false", False),
        ("fp16: true", False),
        ("{bf16: true, fp16: false}", True),
        ("{bf16: false, dtype: bfloat16}", True),
    ],
)
def test_passes_are_in_bfloat16_unless_told_otherwise(text: str, bfloat16: bool, tmp_path: Path) -> None:
    assert read(tmp_path, text).computes_in_bfloat16 is bfloat16


def test_the_newer_name_of_checkpointing_wins(tmp_path: Path) -> None:
    assert read(tmp_path, "{}").checkpoints
    assert not read(tmp_path, "gradient_checkpointing: false").checkpoints
    assert not read(tmp_path, "{activation_checkpointing: false, gradient_checkpointing: true}").checkpoints


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", ", line 1: not YAML (expected the node content, but found '<stream end>')"),
        ("[learning_rate]", ": holds a list; a TRL configuration is a mapping of its fields"),
        ("", ": holds a NoneType; a TRL configuration is a mapping of its fields"),
        ("num_generation: 8", ": num_generation: TRL's GRPO knows no such key; did you mean 'num_generations'?"),
        ("loging_steps: 8", ": loging_steps: TRL's GRPO knows no such key; did you mean 'logging_steps'?"),
        ("qqq: 8", ": qqq: TRL's GRPO knows no such key"),
        ("num_generations: many", ": num_generations: 'many': should be a valid integer"),
        ("num_generations: 1", ": num_generations: 1: should be greater than or equal to 2"),
        ("epsilon: 1.5", ": epsilon: 1.5: should be less than 1"),
        ("reward_funcs: accuracy_reward", ": reward_funcs: 'accuracy_reward': should be a valid list"),
        ("loss_type: ppo", ": loss_type: 'ppo': should be 'grpo', 'bnpo', 'dapo', 'dr_grpo', 'cispo', 'sapo', 'luspo'"),
        ("chat_template_kwargs: '{a'", ": chat_template_kwargs: '{a': should be a mapping, or JSON of one (Expecting"),
        ("num_processes: 0", ": num_processes: 0: should be a whole number, 1 or more"),
        ("num_processes: true", ": num_processes: True: should be a whole number, 1 or more"),
        ("warmup_ratio: 0.1\nwarmup_steps: 5", ": warmup_ratio: is warmup_steps by its older name, which is there too"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'trl.yaml'}{says}")
    assert "\n" not in str(caught.value)


def test_json_of_a_mapping_is_one(tmp_path: Path) -> None:
    config = read(tmp_path, """chat_template_kwargs: '{"enable_thinking": false}'""")
    assert config.chat_template_kwargs == {"enable_thinking": False}

"""What of a TRL configuration has no counterpart: a line for each, and none for what has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ppo_vs_grpo.benchmarks.suites.trl_config import TrlConfig, read_trl
from ppo_vs_grpo.benchmarks.suites.trl_notes import ADAPTERS, FIELDS
from ppo_vs_grpo.benchmarks.suites.trl_suite import suite_of

# A file of which all has a counterpart, so that a test's own field is the only one with a note.
PLAIN = {
    "model_name_or_path": "org/model",
    "dataset_name": "org/data",
    "reward_funcs": ["accuracy_reward"],
    "lr_scheduler_type": "constant",
    "max_steps": 8,
    "num_processes": 1,
}
ALWAYS = ["critic", "pass rate", "prompts"]


def notes(folder: Path, **fields: Any) -> dict[str, str]:
    """What is said, by what it is said of."""
    path = folder / "trl.yaml"
    path.write_text(yaml.safe_dump(PLAIN | fields))
    said = [note.partition(": ") for note in suite_of(read_trl(path), path)[1]]
    return {about: text for about, _, text in said if about not in ALWAYS}


def test_three_things_are_told_of_every_file(tmp_path: Path) -> None:
    path = tmp_path / "trl.yaml"
    path.write_text(yaml.safe_dump(PLAIN))
    assert sorted(note.partition(": ")[0] for note in suite_of(read_trl(path), path)[1]) == ALWAYS


@pytest.mark.parametrize(
    ("fields", "about", "says"),
    [
        ({"num_processes": None}, "processes", "the file names no number"),
        (
            {"max_steps": -1},
            "num_train_epochs 3.0",
            "TRL's budget is rows of the dataset * 8 * 3 completions; set train.completions to it, which is 12800",
        ),
        ({"max_steps": 9, "num_iterations": 2}, "max_steps 9", "TRL stops inside the last update"),
        (
            {"gradient_accumulation_steps": 4, "steps_per_generation": 2},
            "gradient_accumulation_steps 4",
            "TRL takes several generations of one policy a step; they are one update here",
        ),
        ({"lr_scheduler_type": "cosine"}, "lr_scheduler_type cosine", "here the learning rate stays constant"),
        ({"optim": "sgd"}, "optim sgd", "AdamW here"),
        ({"dtype": "bfloat16"}, "dtype bfloat16", "TRL trains weights of this type; here trained weights are float32"),
        ({"fp16": True}, "fp16 True", "TRL computes in float16, which has no counterpart"),
        ({"dataset_train_split": "all"}, "dataset_train_split all", "the split train is trained on here"),
        ({"top_p": 0.9}, "top_p 0.9", "TRL learns as if the policy had sampled; here importance_correction weighs"),
        ({"min_p": 0.1}, "min_p 0.1", "TRL learns as if the policy had sampled"),
        ({"max_completion_length": None}, "max_completion_length None", "TRL leaves it to the model's settings"),
        ({"loss_type": "cispo"}, "loss_type cispo", "TRL bounds the weight of each token's gradient"),
        ({"loss_type": "sapo", "sapo_temperature_pos": 2}, "loss_type sapo, sapo_temperature_pos 2", "TRL fades"),
        ({"loss_type": "vespo"}, "loss_type vespo", "TRL weighs gradients smoothly by the whole completion's ratio"),
        (
            {"loss_type": "luspo", "importance_sampling_level": "sequence"},
            "loss_type luspo",
            "TRL multiplies a completion's loss by its length",
        ),
        (
            {"steps_per_generation": 2},
            "loss_type dapo",
            "TRL divides by the tokens of an update's mini-batches on average",
        ),
        (
            {"loss_type": "bnpo", "gradient_accumulation_steps": 4},
            "loss_type bnpo",
            "TRL averages over the tokens of each of 4 parts",
        ),
        (
            {"importance_sampling_level": "sequence"},
            "loss_type dapo",
            "TRL weighs a completion of one ratio by its length",
        ),
        (
            {"scale_rewards": "batch"},
            "scale_rewards batch",
            "the arm dapo divides a centred reward by its group's spread",
        ),
        ({"loss_type": "dr_grpo"}, "scale_rewards group", "the arm dr-grpo does not divide a centred reward"),
        (
            {"beta": 0.1},
            "use_bias_correction_kl True",
            "TRL multiplies the penalty by the ratio; the arm dapo does not",
        ),
        ({"delta": 1.0}, "delta 1.0", "at 1 or below it has no counterpart"),
        ({"warmup_ratio": 0.5}, "warmup_ratio 0.5", "read as warmup_steps"),
        ({"torch_dtype": "float32"}, "torch_dtype float32", "read as dtype"),
        ({"max_prompt_length": 99}, "max_prompt_length 99", "TRL cut longer prompts"),
        (
            {"use_vllm": True, "vllm_mode": "server", "vllm_server_port": 1},
            "use_vllm True, vllm_mode server, vllm_server_port 1",
            "TRL samples with vLLM",
        ),
        ({"load_in_4bit": True}, "load_in_4bit True", "TRL freezes weights of 4 bits"),
        ({"sync_ref_model": True}, "sync_ref_model True", "TRL moves the reference towards the policy"),
        ({"shuffle_dataset": False}, "shuffle_dataset False", "TRL keeps the dataset's order"),
        ({"deepspeed": "zero3.json"}, "deepspeed zero3.json", "TRL spreads a run over devices"),
        ({"vllm_mode": "server"}, "no number here depends on", "vllm_mode"),
        ({"run_name": "a", "output_dir": "b"}, "no number here depends on", "output_dir, run_name"),
        ({"env": {"A": "b"}}, "no number here depends on", "env"),
        ({"lora_r": 4}, "no number here depends on", "lora_r"),
    ],
)
def test_what_has_no_counterpart_is_told(fields: dict[str, Any], about: str, says: str, tmp_path: Path) -> None:
    if "num_processes" in fields:
        path = tmp_path / "trl.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in PLAIN.items() if key != "num_processes"}))
        told = {note.partition(": ")[0]: note.partition(": ")[2] for note in suite_of(read_trl(path), path)[1]}
    else:
        told = notes(tmp_path, **fields)
        assert list(told) == [about]
    assert told[about].startswith(says)


@pytest.mark.parametrize(
    "fields",
    [
        {"loss_type": "grpo", "scale_rewards": "batch", "beta": 0.1, "steps_per_generation": 4},
        {"loss_type": "dr_grpo", "scale_rewards": False},
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
        {"loss_type": "bnpo", "steps_per_generation": 4},
        {"epsilon_high": 0.5, "delta": 1.1, "num_iterations": 2},
        {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 4, "optim": "adamw_torch"},
        {"weight_decay": 0.0, "entropy_coef": 0.0, "use_vllm": False, "seed": 42},
        {"datasets": [{"path": "a/b", "split": "train"}]},
        {"use_peft": True, "lora_dropout": 0.0, "lora_target_modules": ["all-linear"], "dtype": "bfloat16"},
    ],
)
def test_nothing_is_told_of_what_has_a_counterpart(fields: dict[str, Any], tmp_path: Path) -> None:
    assert notes(tmp_path, **fields) == {}


def test_adapters_are_told_only_where_they_are_used(tmp_path: Path) -> None:
    other = {"lora_r": 8, "lora_alpha": 32, "lora_target_modules": ["q_proj"], "use_rslora": True, "use_dora": True}
    told = notes(tmp_path, use_peft=True, **other)
    assert {about: told[about] for about in ("lora_alpha 32", "lora_dropout 0.05")} == {
        "lora_alpha 32": "2 x lora_r = 16 here",
        "lora_dropout 0.05": "there is none here",
    }
    assert told["lora_target_modules ['q_proj']"] == "adapters stand beside every linear layer here"
    assert {"use_rslora True", "use_dora True"} < set(told)
    assert set(notes(tmp_path, **other)) == {"no number here depends on"}
    assert "lora_target_modules None" in notes(tmp_path, use_peft=True)


def test_a_mixture_is_told_part_by_part(tmp_path: Path) -> None:
    first = {"path": "a/b", "split": "all", "columns": ["prompt"], "fraction": 0.5}
    told = notes(tmp_path, datasets=[first, {"path": "c/d"}])
    assert told == {
        "mixture": "TRL mixes 2 datasets; here the first is the source",
        "datasets.split": "all has no counterpart",
        "datasets.columns": "['prompt'] has no counterpart",
        "datasets.fraction": "0.5 has no counterpart",
    }


@pytest.mark.parametrize("key", FIELDS)
def test_every_field_without_counterpart_is_told_and_its_default_is_not(key: str, tmp_path: Path) -> None:
    default = TrlConfig.model_fields[key].get_default(call_default_factory=True)
    strings = (
        "vllm_structured_outputs_regex",
        "optim_args",
        "model_init_kwargs",
        "generation_kwargs",
        "deepspeed",
        "fsdp",
    )
    other: Any = "x" if key in strings else {} if key == "parallelism_config" else 7
    if isinstance(default, bool):
        other = not default
    if key == "multi_objective_aggregation":
        other = "normalize_then_sum"
    assert FIELDS[key] in notes(tmp_path, **{key: other}).values()
    if default is not None:
        assert notes(tmp_path, **{key: default}) == {}


def test_the_tables_name_fields_of_trl() -> None:
    assert {*FIELDS, *ADAPTERS} <= set(TrlConfig.model_fields)
    assert not set(FIELDS) & set(ADAPTERS)

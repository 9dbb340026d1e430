"""A configuration of TRL's GRPO as a suite: what each field becomes, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from ppo_vs_grpo.benchmarks.suites.trl_config import read_trl
from ppo_vs_grpo.benchmarks.suites.trl_suite import suite_of, text_of
from trl_files import EXAMPLE, message, suite, train


def test_a_whole_configuration_field_by_field() -> None:
    made, _ = suite_of(read_trl(EXAMPLE), EXAMPLE)
    assert made["start"] == "Qwen/Qwen2.5-0.5B-Instruct@v1.0"
    assert made["tasks"]["dataset"] == {
        "task": "dataset",
        "options": {
            "source": "trl-lib/DeepMath-103K",
            "config": "default",
            "test": "test",
            "prompt": "prompt",
            "reward": [
                {"model": "org/judge", "weight": 0.5},
                {"reward": "trl.rewards:accuracy_reward"},
                {
                    "reward": "trl.rewards:get_soft_overlong_punishment",
                    "options": {"max_completion_len": 1280, "soft_punish_cache": 256},
                    "weight": 0.2,
                },
                {"reward": "my_lib.rewards:format_reward"},
            ],
        },
    }
    assert made["arms"] == {
        "ppo-critic": {"algorithm": "ppo-critic", "config": {"critic": {"learning_rate": 1e-4}}},
        "grpo": {"algorithm": "grpo", "config": {"scale": "batch", "kl": "k3_ratio"}},
    }
    assert made["train"] == {
        "completions": 800,  # 200 steps, 4 mini-batches * 2 epochs an update: 25 updates of 4 * 8 completions
        "prompts_per_update": 4,
        "group_size": 8,
        "max_new_tokens": 1024,
        "temperature": 0.9,
        "epochs": 2,
        "mini_batches": 4,  # 8 passes, 2 an optimizer step
        "learning_rate": 1e-5,
        "warmup_completions": 80,  # a tenth of the steps: 20 of 8 an update, 2.5 updates
        "max_grad_norm": 0.2,
        "beta": 0.04,
        "clip_low": 0.2,
        "clip_high": 0.28,
        "dual_clip": 1.5,
        "top_p": 0.95,
        "top_k": 50,
        "min_p": 0.0,
        "importance_correction": True,
        "gradient_checkpointing": True,
        "lora_rank": 32,
        "dtype": "bfloat16",
        "micro_batch_tokens": 4 * 1024,
        "chat": {"variables": {"enable_thinking": False}},
    }


def test_a_file_that_says_little_has_trls_defaults(tmp_path: Path) -> None:
    made = suite(tmp_path)
    assert made["start"] == "org/model"
    reward = [{"reward": "trl.rewards:accuracy_reward"}]
    assert made["tasks"]["dataset"]["options"] == {"source": "org/data", "prompt": "prompt", "reward": reward}
    assert list(made["arms"]) == ["ppo-critic", "dapo"]  # TRL's default loss
    assert made["train"] == {
        "completions": 12_800,
        "prompts_per_update": 1,
        "group_size": 8,
        "max_new_tokens": 512,
        "temperature": 1.0,
        "epochs": 1,
        "mini_batches": 1,
        "learning_rate": 1e-6,
        "warmup_completions": 0,
        "max_grad_norm": 1.0,
        "beta": 0.0,
        "clip_low": 0.2,
        "clip_high": 0.2,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "gradient_checkpointing": True,
        "dtype": "bfloat16",
        "micro_batch_tokens": 4096,
    }
    TrainConfig.model_validate(made["train"])


@pytest.mark.parametrize(
    ("fields", "label", "config", "restated"),
    [
        ({"loss_type": "grpo"}, "grpo", {"scale": "group"}, {}),
        ({"loss_type": "grpo", "scale_rewards": False}, "grpo", {"scale": "none"}, {}),
        ({"loss_type": "grpo", "beta": 0.1}, "grpo", {"scale": "group", "kl": "k3_ratio"}, {}),
        ({"loss_type": "grpo", "beta": 0.1, "use_bias_correction_kl": False}, "grpo", {"scale": "group"}, {}),
        ({"loss_type": "sapo"}, "grpo", {"scale": "group"}, {}),
        ({"loss_type": "dr_grpo", "beta": 0.1}, "dr-grpo", {}, {"beta": 0.1}),
        *[
            (
                {"loss_type": loss, "beta": 0.1, "epsilon_high": 0.3},
                "dapo",
                {"sampling_rounds": 1, "overlong_buffer_tokens": None},
                {"beta": 0.1, "clip_high": 0.3},
            )
            for loss in ("dapo", "bnpo", "cispo", "vespo")
        ],
        ({"loss_type": "luspo", "epsilon": 0.1}, "gspo", {}, {"clip_low": 0.1, "clip_high": 0.1}),
        (
            {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
            "gspo",
            {},
            {"clip_low": 3e-4, "clip_high": 4e-4},
        ),
        ({"importance_sampling_level": "sequence"}, "gspo", {}, {"clip_low": 0.2, "clip_high": 0.2}),
    ],
)
def test_the_arm_has_the_loss_or_the_nearest(
    fields: dict[str, Any], label: str, config: dict[str, Any], restated: dict[str, Any], tmp_path: Path
) -> None:
    (ppo, imported), arms = (made := suite(tmp_path, **fields)["arms"]), made
    assert (ppo, imported) == ("ppo-critic", label)
    arm = arms[label]
    assert (arm["algorithm"], arm.get("config", {}), arm.get("train", {})) == (label, config, restated)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_grad_norm": 0}, {"max_grad_norm": 1e9}),
        ({"max_completion_length": None}, {"max_new_tokens": None}),
        ({"use_peft": True}, {"lora_rank": 16}),
        ({"lora_r": 4}, {"lora_rank": None}),
        ({"min_p": 0.1}, {"min_p": 0.1, "importance_correction": True}),
        ({"top_k": 5}, {"top_k": 5, "importance_correction": True}),
        ({"bf16": False, "gradient_checkpointing": False}, {"dtype": "float32", "gradient_checkpointing": False}),
    ],
)
def test_single_settings(fields: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    made = train(tmp_path, **fields)
    assert {key: made.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"datasets": [{"path": "a/b", "name": "c"}]}, {"source": "a/b", "config": "c"}),
        ({"datasets": [{"path": "json", "data_files": "rows.jsonl"}]}, {"source": "rows.jsonl"}),
        ({"dataset_test_split": "held"}, {"source": "org/data", "test": "held"}),
    ],
)
def test_where_the_rows_come_from(fields: dict[str, Any], options: dict[str, str], tmp_path: Path) -> None:
    made = suite(tmp_path, **fields)["tasks"]["dataset"]["options"]
    assert {key: value for key, value in made.items() if key not in ("prompt", "reward")} == options


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model_name_or_path": None}, "model_name_or_path: missing; name the model that training starts from"),
        ({"dataset_name": None}, "dataset_name: missing; name the dataset whose prompts are asked"),
        ({"reward_funcs": None}, "reward_funcs: missing; name a reward, such as accuracy_reward"),
        (
            {"reward_funcs": ["mine"]},
            "reward_funcs: 'mine': should be one of accuracy_reward, reasoning_accuracy_reward",
        ),
        ({"reward_weights": [1, 2]}, "reward_weights: [1.0, 2.0]: should be 1 numbers, one a reward"),
        ({"num_generations": 3}, "num_generations: 3: should divide the 8 completions of a generation"),
        (
            {"generation_batch_size": 12},
            "generation_batch_size: 12: should be a multiple of the 8 completions of a step",
        ),
        (
            {"generation_batch_size": 16, "steps_per_generation": 2},
            "generation_batch_size: steps_per_generation is there too; leave one of them out",
        ),
        *[
            ({"gradient_accumulation_steps": 4, **more}, f"steps_per_generation: {steps}: should be a multiple of grad")
            for more, steps in (
                ({"steps_per_generation": 6}, 6),
                ({"steps_per_generation": 3}, 3),
                ({"steps_per_generation": 2, "num_iterations": 2}, 2),
            )
        ],
    ],
)
def test_what_cannot_be_a_suite_is_one_line(fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    assert message(tmp_path, **fields).startswith(says)


def test_the_file_is_a_suite_that_loads(tmp_path: Path) -> None:
    made, notes = suite_of(read_trl(EXAMPLE), EXAMPLE)
    path = tmp_path / "mine.yaml"
    path.write_text(text_of(made, notes, EXAMPLE, "mine"))
    loaded = load_suite(path)
    assert (loaded.name, list(loaded.arms), len(loaded.seeds)) == ("mine", ["ppo-critic", "grpo"], 8)
    assert loaded.train == TrainConfig.model_validate(made["train"])
    head = path.read_text().partition("\n\n")[0].splitlines()
    assert all(line.startswith("#") and len(line) <= 120 for line in head)
    assert " ".join(line.lstrip("# ") for line in head).endswith(" - ".join(["", *notes]).lstrip())

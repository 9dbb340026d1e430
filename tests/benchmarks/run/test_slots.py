"""How many runs the memory holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from example_spec import SPEC
from ppo_vs_grpo.benchmarks.profile.closed_form import closed_form
from ppo_vs_grpo.benchmarks.profile.shapes import shape
from ppo_vs_grpo.benchmarks.profile.work import Work
from ppo_vs_grpo.benchmarks.run import slots

GROUPS = {"prompts_per_update": 4, "group_size": 8, "max_new_tokens": 48, "micro_batch_tokens": 1024, "beta": 0.01}
GRPO = SPEC.model_copy(
    update={
        "purpose": "train", "arm": "grpo", "algorithm": "grpo", "config": {},
        "train": SPEC.train.model_copy(update=GROUPS | {"dtype": "float32"}),
    }
)  # fmt: skip
CRITIC = GRPO.model_copy(update={"arm": "two", "algorithm": "ppo", "config": {"critic": {"kind": "model"}}})


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """A folder with the config of half a billion weights, and a file as long as they are, mostly a hole."""
    shape("qwen2.5-0.5b").save_pretrained(tmp_path)
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(4 * 494_032_768)
    return {SPEC.task: tmp_path}


def free(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(gigabytes * 1e9)))


def test_a_run_holds_weights_gradients_moments_and_the_reference_and_a_critic_as_much_again(
    models: dict[str, Path],
) -> None:
    weights_bytes = 4 * 494_032_768
    plain = slots.run_bytes(GRPO, models[SPEC.task])
    assert 5 * weights_bytes < plain < 7 * weights_bytes
    assert slots.run_bytes(CRITIC, models[SPEC.task]) - plain > 3 * weights_bytes
    form = closed_form(shape("qwen2.5-0.5b"), "grpo", Work(GRPO.train, slots.PROMPT_TOKENS, 48, torch.float32))
    assert form is not None
    assert plain == form.total_peak_bytes + slots.LIBRARIES_BYTES


def test_slots_are_lowered_to_what_the_largest_arm_needs(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    need_gb = slots.run_bytes(CRITIC, models[SPEC.task]) / 1e9
    free(monkeypatch, 3.5 * need_gb)
    assert slots.holding(3, [GRPO, CRITIC], models) == (3, None)
    lowered, told = slots.holding(8, [GRPO, CRITIC], models)
    assert lowered == 3
    assert told == (
        f"a run of two on {SPEC.task} needs about {need_gb:.1f} GB, as predicted, and {3.5 * need_gb:.1f} GB are free: "
        "3 at a time instead of 8"
    )


def test_one_run_that_may_not_fit_is_tried_and_what_makes_it_smaller_is_said(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1.0)
    lowered, told = slots.holding(2, [GRPO], models)
    assert lowered == 1
    assert told is not None
    assert "it may be killed; smaller: train.micro_batch_tokens" in told


def test_small_models_and_unknown_shapes_are_not_asked_about(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 0.001)
    halved = GRPO.model_copy(update={"train": GRPO.train.model_copy(update={"dtype": "bfloat16"})})
    assert slots.holding(4, [halved], models) == (4, None)
    (models[SPEC.task] / "model.safetensors").write_bytes(b"small")
    assert slots.holding(4, [GRPO], models) == (4, None)

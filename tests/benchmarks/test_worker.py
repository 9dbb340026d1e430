"""A run in process, on a user's own model folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from copying import gpt2
from ppo_vs_grpo.algorithms.shared.config import EvalConfig, TrainConfig
from ppo_vs_grpo.benchmarks import starts, worker
from ppo_vs_grpo.benchmarks.spec import RunSpec
from test_record import SPEC


def prepared(tmp_path: Path, spec: RunSpec, **tokens: None) -> tuple[Path, Path]:
    """A run's folder, and a GPT-2 shape with learned positions whose tokenizer lacks the named tokens."""
    model, folder = tmp_path / "model", tmp_path / "run"
    gpt2(vocab_size=len(starts.CHARACTERS) + 4).save_pretrained(model)
    tokenizer = starts.tokenizer()
    for name, value in tokens.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(model)
    folder.mkdir()
    (folder / "spec.json").write_text(spec.model_dump_json())
    return folder, model


def a_run(arm: str) -> RunSpec:
    train = TrainConfig(completions=32, prompts_per_update=4, group_size=4, max_new_tokens=5)
    changes = {"arm": arm, "algorithm": arm, "train": train, "eval": EvalConfig(prompts=8, points=2, transcripts=2)}
    return SPEC.model_copy(update=changes)


def manifest(folder: Path) -> dict[str, object]:
    made: dict[str, object] = json.loads((folder / "manifest.json").read_text())
    return made


@pytest.mark.parametrize("arm", ["ppo", "grpo"])
def test_a_users_model_without_a_pad_token_trains(tmp_path: Path, arm: str) -> None:
    folder, model = prepared(tmp_path, a_run(arm), pad_token=None)
    assert worker.main([str(folder), str(model), "--contended"]) == 0
    assert manifest(folder)["status"] == "ok"
    assert (manifest(folder)["updates"], manifest(folder)["completions"]) == (2, 32)
    assert manifest(folder)["contended"] is True


def test_a_model_without_an_end_token_is_a_failed_run_that_says_so(tmp_path: Path) -> None:
    folder, model = prepared(tmp_path, a_run("grpo"), eos_token=None)
    assert worker.main([str(folder), str(model)]) == 1
    assert manifest(folder)["status"] == "failed"
    assert "no end token" in str(manifest(folder)["error"])

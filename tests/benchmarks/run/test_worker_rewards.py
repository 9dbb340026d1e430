"""Runs under models that judge: one that exists, and one that is taught from pairs first."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from example_spec import SPEC
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.models import tiny
from ppo_vs_grpo.benchmarks.models.judge import open_judge
from ppo_vs_grpo.benchmarks.run import worker
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig, TaskChoice
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from ppo_vs_grpo.tasks.rewards.models import ModelReward
from run_folders import prepared


def save_judge(folder: Path) -> None:
    """Save a sequence classifier of random weights."""
    words = tiny.tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(vocab_size=len(words), num_labels=1, initializer_range=0.5, **sizes)
        LlamaForSequenceClassification(config).save_pretrained(folder)
    words.save_pretrained(folder)


def lines(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_pays_what_its_model_says_whether_it_was_there_or_is_taught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reward of each transcript is that of the saved model, read anew; a taught one is saved in the cache."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    save_judge(tmp_path / "judge")
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"q": f"{n}="}) for n in range(60)))
    pairs = [{"prompt": f"{n}=", "chosen": "aa", "rejected": "bb"} for n in range(8)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    kinds = {"model": str(tmp_path / "judge"), "preferences": str(tmp_path / "pairs.jsonl")}
    train = TrainConfig(completions=32, prompts_per_update=4, group_size=4, max_new_tokens=4)
    for name, place in kinds.items():
        options = {"source": str(tmp_path / "rows.jsonl"), "prompt": "q", "reward": {name: place}}
        choice = TaskChoice(task="dataset", options=options)
        evaluated = EvalConfig(prompts=4, points=2, transcripts=4)
        changes = {"task": "mine", "task_choice": choice, "train": train, "eval": evaluated}
        (tmp_path / name).mkdir()
        folder, start = prepared(
            tmp_path / name, SPEC.model_copy(update=changes | {"arm": "grpo", "algorithm": "grpo"})
        )
        assert worker.main([str(folder), str(start)]) == 0
        updates = lines(folder / "metrics.jsonl")
        assert [update["completions"] for update in updates] == [16, 32]
        assert all(update[f"reward_{name}"] == pytest.approx(update["reward_mean"]) for update in updates)
        assert all(update["reward_std_within_group"] > 0 for update in updates)
        (judge,) = [tmp_path / "judge"] if name == "model" else (tmp_path / "cache").glob("reward.*[!k]")
        asked = ModelReward("m", str(judge), template="text" if name == "model" else "text+end")
        said = lines(folder / "samples.jsonl.gz")
        assert len(said) == 8
        anew = open_judge(asked)([Problem(row["prompt"]) for row in said], [row["completion"] for row in said])
        assert [row["reward"] for row in said] == pytest.approx(anew, abs=1e-4)

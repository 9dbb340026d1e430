"""A run in process, on a user's own model folder."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from example_spec import SPEC
from ppo_vs_grpo.algorithms import entry
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models import blank, tiny
from ppo_vs_grpo.benchmarks.probes import ProbeConfig
from ppo_vs_grpo.benchmarks.records.schema import PHASES
from ppo_vs_grpo.benchmarks.run import trainers, worker
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig, Timing
from ppo_vs_grpo.tasks import make
from run_folders import prepared

PROBES = ProbeConfig(prompts=2, reference_prompts=2, continuations=2, prefixes=1)
FEW = EvalConfig(prompts=4, points=3)


def a_run(arm: str) -> RunSpec:
    train = TrainConfig(completions=32, prompts_per_update=4, group_size=4, max_new_tokens=5)
    changes = {"arm": arm, "algorithm": arm, "train": train, "eval": EvalConfig(prompts=8, points=2, transcripts=2)}
    return SPEC.model_copy(update=changes)


def manifest(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return made


@pytest.mark.parametrize("arm", ["ppo", "grpo"])
def test_a_users_model_without_a_pad_token_trains(tmp_path: Path, arm: str) -> None:
    folder, model = prepared(tmp_path, a_run(arm), pad_token=None)
    assert worker.main([str(folder), str(model), "--contended"]) == 0
    assert manifest(folder)["status"] == "ok"
    assert (manifest(folder)["updates"], manifest(folder)["completions"]) == (2, 32)
    assert manifest(folder)["contended"] is True


@pytest.mark.parametrize(("arm", "rank"), [("ppo-critic", 2), ("grpo", 2), ("grpo", None)])
def test_a_run_in_bfloat16_holds_what_it_freezes_in_it_and_nothing_else(
    tmp_path: Path, arm: str, rank: int | None
) -> None:
    plain = a_run(arm)
    train = plain.train.model_copy(update={"lora_rank": rank, "dtype": "bfloat16"})
    spec = plain.model_copy(update={"train": train, "config": entry(arm).config, "probes": PROBES, "eval": FEW})
    folder, model = prepared(tmp_path, spec)
    assert worker.main([str(folder), str(model)]) == 0
    assert manifest(folder)["status"] == "ok"
    trainer = trainers.make_trainer(spec, model)
    assert isinstance(trainer, Trainer)
    networks = [net for net in (trainer.models.policy, trainer.models.reference, trainer.models.trunk) if net]
    assert len(networks) == (3 if arm == "ppo-critic" else 2)
    assert manifest(folder)["parameters"] == sum(p.numel() for p in trainer.models.policy.parameters())
    for network in networks:
        types = {rank is None or "lora_" in name: p.dtype for name, p in network.named_parameters()}
        assert types == {True: torch.float32} | ({} if rank is None else {False: torch.bfloat16})
    memory = pd.read_parquet(folder / "memory.parquet")
    policy = memory[(memory["role"] == "policy.params") & (memory["phase"] == "total")].set_index("source")["bytes"]
    assert policy["tracked"] == policy["predicted"] == sum(p.nbytes for p in trainer.models.policy.parameters())


@pytest.mark.parametrize("arm", ["grpo", "trl-grpo"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_profiled_timing_run_leaves_a_trace_and_a_table(tmp_path: Path, arm: str) -> None:
    timing = Timing(updates=2, warmup_updates=1)
    spec = a_run(arm).model_copy(update={"purpose": "timing", "timing": timing, "algorithm": arm})
    spec = spec.model_copy(update={"train": spec.train.model_copy(update={"completions": 48})})
    folder, model = prepared(tmp_path, spec)
    blank.make(make("lengths"), tiny.SIZES["nano"], model)  # rotary positions, which TRL wants
    assert worker.main([str(folder), str(model), "--profile"]) == 0
    lines = (folder / "profile.txt").read_text().splitlines()
    shares = [float(line.rpartition("s")[2].rstrip("%")) for line in lines[2:7]]
    assert [line.split()[0] for line in lines[2:7]] == list(PHASES)
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert shares[0] > 10
    assert "aten::mm" in "\n".join(lines)
    trace = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    assert any(event.get("name") == "aten::mm" for event in trace["traceEvents"])
    assert manifest(folder)["updates"] == 3
    assert {"profile.txt", "trace.json.gz"} <= set(manifest(folder)["files"])


def test_a_run_that_is_tried_again_says_how_the_attempt_before_ended(tmp_path: Path) -> None:
    folder, model = prepared(tmp_path, a_run("grpo"))
    (folder / "retried").write_text("diverged\n")
    assert worker.main([str(folder), str(model)]) == 0
    assert manifest(folder)["retried"] == "diverged"
    assert {"retried", "spec.json"} <= set(manifest(folder)["files"])


def test_a_training_run_is_not_profiled(tmp_path: Path) -> None:
    folder, model = prepared(tmp_path, a_run("grpo"))
    assert worker.main([str(folder), str(model), "--profile"]) == 0
    assert not (folder / "profile.txt").exists()


def test_a_model_without_an_end_token_is_a_failed_run_that_says_so(tmp_path: Path) -> None:
    folder, model = prepared(tmp_path, a_run("grpo"), eos_token=None)
    assert worker.main([str(folder), str(model)]) == 1
    assert manifest(folder)["status"] == "failed"
    assert "no end token" in str(manifest(folder)["error"])


def test_a_run_imports_no_library_of_other_arms(tmp_path: Path) -> None:
    """They take a second of each run's start, and their memory would be counted as the run's."""
    folder, model = prepared(tmp_path, a_run("grpo"))
    code = (
        f"import sys; from ppo_vs_grpo.benchmarks.run import worker; worker.main([{str(folder)!r}, {str(model)!r}]);"
        "print(sorted({'trl', 'peft', 'datasets', 'matplotlib', 'wandb'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
    assert manifest(folder)["status"] == "ok"

"""The trainer at a real size: half a billion weights and a vocabulary of 151,936, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ppo_vs_grpo.benchmarks.profile.memory import TOTAL
from ppo_vs_grpo.benchmarks.profile.predict import predict
from ppo_vs_grpo.benchmarks.profile.shapes import shape
from ppo_vs_grpo.benchmarks.profile.work import Work
from predicted import own_bytes

HELPERS = Path(__file__).parents[2] / "helpers"

UPDATES = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from predicted import real
from ppo_vs_grpo.algorithms.shared.meters import peak_rss_bytes
from ppo_vs_grpo.benchmarks.profile.shapes import shape
from ppo_vs_grpo.benchmarks.profile.work import Work

def size(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

config, rows, sizes = shape("qwen2.5-0.5b"), [], {}
work = Work.of(8, 8, 32, 4, torch.float32, mini_batches=1, micro_batch_tokens=384, lora_rank=16)
for arm in ("ppo", "grpo"):
    trainer = real(config, arm, work)
    rows += [record.metrics for record in trainer.updates(2)]
    frozen = sum(p.numel() for p in trainer.models.policy.parameters() if not p.requires_grad)
    moments = [t for p in trainer.models.policy_parameters() for t in trainer._learner.optimizer.state[p].values()]
    sizes[arm] = [size(trainer.models.policy_parameters()), size(moments)]
    del trainer, moments
print(json.dumps({"rows": rows, "peak_bytes": peak_rss_bytes(), "frozen": frozen, "sizes": sizes}))
"""
WORK = Work.of(8, 8, 32, 4, torch.float32, mini_batches=1, micro_batch_tokens=384, lora_rank=16)


def test_half_a_billion_weights_with_adapters_train_below_eight_gigabytes() -> None:
    """Two updates of 8 completions of 32 tokens for each algorithm: a minute or two."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", UPDATES, str(HELPERS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["frozen"] == 494_032_768
    assert 4 * seen["frozen"] < seen["peak_bytes"] < 8e9
    assert [row["tokens"] for row in seen["rows"]] == [256, 512] * 2
    assert all(0 < row["grad_norm"] < float("inf") for row in seen["rows"])
    assert all(row["ratio_error_max"] < 1e-3 for row in seen["rows"])
    config = shape("qwen2.5-0.5b")
    assert config.vocab_size == 151_936
    for predicted in predict(config, ["ppo", "grpo"], WORK):
        trained_bytes, moments_bytes = seen["sizes"][predicted.arm]
        assert own_bytes(predicted, TOTAL, "policy.grads") == pytest.approx(trained_bytes, rel=0.01)
        assert own_bytes(predicted, TOTAL, "optimizer.policy") == pytest.approx(moments_bytes, rel=0.01)

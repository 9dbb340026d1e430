"""Predictions with adapters and with gradient checkpointing: against the tracker, and what the command says."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from command import call, mistake
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.profile.flops import measure_costs
from ppo_vs_grpo.benchmarks.profile.memory import TOTAL
from ppo_vs_grpo.benchmarks.profile.predict import predict
from ppo_vs_grpo.benchmarks.profile.shapes import shape
from ppo_vs_grpo.benchmarks.profile.table import work_of
from ppo_vs_grpo.benchmarks.profile.work import Work
from ppo_vs_grpo.tasks.errors import UserError
from predicted import ARMS, CASES, NANO, assert_near, own_bytes, real

OPTIONS = {
    "lora": {"lora_rank": 4},
    "checkpoints": {"gradient_checkpointing": True},
    "both": {"lora_rank": 4, "gradient_checkpointing": True},
}


@pytest.mark.parametrize(("case", "options"), [*(("nano", name) for name in OPTIONS), ("wide", "both")])
@pytest.mark.parametrize("arm", ARMS)
def test_a_prediction_is_what_the_tracker_measures(case: str, arm: str, options: str) -> None:
    config, work = CASES[case][0], CASES[case][1].having(**OPTIONS[options])
    (predicted,) = predict(config, [arm], work)
    assert_near(predicted, measure_costs(real(config, arm, work)).peaks)


@pytest.mark.parametrize("options", OPTIONS)
def test_predicted_operations_are_the_measured_ones(options: str) -> None:
    config, work = CASES["nano"][0], CASES["nano"][1].having(**OPTIONS[options])
    (predicted,) = predict(config, ["ppo-critic"], work)
    counted = measure_costs(real(config, "ppo-critic", work)).flops
    assert [row.phase for row in predicted.flops] == [row.phase for row in counted]
    for ours, theirs in zip(predicted.flops, counted, strict=True):
        assert ours.flops_per_completion == pytest.approx(theirs.flops_per_completion, rel=1e-3), ours.phase


def test_adapters_replace_gradients_and_optimizer_state_and_the_references_weights() -> None:
    work = CASES["nano"][1]
    (plain,), (adapted,) = (predict(NANO, ["ppo-critic"], work.having(lora_rank=rank)) for rank in (None, 4))
    # of each of 2 layers: 4 projections 64 -> 64, gate and up 64 -> 192, down 192 -> 64; 4 ranks in float32
    adapters_bytes = 4 * 4 * 2 * (4 * (64 + 64) + 3 * (64 + 192))
    buffers_bytes = 4 * 2 * 8  # rotary frequencies, as made and as they are
    for role, own in (("policy", 0), ("value", 65 * 4)):  # a head on 64 units
        assert own_bytes(adapted, TOTAL, f"{role}.grads") == adapters_bytes + own
    assert own_bytes(adapted, TOTAL, "reference.params") == adapters_bytes + buffers_bytes
    assert own_bytes(adapted, TOTAL, "value.params") == adapters_bytes + buffers_bytes + 65 * 4
    difference = own_bytes(adapted, TOTAL, "policy.params") - own_bytes(plain, TOTAL, "policy.params")
    assert difference == adapters_bytes
    moments = own_bytes(adapted, TOTAL, "optimizer.policy")
    assert 2 * adapters_bytes <= moments <= 2 * adapters_bytes + 4 * 2 * 2 * 7  # a step count for each of 28 matrices


def test_a_seven_billion_model_with_adapters_takes_seconds() -> None:
    work = Work.of(
        completions=32, prompt_tokens=64, new_tokens=64, micro_batch_tokens=512, mini_batches=1, lora_rank=16
    )
    start_s = time.process_time()
    (predicted,) = predict(shape("qwen2.5-7b"), ["grpo"], work)
    assert time.process_time() - start_s < 30
    hidden, wide, keys, layers = 3584, 18_944, 512, 28
    sides = 2 * (hidden + hidden) + 2 * (hidden + keys) + 3 * (hidden + wide)
    assert own_bytes(predicted, TOTAL, "policy.grads") == 4 * 16 * layers * sides
    parameters = 7_615_616_512
    expected = 2 * parameters + 4 * 16 * layers * sides
    assert own_bytes(predicted, TOTAL, "policy.params") == pytest.approx(expected, rel=1e-6)


def test_a_work_says_both_to_the_trainer() -> None:
    assert Work.of().train.lora_rank is None
    assert not Work.of().train.gradient_checkpointing
    train = Work.of(lora_rank=3, gradient_checkpointing=True).train
    assert (train.lora_rank, train.gradient_checkpointing) == (3, True)
    assert Work.of(lora_rank=3, gradient_checkpointing=True).shortened().train.lora_rank == 3
    assert (TrainConfig().lora_rank, TrainConfig().gradient_checkpointing) == (None, False)


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    made = {"model_type": "gpt2", "n_embd": 32, "n_layer": 4, "n_head": 2, "vocab_size": 1000, "n_positions": 64}
    (tmp_path / "config.json").write_text(json.dumps(made | {"bos_token_id": 1, "eos_token_id": 1}))
    sizes = ["--completions", "16", "--prompt-tokens", "16", "--new-tokens", "8"]
    return ["predict", "--model", str(tmp_path / "config.json"), "--arm", "grpo", "--dtype", "float32", *sizes]


def test_the_command_takes_both(small: list[str]) -> None:
    done = call(*small, "--lora", "2", "--gradient-checkpointing")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {"peak of an update", "peak in backward"} <= {
        " ".join(line.split()[:-1]) for line in done.stdout.splitlines()
    }


def test_a_rank_below_one_is_one_line(small: list[str]) -> None:
    says = "--lora {}: should be the rank of the adapters, 1 or more; leave it out to train everything"
    assert mistake(*small, "--lora", "0") == "error: " + says.format(0)
    with pytest.raises(UserError, match=says.format(-1)):
        work_of(16, 16, 8, "float32", lora_rank=-1)

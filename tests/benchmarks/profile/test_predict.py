"""The prediction: against the tracker on what fits here, and its closed numbers by hand."""

from __future__ import annotations

import functools
import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from ppo_vs_grpo.benchmarks.profile.flops import ON_CPU, measure_costs
from ppo_vs_grpo.benchmarks.profile.memory import TOTAL
from ppo_vs_grpo.benchmarks.profile.predict import Prediction, predict, predict_run
from ppo_vs_grpo.benchmarks.profile.shapes import shape, shapes
from ppo_vs_grpo.benchmarks.profile.work import Work
from ppo_vs_grpo.tasks.errors import UserError
from predicted import ARMS, CASES, NANO, assert_near, own_bytes, real, total_bytes


@functools.cache
def prediction(case: str, arm: str) -> Prediction:
    return predict(CASES[case][0], [arm], CASES[case][1])[0]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("arm", ARMS)
def test_a_prediction_is_what_the_tracker_measures(case: str, arm: str) -> None:
    config, work = CASES[case]
    assert_near(prediction(case, arm), measure_costs(real(config, arm, work)).peaks)


@pytest.mark.parametrize("arm", ["evpo", "sao"])
def test_an_arm_that_does_more_than_ppo_is_predicted_too(arm: str) -> None:
    config, work = CASES["nano"]
    assert_near(prediction("nano", arm), measure_costs(real(config, arm, work)).peaks)


@pytest.mark.parametrize("case", ["nano", "waiting"])
def test_a_trainers_update_is_predicted_from_its_own_settings(case: str) -> None:
    assert predict_run(real(CASES[case][0], "ppo", CASES[case][1])) == prediction(case, "ppo").peaks


@pytest.mark.parametrize("arm", ARMS)
def test_predicted_operations_are_the_measured_ones_and_those_of_torchs_counter(arm: str) -> None:
    config, work = CASES["nano"]
    predicted = prediction("nano", arm)
    counted = measure_costs(real(config, arm, work)).flops
    assert [row.phase for row in predicted.flops] == [row.phase for row in counted]
    for ours, theirs in zip(predicted.flops, counted, strict=True):
        assert ours.flops_per_completion == pytest.approx(theirs.flops_per_completion, rel=1e-3), ours.phase
        assert ours.critic_flops_per_completion == pytest.approx(theirs.critic_flops_per_completion, rel=1e-3)
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        next(real(config, arm, work).updates(1))
    assert predicted.flops_per_update == pytest.approx(counter.get_total_flops(), rel=1e-3)


def test_the_critics_operations_are_what_it_adds_to_grpo() -> None:
    critic, none = ({row.phase: row for row in prediction("nano", arm).flops} for arm in ("ppo-critic", "grpo"))
    for phase in ("forward", "backward"):
        added = critic[phase].flops_per_completion - none[phase].flops_per_completion
        assert critic[phase].critic_flops_per_completion == pytest.approx(added, rel=1e-3)
        assert none[phase].critic_flops_per_completion == 0
    assert critic["value"].critic_flops_per_completion == critic["value"].flops_per_completion > 0


@pytest.mark.parametrize(
    "more",
    [
        {"prompts_per_update": 16, "mini_batches": 1},
        {
            "prompts_per_update": 16,
            "group_size": 8,
            "micro_batch_tokens": 400,
        },  # prompts are mixed at random: fewer would tell
    ],
)
def test_more_completions_than_a_prediction_needs_to_run_change_nothing_else(more: dict[str, int]) -> None:
    arm, (config, work) = "ppo-critic", CASES["nano"]
    work = work.having(**more)
    assert work.shortened() != work
    (predicted,) = predict(config, [arm], work)
    measured = measure_costs(real(config, arm, work)).peaks
    for phase in ("rollout", "reference", "forward", "backward", TOTAL):
        assert total_bytes(predicted.peaks, phase) == pytest.approx(total_bytes(measured, phase), rel=0.05), phase
    counted = sum(row.flops_per_completion for row in measure_costs(real(config, arm, work)).flops)
    assert predicted.flops_per_update == pytest.approx(work.completions * counted, rel=1e-3)


def test_checkpoints_trade_activations_for_operations() -> None:
    config, work = (
        type(NANO)(**{**NANO.to_dict(), "num_hidden_layers": 8}),
        CASES["nano"][1].having(prompts_per_update=2),
    )
    (plain,), (saving,) = (predict(config, ["grpo"], work.having(gradient_checkpointing=on)) for on in (False, True))
    kept = [own_bytes(p, "forward", "activations.policy") for p in (plain, saving)]
    assert kept[1] < 0.5 * kept[0]
    assert saving.total_peak_bytes < plain.total_peak_bytes
    flops = [{row.phase: row.flops_per_completion for row in p.flops} for p in (plain, saving)]
    assert flops[1]["forward"] == flops[0]["forward"]
    assert 1.3 < flops[1]["backward"] / flops[0]["backward"] < 1.5  # a third more: the layers' forward pass again
    assert own_bytes(plain, "rollout", "kv_cache") == own_bytes(saving, "rollout", "kv_cache")


def test_a_seven_billion_model_takes_seconds_and_no_memory() -> None:
    work = Work.of(completions=32, prompt_tokens=64, new_tokens=64, micro_batch_tokens=512, mini_batches=1)
    start_s = time.process_time()
    (predicted,) = predict(shape("llama-3.1-8b"), ["grpo"], work)
    assert time.process_time() - start_s < 30
    parameters = 8_030_261_248
    assert own_bytes(predicted, TOTAL, "policy.params") == pytest.approx(2 * parameters, rel=1e-6)
    assert own_bytes(predicted, TOTAL, "optimizer.policy") == pytest.approx(4 * parameters, rel=1e-5)
    cell_bytes = 32 * 2 * 8 * 128 * 2  # layers, keys and values, heads, their size, bytes
    assert own_bytes(predicted, "rollout", "kv_cache") == pytest.approx(32 * 128 * cell_bytes, rel=0.05)
    assert predicted.fits == {24: False, 48: False, 80: predicted.total_peak_bytes <= 80e9, 141: True}


PARAMETERS = {
    "qwen2.5-0.5b": 494_032_768, "qwen2.5-1.5b": 1_543_714_304, "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512, "qwen2.5-14b": 14_770_033_664, "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648, "llama-3.2-1b": 1_235_814_400, "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248, "llama-3.1-70b": 70_553_706_496, "llama-2-7b": 6_738_415_616,
    "mistral-7b": 7_248_023_552, "qwen3-0.6b": 596_049_920, "qwen3-4b": 4_022_468_096, "qwen3-8b": 8_190_735_360,
    "qwen3-32b": 32_762_123_264,
}  # fmt: skip
"""Of the published models: a wrong field in shapes.yaml does not give the same number."""


def test_the_known_shapes_have_the_published_sizes() -> None:
    assert shapes().keys() == PARAMETERS.keys()
    for name in shapes():
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(shape(name))
        assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name], name


def test_an_unknown_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown 'qwen2.5-7'.*qwen2.5-7b"):
        shape("qwen2.5-7")

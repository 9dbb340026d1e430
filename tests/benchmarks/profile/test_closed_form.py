"""The closed form: by hand, and against the prediction that runs the update's own code."""

from __future__ import annotations

import functools

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, PretrainedConfig, Qwen2Config, Qwen3Config

from ppo_vs_grpo.algorithms.shared.networks import likelihood
from ppo_vs_grpo.benchmarks.profile.closed_form import ClosedForm, closed_form
from ppo_vs_grpo.benchmarks.profile.decoder import shape_of
from ppo_vs_grpo.benchmarks.profile.memory import TOTAL
from ppo_vs_grpo.benchmarks.profile.predict import Prediction, predict
from ppo_vs_grpo.benchmarks.profile.shapes import shape
from ppo_vs_grpo.benchmarks.profile.table import SMALLER, closed_form_rows, predicted_rows, smaller_rows
from ppo_vs_grpo.benchmarks.profile.work import Work

ARMS = ("ppo", "ppo-critic", "grpo")
DEEP = LlamaConfig(
    vocab_size=99, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=384, attention_bias=True, mlp_bias=True,
)  # fmt: skip
WIDE = Qwen2Config(
    vocab_size=4000, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1,
    intermediate_size=192, tie_word_embeddings=True,
)  # fmt: skip
NORMED = Qwen3Config(
    vocab_size=500, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=160, head_dim=32, tie_word_embeddings=False,
)  # fmt: skip
PLAIN: dict[str, tuple[PretrainedConfig, Work]] = {
    "deep": (DEEP, Work.of(10, 20, 8, 5, mini_batches=1, micro_batch_tokens=140, dtype=torch.float32)),
    "one micro-batch": (DEEP, Work.of(16, 20, 8, 8, mini_batches=2, micro_batch_tokens=9999)),
    "wide": (WIDE, Work.of(24, 6, 20, 8, mini_batches=1, micro_batch_tokens=104)),
    "waiting": (WIDE, Work.of(24, 6, 20, 8, mini_batches=1, micro_batch_tokens=104, rollout_rows=8)),
    "normed": (NORMED, Work.of(10, 20, 8, 5, mini_batches=1, micro_batch_tokens=140, beta=0.0)),
}
SAVING = {
    "checkpoints": (DEEP, PLAIN["deep"][1].having(gradient_checkpointing=True)),
    "adapters": (DEEP, PLAIN["one micro-batch"][1].having(lora_rank=4)),
    "adapters in float32": (NORMED, PLAIN["deep"][1].having(lora_rank=4)),
    "both": (WIDE, PLAIN["wide"][1].having(gradient_checkpointing=True, lora_rank=4)),
}


@functools.cache
def both(case: str, arm: str) -> tuple[ClosedForm, Prediction]:
    config, work = (PLAIN | SAVING)[case]
    (run,) = predict(config, [arm], work)
    form = closed_form(config, arm, work)
    assert form is not None
    return form, run


def check(form: ClosedForm, run: Prediction, activations_rel: float) -> None:
    """Exact where bytes are parameters or the cache, near where moments are estimated."""
    own_bytes = {row.role: row.own_peak_bytes for row in run.peaks if row.phase == TOTAL}
    assert own_bytes.keys() - form.role_bytes.keys() == {"temporary"}
    for role, held_bytes in form.role_bytes.items():
        if role.startswith("activations"):
            assert held_bytes == pytest.approx(own_bytes[role], rel=activations_rel), role
        elif role != "batch":
            assert held_bytes == own_bytes[role], role
    assert form.total_peak_bytes == pytest.approx(run.total_peak_bytes, rel=0.05)
    for phase, peak_bytes in form.phase_peak_bytes.items():
        of_phase = sum(row.bytes_at_total_peak for row in run.peaks if row.phase == phase)
        assert peak_bytes == pytest.approx(of_phase, rel=0.1), phase
    assert form.flops_per_update == pytest.approx(run.flops_per_update, rel=0.02)


@pytest.mark.parametrize("case", PLAIN)
@pytest.mark.parametrize("arm", ARMS)
def test_plain_training_is_counted_to_a_thousandth(case: str, arm: str) -> None:
    form, run = both(case, arm)
    check(form, run, 0.003)
    counted = {row.phase: row.flops_per_completion * run.completions for row in run.flops}
    assert form.phase_flops.keys() == counted.keys()
    for phase, flops in counted.items():
        assert form.phase_flops[phase] == pytest.approx(flops, rel=1e-3), phase


@pytest.mark.parametrize("case", SAVING)
def test_checkpoints_and_adapters_are_near_the_prediction(case: str) -> None:
    form, run = both(case, "ppo-critic")
    check(form, run, 0.03 if "adapters" in case else 0.15)  # what a second pass of a layer has at once is estimated


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("case", ["wide", "normed", "adapters in float32", "both"])
def test_chunks_of_a_large_vocabulary(case: str, arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vocabularies are large where only twelve tokens' logits are made at once."""
    config, work = (PLAIN | SAVING)[case]
    monkeypatch.setattr(likelihood, "LOGITS_AT_ONCE", 12 * config.vocab_size + 1)
    (run,), form = predict(config, [arm], work), closed_form(config, arm, work)
    assert form is not None
    check(form, run, 0.03 if case in PLAIN else 0.15)  # a chunk finds the value head done with its own input
    counted = {row.phase: row.flops_per_completion * run.completions for row in run.flops}
    for phase, flops in counted.items():
        assert form.phase_flops[phase] == pytest.approx(flops, rel=1e-3 if case in PLAIN else 0.1), phase


def test_a_model_of_half_a_billion() -> None:
    config, work = shape("qwen2.5-0.5b"), Work.of(16, 64, 64, micro_batch_tokens=1024, mini_batches=1)
    (run,), form = predict(config, ["ppo-critic"], work), closed_form(config, "ppo-critic", work)
    assert form is not None
    check(form, run, 0.003)
    assert form.total_peak_bytes == pytest.approx(run.total_peak_bytes, rel=0.01)


def test_by_hand() -> None:
    """Two layers, h 8, H 2, K 1, e 4, i 16, V 10; 4 completions of 3 + 2 tokens, one micro-batch, float32."""
    config = LlamaConfig(
        vocab_size=10, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=16, tie_word_embeddings=True,
    )  # fmt: skip
    work = Work.of(4, 3, 2, 2, mini_batches=1, micro_batch_tokens=20, dtype=torch.float32, beta=0.0)
    form = closed_form(config, "grpo", work)
    assert form is not None
    layer = 8 * 8 + 8 * 4 + 8 * 4 + 8 * 8 + 3 * 8 * 16
    parameters = 2 * (layer + 2 * 8) + 10 * 8 + 8
    assert form.role_bytes["policy.grads"] == 4 * parameters == 5088
    assert form.role_bytes["policy.params"] == 5088 + 2 * 2 * 4  # and two halves of e frequencies
    assert form.role_bytes["optimizer.policy"] == 2 * 5088 + 4 * (2 * 9 + 2)
    assert form.role_bytes["kv_cache"] == (4 * 2 * 2 + 2) * 5 * 4 * 4  # keys, values, layers; a buffer of 2 prompts
    norm = 4 * 8 + 4 + 4 * 8
    tokens, rows, reads = 2 * 3 + 4 * 2, 4 * 5, 4 * 2  # prompts once; as attention sees them; completion tokens
    kept = tokens * (2 * norm + 2 * 32 + 32 + 4 * 64) + rows * (2 * 32 + 2 * 16 + 4 * 2)
    assert form.role_bytes["activations.policy"] == 2 * kept + tokens * (norm + 2 * 4 * 4) + reads * (40 + 32 + 64)
    scores = 4 * 2 * 8  # a pair of tokens in both layers
    decoded = 2 * 2 * layer + 2 * 80 + 4 * scores
    prompt = 3 * 2 * 2 * layer + 9 * scores + 2 * 80
    assert form.phase_flops["rollout"] == 2 * prompt + 4 * decoded
    assert form.phase_flops["forward"] == tokens * 2 * 2 * layer + 4 * 25 * scores + reads * 2 * 80
    assert form.phase_flops["backward"] == 2 * tokens * 2 * 2 * layer + 2.5 * 4 * 25 * scores + reads * 4 * 80


def test_known_sizes() -> None:
    for name, parameters in {"llama-3.1-8b": 8_030_261_248, "qwen2.5-7b": 7_615_616_512}.items():
        form = closed_form(shape(name), "grpo", Work.of())
        assert form is not None
        assert form.role_bytes["policy.grads"] == 2 * parameters


def test_what_is_not_known_gets_no_number() -> None:
    gpt2 = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=99)
    sliding = Qwen2Config(**{**WIDE.to_dict(), "use_sliding_window": True})
    assert shape_of(gpt2) is None
    assert shape_of(sliding) is None
    assert closed_form(WIDE, "vine-ppo", Work.of()) is None
    assert closed_form(WIDE, "sao", Work.of()) is None
    assert closed_form(WIDE, "grpo-source", Work.of()) is None
    assert closed_form(WIDE, "dapo", Work.of()) is not None
    assert closed_form(WIDE, "grpo", Work.of().having(dtype="bfloat16")) is None


def test_rows_say_what_each_arm_holds_and_a_dash_where_that_is_not_known() -> None:
    gpt2 = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=99)
    for name, *cells in closed_form_rows(gpt2, ["ppo", "grpo"], Work.of()):
        assert cells == ["-", "-"], name
    rows = {name: cells for name, *cells in closed_form_rows(shape("llama-3.1-8b"), ["grpo", "vine-ppo"], Work.of())}
    held = 5 * 2 * 8_030_261_248 / 1e9  # parameters, gradients, two moments, reference
    assert rows["  parameters, gradients, optimizer"] == [f"{held:.2f}", "-"]
    cells = 2 * 32 * 8 * 128 * 2 * 128 * 512  # and one buffer of 16 prompts
    assert rows["  key/value cache"] == [f"{cells * (1 + 16 / 128 / 64) / 1e9:.2f}", "-"]
    assert float(rows["closed form: peak of an update"][0]) > held


def test_the_command_prints_them_below_the_prediction() -> None:
    config, work = PLAIN["deep"]
    printed = predicted_rows(config, ["grpo"], work)
    assert printed[-5:] == closed_form_rows(config, ["grpo"], work)  # it fits every card: nothing smaller is needed
    by_name = {name: cells for name, *cells in printed}
    assert by_name["closed form: 10^12 operations"] == by_name["10^12 operations an update"]


def test_an_update_that_fits_no_small_card_is_told_what_would_fit() -> None:
    config = shape("llama-3.1-8b")
    rows = {name: cells[0] for name, *cells in smaller_rows(config, ["grpo"], Work.of())}
    for name, change in SMALLER.items():
        form = closed_form(config, "grpo", Work.of().having(**change))
        assert form is not None
        peak_bytes = form.total_peak_bytes
        assert float(rows[name].split()[0].replace(",", "")) == pytest.approx(peak_bytes / 1e9, abs=0.01)
    assert rows["all three"].endswith("(48)")
    assert rows["LoRA of rank 16"].endswith("(141)")
    gpt2 = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=99)  # no closed form: predicted
    small = Work.of(completions=16, prompt_tokens=4, new_tokens=4, micro_batch_tokens=64)
    assert {cells[0] for _, *cells in smaller_rows(gpt2, ["grpo"], small)[1:]} == {"0.00 (24)"}
    assert "all three" not in {row[0] for row in predicted_rows(gpt2, ["grpo"], small)}

"""The rollout engine against one plain forward pass per row."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from copying import END, PAD, gpt2, llama, prompts, uniforms, whole_logp
from odd_models import alibi, sliding
from ppo_vs_grpo.algorithms.shared.rollout import engine as rollout
from ppo_vs_grpo.algorithms.shared.rollout.cache import PreallocatedLayer, rollout_cache
from ppo_vs_grpo.algorithms.shared.rollout.decoding import GrowingDecoder, Lot, PlacesDecoder, Room, decoder
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.types import Rollouts

PROMPTS = prompts((3, 4, 5), (6, 7), (8,), (3, 4, 5))


def generate(model: PreTrainedModel, temperature: float = 0.7, end: int = END, pad: int = PAD) -> Rollouts:
    return HuggingFaceEngine(model, pad, (end,), 10, temperature).generate(PROMPTS, 8, uniforms(10, 32))


def completion(rollouts: Rollouts, row: int) -> list[int]:
    tokens = int(rollouts.mask_BT[row].sum())
    return rollouts.completion_BT[row, :tokens].tolist()


@pytest.mark.parametrize("make", [llama, gpt2, sliding, alibi])
def test_the_sampler_reports_the_models_own_log_probability(make) -> None:
    """With left padding, shared prefill, dropped rows and for learned positions and sliding windows too."""
    model = make()
    rollouts = generate(model)
    assert rollouts.mask_BT.sum(1).unique().numel() > 3
    for row in range(32):
        prompt = PROMPTS.ids[int(rollouts.group_B[row])]
        expected = whole_logp(model, prompt, completion(rollouts, row), 0.7)
        torch.testing.assert_close(rollouts.logp_BT[row, : len(expected)], torch.tensor(expected), atol=1e-5, rtol=0)


def test_the_mask_ends_with_the_first_end_token_or_at_the_limit() -> None:
    rollouts = generate(llama())
    for row in range(32):
        tokens = completion(rollouts, row)
        assert tokens.count(END) == (1 if rollouts.ended_B[row] else 0)
        assert tokens[-1] == END if rollouts.ended_B[row] else len(tokens) == 10
        assert not rollouts.logp_BT[row, len(tokens) :].any()
        assert (rollouts.completion_BT[row, len(tokens) :] == PAD).all()
    assert 0 < int(rollouts.ended_B.sum()) < 32


@pytest.mark.parametrize("places", [None, 3])
def test_a_limit_of_a_call_is_that_of_an_engine(places: int | None) -> None:
    long, short = (HuggingFaceEngine(llama(), PAD, (END,), tokens, 0.7, rows_at_once=places) for tokens in (10, 4))
    ours, theirs = long.generate(PROMPTS, 8, uniforms(10, 32), 4), short.generate(PROMPTS, 8, uniforms(10, 32))
    assert ours.max_tokens == theirs.max_tokens == ours.mask_BT.sum(1).max() == 4
    for name in ("completion_BT", "mask_BT", "logp_BT", "ended_B"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


def test_pad_may_be_the_end_token() -> None:
    rollouts, same = generate(llama(), pad=END), generate(llama())
    assert torch.equal(rollouts.mask_BT, same.mask_BT)
    assert torch.equal(rollouts.ended_B, same.ended_B)


def test_dropping_finished_rows_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = generate(llama())
    monkeypatch.setattr(rollout, "COMPACT_BELOW", -1.0)
    kept = generate(llama())
    assert torch.equal(dropped.completion_BT, kept.completion_BT)
    torch.testing.assert_close(dropped.logp_BT, kept.logp_BT, atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", [llama, gpt2, alibi, sliding])
def test_fixed_shapes_change_nothing(make) -> None:
    """What an accelerator runs, with the compiler switched off; the second rollout finds the room of the first."""
    model = make()
    engines = [HuggingFaceEngine(model, PAD, (END,), 10, 0.7, static=static) for static in (False, True)]
    for seed, prompted in enumerate((PROMPTS, prompts((5, 6, 7), (4,), (9, 8), (9,)), prompts((3, 4), (4, 5)))):
        rows = 8 * len(prompted.ids)
        growing, fixed = (engine.generate(prompted, 8, uniforms(10, rows, seed)) for engine in engines)
        assert torch.equal(growing.completion_BT, fixed.completion_BT)
        assert torch.equal(growing.mask_BT, fixed.mask_BT)
        torch.testing.assert_close(growing.logp_BT, fixed.logp_BT, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("static", "places", "kind"),
    [
        (None, 4, GrowingDecoder),
        (False, 4, GrowingDecoder),
        (True, 4, PlacesDecoder),
        (None, 3, PlacesDecoder),
        (True, 3, PlacesDecoder),
    ],
)
def test_a_cpu_has_shapes_that_follow_the_work_unless_asked(static: bool | None, places: int, kind: type) -> None:
    group_B = torch.zeros(4, dtype=torch.long)
    lot = Lot(PROMPTS, group_B, PAD, 10)
    assert type(decoder(llama(), lot, places, static, Room())) is kind
    assert type(decoder(sliding(), lot, places, static, Room())) is GrowingDecoder


def test_a_row_depends_on_its_own_random_numbers_only() -> None:
    engine = HuggingFaceEngine(llama(), PAD, (END,), 10, 1.0)
    both = engine.generate(prompts((3, 4), (6, 7, 8)), 4, uniforms(10, 8))
    alone = engine.generate(prompts((6, 7, 8)), 4, uniforms(10, 8)[:, 4:])
    for row in range(4):
        assert completion(both, 4 + row) == completion(alone, row)


def test_sampling_follows_the_distribution() -> None:
    model = llama()
    many = HuggingFaceEngine(model, PAD, (END,), 1, 1.0).generate(prompts((3, 4)), 20_000, uniforms(1, 20_000))
    share_V = torch.bincount(many.completion_BT[:, 0], minlength=16) / 20_000
    expected_V = torch.tensor([whole_logp(model, (3, 4), [token], 1.0)[0] for token in range(16)]).exp()
    error_V = (expected_V * (1 - expected_V) / 20_000).sqrt()
    assert ((share_V - expected_V).abs() < 4 * error_V + 1e-6).all()


def test_greedy_takes_the_likeliest_token() -> None:
    model = llama()
    greedy = HuggingFaceEngine(model, PAD, (END,), 3, 1.0).generate(prompts((3, 4)), 1, None)
    scores = [whole_logp(model, (3, 4), [token], 1.0)[0] for token in range(16)]
    assert int(greedy.completion_BT[0, 0]) == scores.index(max(scores))


def test_only_plain_attention_layers_are_preallocated() -> None:
    assert all(isinstance(layer, PreallocatedLayer) for layer in rollout_cache(llama().config, 8).layers)
    assert not any(isinstance(layer, PreallocatedLayer) for layer in rollout_cache(sliding().config, 8).layers)

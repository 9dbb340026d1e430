"""The sampler: which tokens it may draw, what it says of them, and when it stops."""

from __future__ import annotations

import pytest
import torch

from copying import END, PAD, llama, prompts, uniforms
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine, Truncation, sample_tokens

PROBS = torch.tensor([[0.4, 0.3, 0.2, 0.1]])


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        (Truncation(), [0.4, 0.3, 0.2, 0.1]),
        (Truncation(top_p=0.69), [4 / 7, 3 / 7, 0, 0]),
        (Truncation(top_p=0.71), [4 / 9, 3 / 9, 2 / 9, 0]),
        (Truncation(top_p=0.01), [1, 0, 0, 0]),
        (Truncation(top_k=2), [4 / 7, 3 / 7, 0, 0]),
        (Truncation(min_p=0.49), [4 / 9, 3 / 9, 2 / 9, 0]),
        (Truncation(top_k=3, min_p=0.6), [4 / 7, 3 / 7, 0, 0]),
    ],
)
def test_truncation_keeps_the_likeliest_and_scales_them_up(truncation: Truncation, kept: list[float]) -> None:
    order = torch.tensor([2, 0, 3, 1])
    made = truncation(PROBS[:, order].log()).exp()
    torch.testing.assert_close(made, torch.tensor([kept]).float()[:, order])


def test_a_token_past_exactly_top_p_is_left_out() -> None:
    made = Truncation(top_p=0.5)(torch.tensor([[0.5, 0.25, 0.25]]).log()).exp()
    assert made.tolist() == [[1.0, 0.0, 0.0]]


def test_the_ends_of_the_random_numbers_draw_a_token_that_can_be_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(2, -1)
    token_b, logp_b, _ = sample_tokens(logits, torch.tensor([0.0, 0.5]), 1.0, Truncation())
    assert token_b.tolist() == [1, 2]
    torch.testing.assert_close(logp_b, torch.full((2,), 0.5).log())
    assert sample_tokens(torch.zeros(1, 4), torch.tensor([1.0]), 1.0, Truncation())[0].tolist() == [3]


def test_every_row_goes_on_to_its_end_or_the_limit_and_no_pass_is_made_after_the_last() -> None:
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    model = llama()
    with torch.no_grad():
        model.lm_head.weight[END] += 0.3  # so that rows end early and few are left
    model.register_forward_pre_hook(count)
    for seed in range(12):
        passes = 0
        made = HuggingFaceEngine(model, PAD, (END,), 30, 1.0).generate(prompts((3, 4), (5,)), 2, uniforms(30, 4, seed))
        lengths = made.mask_BT.sum(1)
        assert bool((made.ended_B | (lengths == 30)).all())
        assert passes == int(lengths.max())


def test_a_truncated_sampler_reports_both_log_probabilities() -> None:
    engine = HuggingFaceEngine(llama(), PAD, (END,), 6, 1.0, Truncation(top_k=2))
    plain = HuggingFaceEngine(llama(), PAD, (END,), 6, 1.0)
    made = engine.generate(prompts((3, 4, 5), (6, 7)), 4, uniforms(6, 8))
    gap = (made.sampler_logp_BT - made.logp_BT)[made.mask_BT]
    assert float(gap.min()) > 0
    whole = plain.generate(prompts((3, 4, 5), (6, 7)), 4, uniforms(6, 8))
    assert torch.equal(whole.sampler_logp_BT, whole.logp_BT)

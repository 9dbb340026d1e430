"""A completion ends with any of the tokens that a model ends with."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2LMHeadModel

from copying import PAD, gpt2, prompts, uniforms
from ppo_vs_grpo.algorithms.shared.rollout.ends import end_tokens
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.tasks.errors import UserError


def always_says(token: int) -> GPT2LMHeadModel:
    """A GPT-2 shape of 16 tokens whose next token is always the same."""
    model = gpt2()
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    model.transformer.ln_f.weight.data.zero_()
    model.transformer.ln_f.bias.data.fill_(1.0)
    model.lm_head.weight.data[token] = 10.0
    return model


def ends(ours: int | None, generation: object, config: object) -> tuple[int, ...]:
    characters, model = tokenizer(), gpt2()
    characters.eos_token = None if ours is None else characters.convert_ids_to_tokens(ours)
    model.generation_config.eos_token_id, model.config.eos_token_id = generation, config
    return end_tokens(model, characters)


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ((2, None, None), (2,)),
        ((2, [2, 4], 2), (2, 4)),
        ((3, 4, [5, 3]), (3, 4, 5)),
        ((None, None, 6), (6,)),
        ((2, 50256, 16), (2,)),  # a config that was never set; 16 is one beyond the last
    ],
)
def test_the_end_tokens_are_those_of_tokenizer_generation_config_and_config(
    tokens: tuple[int | None, object, object], found: tuple[int, ...]
) -> None:
    assert ends(*tokens) == found


def test_without_an_end_token_all_three_places_are_named() -> None:
    with pytest.raises(UserError) as error:
        ends(None, None, 50256)
    for part in ("tokenizer.eos_token_id None", "generation_config.eos_token_id None", "config.eos_token_id 50256"):
        assert part in str(error.value)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("places", [None, 2])
def test_a_model_that_says_the_second_end_token_ends(static: bool, places: int | None) -> None:
    model = always_says(4)
    engine = HuggingFaceEngine(model, PAD, (2, 4), 6, 1.0, rows_at_once=places, static=static)
    rollouts = engine.generate(prompts((3, 5), (6,)), 2, uniforms(6, 4))
    assert rollouts.completion_BT.tolist() == [[4]] * 4
    assert rollouts.ended_B.all()
    only = HuggingFaceEngine(model, PAD, (2,), 6, 1.0, rows_at_once=places, static=static)
    endless = only.generate(prompts((3, 5), (6,)), 2, uniforms(6, 4))
    assert endless.completion_BT.tolist() == [[4] * 6] * 4
    assert not endless.ended_B.any()

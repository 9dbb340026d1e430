"""Rows that wait for a place: the completions are those of all rows at once, and no place stays empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from copying import END, PAD, Copying, gpt2, llama, prompts, uniforms
from odd_models import alibi, sliding
from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.rollout.engine import COMPACT_BELOW, HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import Rollouts
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer

PROMPTS = prompts((3, 4, 5), (6, 7), (8,), (3, 4, 5))
EQUAL = prompts((3, 4, 5), (6, 7, 8), (8, 2, 9), (3, 4, 5))
LIMIT = 10


def generate(model: PreTrainedModel, at_once: int | None, asked=PROMPTS, limit=LIMIT, end=END, **options) -> Rollouts:
    engine = HuggingFaceEngine(model, PAD, (end,), limit, 0.7, rows_at_once=at_once, **options)
    return engine.generate(asked, 8, uniforms(limit, 8 * len(asked.ids)))


def assert_same(one: Rollouts, other: Rollouts) -> None:
    for name in ("completion_BT", "mask_BT", "ended_B", "group_B"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in ("logp_BT", "sampler_logp_BT"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-5, rtol=0)


@contextmanager
def passes(model: PreTrainedModel) -> Iterator[list[tuple[int, int, Any, int]]]:
    """Rows, tokens and cache of each forward pass, and how many columns it attends to."""
    seen: list[tuple[int, int, Any, int]] = []

    def see(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        (rows, tokens), mask = kwargs["input_ids"].shape, kwargs["attention_mask"]
        seen.append((rows, tokens, kwargs["past_key_values"], 0 if mask is None else mask.shape[1]))

    hook = model.register_forward_pre_hook(see, with_kwargs=True)
    yield seen
    hook.remove()


@pytest.mark.parametrize("asked", [PROMPTS, EQUAL], ids=["ragged prompts", "equal prompts"])
@pytest.mark.parametrize("at_once", [1, 3, 8, 31, 32, 99])
@pytest.mark.parametrize("make", [llama, gpt2, alibi, sliding])
def test_waiting_changes_no_completion(make, at_once: int, asked) -> None:
    model = make()
    whole = generate(model, None, asked)
    assert whole.mask_BT.sum(1).unique().numel() > 3
    assert_same(generate(model, at_once, asked), whole)
    if make is not sliding:
        assert_same(generate(model, at_once, asked, static=True), whole)


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("at_once", [3, 5])
def test_the_shortest_completions(limit: int, at_once: int) -> None:
    model = llama()
    assert_same(generate(model, at_once, limit=limit), generate(model, None, limit=limit))


@pytest.mark.parametrize("at_once", [5, 7])
def test_completions_that_never_end(at_once: int) -> None:
    """All rows that start together finish together; the last ones to start leave places empty."""
    model = llama()
    assert_same(generate(model, at_once, end=-1), generate(model, None, end=-1))


def test_greedy_completions_wait_too() -> None:
    model = llama()
    waits, whole = (HuggingFaceEngine(model, PAD, (END,), LIMIT, 1.0, rows_at_once=n) for n in (3, None))
    assert_same(waits.generate(PROMPTS, 2, None), whole.generate(PROMPTS, 2, None))


def scheduled(lengths: list[int], places: int) -> tuple[int, int]:
    """Steps, and rows of all steps, if each place takes the next row as soon as its own has ended, and rows then leave.

    The first token of a row comes from its prompt, and costs no step.
    """
    waiting, left = lengths[places:], lengths[:places]
    steps = rows = 0
    while True:
        left = [tokens - 1 for tokens in left]
        going = sum(tokens > 0 for tokens in left)
        if not going and not waiting:
            return steps, rows
        if not waiting and going <= COMPACT_BELOW * len(left):
            left = [tokens for tokens in left if tokens > 0]
        if going:
            steps, rows = steps + 1, rows + len(left)
        for place, tokens in enumerate(left):
            if tokens <= 0 and waiting:
                left[place] = waiting.pop(0)


@pytest.mark.parametrize("at_once", [1, 3, 8, 31])
def test_a_place_goes_to_the_next_row_at_once(at_once: int) -> None:
    """So steps are as few as a list schedule's, and in lots that wait for their longest row there would be more."""
    model = llama()
    lengths = generate(model, None).mask_BT.sum(1).tolist()
    with passes(model) as seen:
        generate(model, at_once)
    steps = [rows for rows, tokens, *_ in seen if tokens == 1]
    assert (len(steps), sum(steps)) == scheduled(lengths, at_once)
    assert max(steps) == at_once
    in_lots = sum(max(lengths[first : first + at_once]) - 1 for first in range(0, 32, at_once))
    assert len(steps) <= in_lots
    assert len(steps) < in_lots or at_once in (1, 31)


def test_the_cache_is_as_large_as_its_places() -> None:
    model = llama()
    with passes(model) as seen:
        generate(model, 8, end=-1)
    (_, prompt_tokens, read, _), *steps = seen
    assert prompt_tokens == 3
    assert {tuple(layer.keys.shape) for layer in read.layers} == {(3, 2, 3, 8)}  # distinct prompts, no more tokens
    assert {tuple(layer.keys.shape) for *_, cache, _ in steps for layer in cache.layers} == {(8, 2, 3 + LIMIT, 8)}


def test_attention_reads_no_further_than_the_longest_row() -> None:
    model = llama()
    with passes(model) as seen:
        generate(model, 8, end=-1)
    assert [columns for *_, columns in seen] == [3, *range(4, 3 + LIMIT)] + 3 * [*range(4, 3 + LIMIT)]
    with passes(model) as seen:
        generate(model, 8, end=-1, static=True)
    assert {columns for *_, columns in seen[1:]} == {3 + LIMIT}


def test_what_is_masked_is_never_read() -> None:
    """Room that nothing was written to may hold anything: here NaN."""
    model = llama()
    whole = generate(model, None)
    torch.use_deterministic_algorithms(True)  # and torch fills what it makes room for
    try:
        assert torch.empty(1).isnan()
        assert_same(generate(model, 5), whole)
    finally:
        torch.use_deterministic_algorithms(False)


def test_without_places_lots_follow_each_other() -> None:
    model = sliding()
    with passes(model) as seen:
        generate(model, 8)
    read = [tokens for _, tokens, *_ in seen if tokens > 1]
    assert len(read) == 3  # the third lot's prompt is one token
    assert max(rows for rows, *_ in seen) == 8


def test_the_room_of_fixed_shapes_is_kept_from_rollout_to_rollout() -> None:
    model = llama()
    engine = HuggingFaceEngine(model, PAD, (END,), LIMIT, 0.7, rows_at_once=5, static=True)
    with passes(model) as seen:
        for seed in (0, 1):
            engine.generate(PROMPTS, 8, uniforms(LIMIT, 32, seed))
        assert engine.generate(PROMPTS, 2, uniforms(LIMIT, 8, 2)).mask_BT.shape[0] == 8
    steps = [(rows, cache) for rows, tokens, cache, _ in seen if tokens == 1]
    assert {rows for rows, _ in steps} == {5}
    assert len({id(cache) for _, cache in steps}) == 1
    assert len({layer.keys.data_ptr() for _, cache in steps for layer in cache.layers}) == 2  # layers


def test_a_trainer_samples_so_many_rows_at_once() -> None:
    records = []
    for rows in (None, 3):
        train = TrainConfig(prompts_per_update=4, group_size=4, max_new_tokens=6, rollout_rows=rows)
        kind = find("grpo")
        trainer = Trainer(llama(vocab_size=99), tokenizer(), Copying(), kind(kind.Config(), train), train, seed=0)
        with passes(trainer.models.policy) as seen:
            rollouts = trainer.collector.sample(1)
        assert max(n for n, tokens, *_ in seen if tokens == 1) == (rows or 16)
        records.append(rollouts)
    assert_same(*records)

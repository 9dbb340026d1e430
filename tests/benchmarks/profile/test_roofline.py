"""The distance to the matrix products alone: what is measured, and that more work takes longer."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.profile import roofline
from ppo_vs_grpo.tasks.errors import UserError

TRAIN = roofline.TRAIN.model_copy(update={"prompts_per_update": 2, "group_size": 4})


def test_a_phase_takes_longer_than_its_products() -> None:
    rollout, update = roofline.distances("nano", TRAIN, new_tokens=4)
    assert [(found.size, found.phase) for found in (rollout, update)] == [("nano", "rollout"), ("nano", "update")]
    for found in (rollout, update):
        assert found.times == found.measured_s / found.limit_s > 1


def test_the_backward_pass_is_two_products_more_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    product = torch.mm

    def watched(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        shapes.append((tuple(a.shape), tuple(b.shape)))
        return product(a, b)

    monkeypatch.setattr(torch, "mm", watched)
    layers = [nn.Linear(3, 5), nn.Linear(5, 2)]
    assert roofline.products(layers, 7) > 0
    assert shapes == [((7, 3), (3, 5)), ((7, 5), (5, 2))]
    shapes.clear()
    roofline.products(layers[:1], 7, with_backward=True)
    assert shapes == [((7, 3), (3, 5)), ((7, 5), (5, 3)), ((5, 7), (7, 3))]


def test_the_limit_counts_every_pass_of_the_update_and_every_token_of_the_rollout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Products that take a second for each row and layer, three with the backward pass."""

    def products(layers: list[nn.Module], rows: int, with_backward: bool = False) -> float:
        return float(rows * len(layers) * (3 if with_backward else 1))

    monkeypatch.setattr(roofline, "products", products)
    rollout, update = roofline.distances("nano", TRAIN.model_copy(update={"micro_batch_tokens": 24}), new_tokens=4)
    trunk = 2 * 7  # of nano's two layers: four of attention, three of the feed-forward part
    assert rollout.limit_s == 2 * 16 * trunk + 4 * 8 * (trunk + 1)
    assert update.limit_s == 3 * (4 * (16 + 2 * 4) * trunk + 8 * 4)  # 24 tokens: a group's prompt, and half of its rows


def test_both_types_are_of_passes_in_them_and_the_first_update_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trainer that tells its seconds: ten times as many for the update, and half of them more in bfloat16."""
    told = (100.0, 1.0, 2.0, 3.0, 4.0, 50.0)

    class Told(Trainer):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            assert self.engine.dtype == getattr(torch, self.train.dtype)  # the type is that of the passes

        def updates(self, count: int, measure_memory: bool = False) -> Iterator[Any]:
            more = 1.0 if self.train.dtype == "float32" else 1.5
            for second in told[:count]:
                yield SimpleNamespace(metrics={"rollout_s": more * second, "update_s": 10 * more * second})

    alone = iter([(second / 4, second / 2) for second in told])
    monkeypatch.setattr(roofline, "Trainer", Told)
    monkeypatch.setattr(roofline, "limits", lambda *_: next(alone))
    found = roofline.distances("nano", TRAIN, new_tokens=4)
    assert [(phase.measured_s, phase.limit_s, phase.bfloat16_s) for phase in found] == [(3, 0.75, 4.5), (30, 1.5, 45)]
    monkeypatch.setattr(roofline, "distances", lambda size: found)
    rows = list(roofline.rows(["nano"]))
    assert rows[1] == (
        "nano rollout",
        "3000.0 ms, products alone 750.0 ms",
        "4.00 times",
        "in bfloat16 4500.0 ms, 1.50 of float32",
    )


def test_a_size_that_there_is_not_is_named() -> None:
    with pytest.raises(UserError, match="roofline: 'tinny': no embedded start model; did you mean 'tiny'"):
        list(roofline.rows(["tinny"]))

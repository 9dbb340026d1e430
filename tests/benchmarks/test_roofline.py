"""The distance to the matrix products alone: what is measured, and that more work takes longer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ppo_vs_grpo.benchmarks import roofline

TRAIN = roofline.TRAIN.model_copy(update={"prompts_per_update": 2, "group_size": 4})


def test_a_phase_takes_longer_than_its_products(capsys: pytest.CaptureFixture[str]) -> None:
    rollout, update = roofline.distances("nano", TRAIN, new_tokens=4)
    assert [(found.size, found.phase) for found in (rollout, update)] == [("nano", "rollout"), ("nano", "update")]
    for found in (rollout, update):
        assert found.times == found.measured_s / found.limit_s > 1


def test_the_backward_pass_is_two_products_more_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    types: set[torch.dtype] = set()
    product = torch.mm

    def watched(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        shapes.append((tuple(a.shape), tuple(b.shape)))
        types.update((a.dtype, b.dtype))
        return product(a, b)

    monkeypatch.setattr(torch, "mm", watched)
    layers = [nn.Linear(3, 5), nn.Linear(5, 2)]
    assert roofline.products(layers, 7, torch.float32) > 0
    assert shapes == [((7, 3), (3, 5)), ((7, 5), (5, 2))]
    assert types == {torch.float32}
    shapes.clear()
    types.clear()
    roofline.products(layers[:1], 7, torch.bfloat16, with_backward=True)
    assert shapes == [((7, 3), (3, 5)), ((7, 5), (5, 3)), ((5, 7), (7, 3))]
    assert types == {torch.bfloat16}


def test_the_limit_counts_every_pass_of_the_update_and_every_token_of_the_rollout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Products that take a second for each row and layer, three with the backward pass, twice that in bfloat16."""

    def products(layers: list[nn.Module], rows: int, dtype: torch.dtype, back: bool = False) -> float:
        return float(rows * len(layers) * (3 if back else 1) * (2 if dtype == torch.bfloat16 else 1))

    monkeypatch.setattr(roofline, "products", products)
    rollout, update = roofline.distances("nano", TRAIN.model_copy(update={"micro_batch_tokens": 24}), new_tokens=4)
    trunk = 2 * 7  # of nano's two layers: four of attention, three of the feed-forward part
    assert rollout.limit_s == 2 * 16 * trunk + 4 * 8 * (trunk + 1)
    assert update.limit_s == 3 * (4 * (16 + 2 * 4) * trunk + 8 * 4)  # 24 tokens: a group's prompt, and half of its rows
    assert (rollout.bfloat16_s, update.bfloat16_s) == (2 * rollout.limit_s, 2 * update.limit_s)

"""Fake tensors: what is remembered of an operation is what torch would say again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ppo_vs_grpo.benchmarks.profile.fake import Answers, Fake
from ppo_vs_grpo.benchmarks.profile.memory import Tracker

SAMPLED = 5
OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "a new tensor": lambda x_23: x_23 @ x_23.T,
    "another type": lambda x_23: x_23.to(torch.bfloat16),
    "a scalar's type": lambda x_23: (x_23 > 0) * 2,
    "a view": lambda x_23: x_23.t(),
    "a view further on": lambda x_23: x_23[1:, 1:],
    "in place": lambda x_23: x_23.add_(1),
    "two new": lambda x_23: x_23.max(dim=1),
    "two views": lambda x_23: x_23.split([1, 2], dim=1),
    "a list inside": lambda x_23: x_23.sum([0, 1]),
    "its own layout": lambda x_23: x_23.unsqueeze_(0),
    "chosen rows": lambda x_23: x_23[torch.tensor([True, False])],
}


def told(x: Tensor, returned: Any) -> list[tuple[Any, ...]]:
    """What can be known of tensors: their layout, and whether they are `x` or share its memory."""
    return [
        (y.dtype, y.shape, y.stride(), y.storage_offset(), str(y.device), y is x, y.untyped_storage()._cdata == x_data)
        for x_data in [x.untyped_storage()._cdata]
        for y in ([x, returned] if isinstance(returned, Tensor) else [x, *returned])
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_second_answer_is_that_of_real_tensors(name: str) -> None:
    real_23 = torch.ones(2, 3)
    expected = told(real_23, OPERATIONS[name](real_23))
    fake = Fake(allow_non_fake_inputs=True)
    with Answers(fake, SAMPLED):
        for _ in range(3):
            x_23 = fake.from_tensor(torch.ones(2, 3))
            returned = OPERATIONS[name](x_23)
            assert told(x_23, returned) == expected
            assert all(isinstance(y, FakeTensor) for y in ([returned] if isinstance(returned, Tensor) else returned))


def test_arguments_that_are_equal_and_not_the_same_are_different_questions() -> None:
    fake = Fake(allow_non_fake_inputs=True)
    with Answers(fake, SAMPLED):
        whole_3 = fake.from_tensor(torch.ones(3, dtype=torch.long))
        assert [(whole_3 * by).dtype for by in (1, 1.0, True, 1)] == [torch.int64, torch.float32, *[torch.int64] * 2]
        for shape in ((2, 3), (3, 2), (2, 3)):
            assert (fake.from_tensor(torch.ones(shape)) + 1).shape == shape
        flat = fake.from_tensor(torch.ones(2, 3))
        for x in (flat, flat.t(), flat[:, 1:], flat[:, :2], flat):
            assert x.clone(memory_format=torch.preserve_format).shape == x.shape
        for x in (flat[:, 1:], flat[:, :2]):  # of one shape, at different places
            assert x.t().storage_offset() == x.storage_offset()


def test_what_is_remembered_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = Fake.__torch_dispatch__
    monkeypatch.setattr(
        Fake, "__torch_dispatch__", lambda self, func, *rest: asked.append(func) or real(self, func, *rest)
    )
    fake = Fake(allow_non_fake_inputs=True)
    x_23 = fake.from_tensor(torch.ones(2, 3))
    with Answers(fake, SAMPLED):
        for _ in range(3):
            x_23.mul(2)
    assert asked.count(torch.ops.aten.mul.Tensor) == 1


def test_what_fills_memory_that_is_there_takes_none() -> None:
    fake, tracker = Fake(allow_non_fake_inputs=True), Tracker()
    with Answers(fake, SAMPLED), tracker:
        x_3, out_3 = fake.from_tensor(torch.ones(3)), fake.from_tensor(torch.zeros(3))
        tracker.register("batch", (x_3, out_3))
        for _ in range(3):
            x_3.add_(1)
            torch.add(x_3, 1, out=out_3)
            x_3.view(3, 1)
    assert tracker.total_peak_bytes() == 2 * 3 * 4


def test_values_are_made_up() -> None:
    fake = Fake(allow_non_fake_inputs=True)
    with Answers(fake, SAMPLED):
        x_23 = fake.from_tensor(torch.rand(2, 3))
        assert float(x_23.sum()) == 1.0
        assert torch.searchsorted(x_23, x_23[:, :1]).tolist() == [[SAMPLED], [SAMPLED]]

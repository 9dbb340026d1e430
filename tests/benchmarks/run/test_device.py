"""Which device a suite's runs compute on."""

from __future__ import annotations

from collections.abc import Collection

import pytest
import torch

from ppo_vs_grpo.benchmarks.run.device import Device, choose
from ppo_vs_grpo.tasks.errors import UserError

EMBEDDED, OWN = ["nano"], ["/models/llama"]


@pytest.fixture
def sees(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What torch sees is the test's parameter; None is a machine without an accelerator."""
    there = None if request.param is None else torch.device(request.param)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: there)


@pytest.mark.usefixtures("sees")
@pytest.mark.parametrize(
    ("sees", "asked", "starts", "chosen"),
    [
        (None, "auto", EMBEDDED, "cpu"),
        (None, "cpu", OWN, "cpu"),
        ("cuda", "auto", EMBEDDED, "cuda"),
        ("cuda", "cpu", OWN, "cpu"),
        ("cuda", "cuda", EMBEDDED, "cuda"),
        ("mps", "auto", OWN, "mps"),
        ("mps", "auto", EMBEDDED, "cpu"),
        ("mps", "auto", [*OWN, *EMBEDDED], "cpu"),
        ("mps", "mps", EMBEDDED, "mps"),
    ],
    indirect=["sees"],
)
def test_choice(asked: str, starts: Collection[str], chosen: str, request: pytest.FixtureRequest) -> None:
    device, why = choose(Device(asked), starts)
    assert device == chosen
    surprising = request.node.callspec.params["sees"] == "mps" and chosen == "cpu"
    assert (why is not None) == surprising


@pytest.mark.usefixtures("sees")
@pytest.mark.parametrize(
    ("sees", "asked", "use"), [(None, "cuda", "cpu"), (None, "mps", "cpu"), ("mps", "cuda", "mps")], indirect=["sees"]
)
def test_a_device_that_is_not_there(asked: str, use: str) -> None:
    with pytest.raises(UserError, match=rf"--device {asked}: torch .* sees no such device here; use auto or {use}"):
        choose(Device(asked), EMBEDDED)

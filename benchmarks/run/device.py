"""Where the networks of a run live: on the CPU, or on an accelerator that torch sees.

The embedded start models stay off a Mac's GPU unless it is asked for: what a report says of them should not depend on
whose machine made it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from ppo_vs_grpo.tasks.errors import UserError


class Device(StrEnum):
    """The values of `--device`. `auto` is the accelerator that torch sees, else the CPU."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


def choose(asked: Device, starts: Collection[str]) -> tuple[str, str | None]:
    """The device of a suite's runs, and a sentence where it is another than one would expect.

    `starts` are the suite's start models. Raises UserError where torch does not see the device that is asked for.
    """
    import torch

    from ppo_vs_grpo.benchmarks.models.tiny import SIZES

    found = torch.accelerator.current_accelerator(check_available=True)
    there = found.type if found else "cpu"
    if asked not in (Device.auto, Device.cpu, there):
        raise UserError(f"--device {asked}: torch {torch.__version__} sees no such device here; use auto or {there}")
    if asked is not Device.auto:
        return str(asked), None
    if there == "mps" and any(start in SIZES for start in starts):
        return (
            "cpu",
            "on the CPU: embedded start models leave a Mac's GPU alone (--device mps takes it)",
        )
    return there, None

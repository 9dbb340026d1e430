"""A run's sign of life: an empty file whose time moves on as the run does."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEARTBEAT = "heartbeat"
"""In an unfinished run's folder. It is no record: no manifest names it, and a finished run has none."""

EVERY_S = 0.5
"""The file is touched at most so often."""


class Heartbeat:
    """Touches the file where the run makes progress. No thread does it: one would beat while the run hangs."""

    def __init__(self, run: Path) -> None:
        self._path, self._last_s = run / HEARTBEAT, -EVERY_S
        self.beat()

    def beat(self) -> None:
        """Give a sign of life. One that cannot be given costs nothing before the limit."""
        now_s = time.monotonic()
        if now_s - self._last_s >= EVERY_S:
            self._last_s = now_s
            with suppress(OSError):
                self._path.touch()

    def follow(self, policy: PreTrainedModel) -> None:
        """Beat with every pass through the policy: within rollouts, updates, evaluations and probes."""
        policy.get_input_embeddings().register_forward_pre_hook(lambda *_: self.beat())


def still(run: Path) -> None:
    """Remove the file of a run that has ended, before its manifest is written."""
    with suppress(OSError):
        (run / HEARTBEAT).unlink(missing_ok=True)

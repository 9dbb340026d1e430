"""The state of each run of a suite while the runner works on it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ppo_vs_grpo.benchmarks.records.folder import write_whole
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec

SMOOTHING = 0.8

State = Literal["waiting", "running", "ok", "diverged", "failed"]


@dataclass(slots=True)
class RunState:
    """One run: where it stands and what its metrics file said so far.

    `reward` is the training reward, exponentially smoothed over updates; `last` the newest line.
    """

    spec: RunSpec
    folder: Path
    state: State = "waiting"
    reward: float | None = None
    error: str | None = None
    last: dict[str, Any] = field(default_factory=dict)
    started_s: float = 0.0
    elapsed_s: float = 0.0
    offset_bytes: int = 0

    @property
    def name(self) -> str:
        """How messages name the run."""
        repeat = "timing " if self.spec.purpose == "timing" else "s"
        return f"{self.spec.task} {self.spec.arm} {repeat}{self.spec.seed}"

    @property
    def done(self) -> bool:
        """Whether the run has an end, good or bad."""
        return self.state not in ("waiting", "running")

    @property
    def updates(self) -> int:
        """Updates so far."""
        return int(self.last.get("update", 0))

    def prepare(self) -> None:
        """Make the run's folder anew, with its spec.json."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        write_whole(self.folder / "spec.json", self.spec.model_dump_json(indent=1))

    def start(self) -> None:
        """Note that the process starts now."""
        self.state, self.started_s = "running", time.monotonic()

    def end(self, state: State, error: str | None = None) -> None:
        """Note how the run ended."""
        self.state, self.error = state, error

    def follow(self) -> None:
        """Read what was appended to the metrics file since the last call; half a line waits for its rest."""
        if self.state == "running":
            self.elapsed_s = time.monotonic() - self.started_s
        try:
            with (self.folder / "metrics.jsonl").open("rb") as file:
                file.seek(self.offset_bytes)
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self.offset_bytes += len(lines) + len(newline)
        for line in lines.splitlines():
            try:
                self.last = json.loads(line)
                reward = float(self.last["reward_mean"])
            except (ValueError, TypeError, KeyError):
                continue  # a broken line is the report's to name, not the progress table's
            self.reward = reward if self.reward is None else SMOOTHING * self.reward + (1 - SMOOTHING) * reward


def left_s(runs: Sequence[RunState], slots: int) -> float | None:
    """Seconds until all runs are done, from the pace of those that ran; None before the first update."""
    paces: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if run.updates and run.elapsed_s:
            paces.setdefault((run.spec.task, run.spec.arm), []).append(run.elapsed_s / run.updates)
    if not paces:
        return None
    means = {key: sum(pace) / len(pace) for key, pace in paces.items()}
    typical = sum(means.values()) / len(means)
    total = 0.0
    for run in runs:
        if not run.done:
            updates = run.spec.train.updates - run.updates
            share = slots if run.spec.purpose == "train" else 1
            total += updates * means.get((run.spec.task, run.spec.arm), typical) / share
    return total

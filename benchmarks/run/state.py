"""The state of each run of a suite while the runner works on it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ppo_vs_grpo.benchmarks.records.folder import write_whole
from ppo_vs_grpo.benchmarks.run import checkpoints
from ppo_vs_grpo.benchmarks.run.attempts import RETRIED, Ended, retried
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec

SMOOTHING = 0.8

State = Literal["waiting", "running", "ok", "diverged", "failed"]


@dataclass(slots=True)
class RunState:
    """One run: where it stands and what its metrics file said so far.

    `reward` is the training reward, exponentially smoothed over updates; `last` the newest line. `evaluated` has the
    samples of each evaluation that passed, and all of them, by the completions before it. `goes_on_from` is the update
    of the checkpoint from which this call goes on; `before` is how the attempt before this one ended, where it did.
    """

    spec: RunSpec
    folder: Path
    state: State = "waiting"
    reward: float | None = None
    error: str | None = None
    last: dict[str, Any] = field(default_factory=dict)
    started_s: float = 0.0
    elapsed_s: float = 0.0
    evaluated: dict[int, tuple[int, int]] = field(default_factory=dict)
    goes_on_from: int | None = None
    before: Ended | None = None
    offsets_bytes: dict[str, int] = field(default_factory=dict)

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

    @property
    def pace_s(self) -> float | None:
        """Seconds for an update of this call; None before the first."""
        done = self.updates - (self.goes_on_from or 0)
        return self.elapsed_s / done if done > 0 and self.elapsed_s else None

    def prepare(self) -> list[str]:
        """Take the run's folder back to its last checkpoint, or make it anew, with its spec.json.

        Returns what is to be said of that, which its log says too.
        """
        self._note_attempt()
        if self.before == "diverged":  # from a checkpoint it would diverge again
            checkpoints.discard(self.folder)
        self.goes_on_from, told = checkpoints.go_back(self.folder, self.spec)
        if self.goes_on_from is not None:
            told.append(f"goes on from update {self.goes_on_from} of {self.spec.train.updates}")
        else:
            told += ["starts again"] * bool(told)
            self._clear()
        write_whole(self.folder / "spec.json", self.spec.model_dump_json(indent=1))
        with (self.folder / "stdout.log").open("a", encoding="utf-8") as log:
            log.writelines(f"{line}\n" for line in told)
        return told

    def _note_attempt(self) -> None:
        """Keep on disk how the attempts before ended, before anything of them is deleted; `diverged` stays for good.

        A reader has to see a choice among attempts, whatever kills this one.
        """
        if self.before and retried(self.folder) != "diverged":
            write_whole(self.folder / RETRIED, f"{self.before}\n")

    def _clear(self) -> None:
        """Make the folder anew: nothing of earlier attempts is left but how they ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.name != RETRIED:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def start(self) -> None:
        """Note that the process starts now."""
        self.state, self.started_s = "running", time.monotonic()

    def end(self, state: State, error: str | None = None) -> None:
        """Note how the run ended."""
        self.state, self.error = state, error

    @property
    def pass_rates(self) -> dict[int, float]:
        """The held-out pass rate of each evaluation so far, by the completions before it, in their order."""
        return {at: passed / samples for at, (passed, samples) in sorted(self.evaluated.items()) if samples}

    def follow(self) -> None:
        """Read what was appended to the metrics and evaluations since the last call."""
        if self.state == "running":
            self.elapsed_s = time.monotonic() - self.started_s
        for row in self._appended("metrics.jsonl"):
            self.last = row
            with suppress(ValueError, TypeError, KeyError):  # a broken line is the report's to name
                reward = float(row["reward_mean"])
                self.reward = reward if self.reward is None else SMOOTHING * self.reward + (1 - SMOOTHING) * reward
        for row in self._appended("evals.jsonl"):
            with suppress(ValueError, TypeError, KeyError):
                at, passed, samples = int(row["completions"]), int(row["passes"]), int(row["samples"])
                before = self.evaluated.get(at, (0, 0))
                self.evaluated[at] = (before[0] + passed, before[1] + samples)

    def _appended(self, name: str) -> Iterator[dict[str, Any]]:
        """The lines that a file has more than at the last call; half a line waits for its rest."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(self.offsets_bytes.get(name, 0))
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self.offsets_bytes[name] = self.offsets_bytes.get(name, 0) + len(lines) + len(newline)
        for line in lines.splitlines():
            with suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row


def left_s(runs: Sequence[RunState], slots: int) -> float | None:
    """Seconds until all runs are done, from the pace of those that ran; None before the first update."""
    paces: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if pace_s := run.pace_s:
            paces.setdefault((run.spec.task, run.spec.arm), []).append(pace_s)
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

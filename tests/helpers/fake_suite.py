"""Runs of a suite with the fake worker, in this process or, as a script, in one of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from ppo_vs_grpo.benchmarks.run.runner import run_specs
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.suite import Suite

WORKER = Path(__file__).with_name("fake_worker.py")


def make_suite(tasks: Sequence[str] = ("red", "blue"), seeds: int = 2, timing: bool = True) -> Suite:
    """Two arms on some tasks."""
    return Suite.model_validate(
        {
            "name": "fake",
            "tasks": {task: {"task": task} for task in tasks},
            "arms": {"ppo": {"algorithm": "ppo"}, "grpo": {"algorithm": "grpo"}},
            "seeds": seeds,
            "train": {"completions": 24, "prompts_per_update": 2, "group_size": 4},
            "timing": {"updates": 2, "warmup_updates": 1} if timing else None,
        }
    )


def make_specs(suite: Suite) -> list[RunSpec]:
    """The suite's runs in the order in which `resolving.resolve` gives them."""
    arms = list(suite.arms)
    cells = [
        ("train", arm, task, seed)
        for seed in suite.seeds
        for task in suite.tasks
        for arm in arms
        if task in suite.runs_on(arm)
    ]
    if suite.timing:
        rounds = [(arm, 0) for arm in arms] + [(arm, 1) for arm in arms[::-1]]
        cells += [
            ("timing", arm, task, repeat)
            for task in suite.tasks
            for arm, repeat in rounds
            if task in suite.runs_on(arm)
        ]
    return [
        RunSpec(
            suite=suite.name,
            purpose=purpose,
            arm=arm,
            algorithm=arm,
            config={},
            task=task,
            task_choice=suite.tasks[task],
            task_data="0",
            start="nano",
            start_hash="0",
            seed=seed,
            tuning=False,
            threads=suite.threads if purpose == "train" else None,
            train=suite.train,
            eval=suite.eval,
            timing=suite.timing if purpose == "timing" else None,
        )
        for purpose, arm, task, seed in cells
    ]


def most_at_once(began: Sequence[Mapping[str, Any]], ended: Sequence[Mapping[str, Any]]) -> int:
    """The most processes that ran at a time, by what they told."""
    changes = [(event["time_s"], 1) for event in began] + [(event["time_s"], -1) for event in ended]
    running, most = 0, 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most


@dataclass
class FakeRun:
    """A results folder and how the fake worker is to behave in it."""

    folder: Path
    suite: Suite = field(default_factory=make_suite)
    seconds: float = 0.03
    ends: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    output: str = ""

    @property
    def results(self) -> Path:
        """The suite's folder."""
        return self.folder / "results" / "fake"

    @property
    def log(self) -> Path:
        """Where the fake workers tell of themselves."""
        return self.folder / "log"

    def events(self, what: str = "began") -> list[dict[str, Any]]:
        """What the fake workers told, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [event for event in map(json.loads, lines) if event["what"] == what]

    def manifest(self, beginning: str) -> dict[str, Any]:
        """The manifest of the one run whose key begins so."""
        (path,) = self.results.glob(f"*/{beginning}*/manifest.json")
        manifest: dict[str, Any] = json.loads(path.read_text())
        return manifest

    def run(self, slots: int | None = 2, console: Console | None = None, device: str = "cpu", **more: Any) -> int:
        """Run the suite, or what is left of it; `more` is for `run_specs`."""
        orders = json.dumps({"log": str(self.log), "seconds": self.seconds, "ends": dict(self.ends)})
        screen = StringIO()
        code = run_specs(
            self.suite,
            make_specs(self.suite),
            self.results,
            {task: self.folder / "models" / task for task in self.suite.tasks},
            self.builds,
            slots=slots,
            device=device,
            console=console or Console(file=screen, width=100),
            worker=(sys.executable, "-I", str(WORKER), orders),
            **more,
        )
        self.output = screen.getvalue()
        return code


if __name__ == "__main__":
    sys.exit(FakeRun(Path(sys.argv[1]), seconds=float(sys.argv[2])).run(console=Console()))

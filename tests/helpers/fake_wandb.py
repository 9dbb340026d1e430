"""A wandb that only tells what it is asked to do, or worse, and small results to mirror."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from synthetic import make_suite, write_results

FAKE = """
import json, os, sys, time
from pathlib import Path
LOG = Path(os.environ["WANDB_FAKE_LOG"])
def tell(*event):
    with LOG.open("a") as log:
        log.write(json.dumps([time.time(), *event]) + "\\n")
class Summary(dict):
    def __init__(self, run): self.run = run
    def update(self, values): tell(self.run.id, "summary", values)
class Run:
    def __init__(self, id): self.id, self.summary = id, Summary(self)
    def define_metric(self, name, step_metric): tell(self.id, "axis", name, step_metric)
    def log(self, values, step=None): tell(self.id, "log", step, {n: v for n, v in values.items() if n != "figure"})
    def log_artifact(self, artifact): tell(self.id, "artifact", artifact.name, artifact.type, artifact.files)
    def finish(self, exit_code=0): tell(self.id, "finish", exit_code)
class Artifact:
    def __init__(self, name, type): self.name, self.type, self.files = name, type, []
    def add_file(self, path, skip_cache): self.files.append(Path(path).name)
Settings = dict
Image = str
def init(id, **given):
    names = ("project", "name", "group", "job_type", "config", "resume")
    tell(id, "init", {n: given[n] for n in names} | {"pid": os.getpid()})
    BEHAVE
    return Run(id)
"""
"""What stands in for the package; BEHAVE is what happens in `init`."""


def put_fake(folder: Path, monkeypatch: pytest.MonkeyPatch, at_import: str = "pass", in_init: str = "pass") -> Path:
    """Put a fake wandb before the real one; returns the file to which it tells what it does."""
    (folder / "fake").mkdir()
    (folder / "fake" / "wandb.py").write_text(at_import + "\n" + FAKE.replace("BEHAVE", in_init))
    monkeypatch.setenv("PYTHONPATH", str(folder / "fake"), prepend=os.pathsep)
    monkeypatch.setenv("WANDB_FAKE_LOG", str(folder / "told"))
    return folder / "told"


def told(log: Path, what: str) -> dict[str, list[Any]]:
    """By run, what it was told of one kind, in order."""
    events: dict[str, list[Any]] = {}
    for _, key, kind, *rest in map(json.loads, log.read_text().splitlines() if log.exists() else []):
        if kind == what:
            events.setdefault(key, []).append(rest)
    return events


def by_hand(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "ppo_vs_grpo.benchmarks.tracking", str(folder), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def write_small(folder: Path, **singled_out: Any) -> Path:
    """Two training runs, and a report as far as a mirror looks at it."""
    suite = make_suite(tasks=("sorting",), seeds=1, updates=6, prompts=4, timing=False)
    write_results(folder / "synthetic", suite, **singled_out)
    (folder / "synthetic" / "report" / "figures").mkdir(parents=True)
    (folder / "synthetic" / "report" / "report.html").write_text("<p>the report</p>")
    Image.new("RGB", (4, 3)).save(folder / "synthetic" / "report" / "figures" / "overview.png")
    return folder / "synthetic"

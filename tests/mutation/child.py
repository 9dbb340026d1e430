"""One mutant's test run, in a process forked from one that has the libraries loaded but nothing of the package."""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

SILENCE_S = 60
"""A test that takes longer than this ends the run: the process dies of SIGALRM."""

MEMORY_BYTES = 4 << 30
"""What a run may ask for beyond what it starts with: a mutant's endless list fails before it fills the machine."""

LIBRARIES = (
    "accelerate",
    "datasets",
    "hypothesis.strategies",
    "psutil",
    "pydantic",
    "pytest",
    "tokenizers",
    "torch",
    "torch._dynamo",
    "transformers.models.bloom.modeling_bloom",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
    "transformers.models.mistral.modeling_mistral",
    "trl.trainer.grpo_trainer",
    "trl.trainer.rloo_trainer",
)

LEFT_OUT = "not test_every_arm_learns and not test_learning_raises_the_reward"
"""The tests that train until a reward is reached take half of the time, and see little."""

NOT_THE_COPY = 70
"""Exit status of a run that imported the package from somewhere else than its own tree."""

SECONDS = "seconds.json"
FIRST_FAILURE = "failure.txt"
OUTPUT = "output.txt"


def load_libraries() -> None:
    """Import what every test run needs, once; one thread each, because a fork takes no threads along."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    for name in LIBRARIES:
        importlib.import_module(name)


def fork_tests(tree: Path, stem: str, tests: list[str]) -> int:
    """Start a run of the test files in a tree, those named after `stem` first: the process id."""
    (tree / FIRST_FAILURE).unlink(missing_ok=True)
    shutil.rmtree(tree / ".hypothesis", ignore_errors=True)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = NOT_THE_COPY
    try:
        status = _run(tree, stem, tests)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


class Watch:
    """A pytest plugin: an alarm on each test, and a note of the one that failed."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def pytest_runtest_logstart(self) -> None:
        """Start the clock anew."""
        signal.alarm(SILENCE_S)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a failure."""
        if report.failed:
            (self._tree / FIRST_FAILURE).write_text(report.nodeid)


def _run(tree: Path, stem: str, tests: list[str]) -> int:
    """The files one by one, quick ones first, up to the first failure: pytest's exit status."""
    _settle(tree)
    known = tree / SECONDS
    took: dict[str, float] = json.loads(known.read_text()) if known.exists() else {}
    sys.dont_write_bytecode = known.exists()
    for test in sorted(tests, key=lambda test: (f"_{stem}." not in test, took.get(test, 0.0))):
        started = time.monotonic()
        status = _pytest(tree, test)
        if not _is_copy(tree):
            return NOT_THE_COPY
        if status != 0:
            return status
        took[test] = time.monotonic() - started
    if not known.exists():
        known.write_text(json.dumps(took))
    return 0


def _settle(tree: Path) -> None:
    """Make the process one that lives in the tree: its output, its limits, what it imports."""
    import psutil

    output = os.open(tree / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    limit = psutil.Process().memory_info().vms + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.chdir(tree)
    sys.path[0] = str(tree / ".links")


def _pytest(tree: Path, test: str) -> int:
    import pytest

    signal.alarm(SILENCE_S)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--rootdir={tree}", "-k", LEFT_OUT]
    already_imported = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = int(pytest.main([*options, *already_imported, test], plugins=[Watch(tree)]))
    sys.stdout.flush()
    signal.alarm(0)
    return status


def _is_copy(tree: Path) -> bool:
    """Whether all that is imported of the package came from the tree, and something did."""
    modules = [module for name, module in sys.modules.items() if name.startswith("ppo_vs_grpo.")]
    files = [Path(file) for module in modules if (file := getattr(module, "__file__", None))]
    return bool(files) and all(tree / ".links" in file.parents for file in files)

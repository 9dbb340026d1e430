"""Whether a machine can run a suite: its system, and what is otherwise there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ppo_vs_grpo.benchmarks.commands import runs
from ppo_vs_grpo.benchmarks.records.folder import held
from ppo_vs_grpo.benchmarks.run.doctor import examine, require_system, system
from ppo_vs_grpo.tasks.errors import UserError


@pytest.mark.parametrize(
    ("name", "machine", "ok", "says"),
    [
        ("linux", "aarch64", True, "runs are forked"),
        ("darwin", "arm64", True, "each run imports torch for itself"),
        ("darwin", "x86_64", False, "torch has no current build for it"),
        ("win32", "AMD64", False, "Windows: runs need Linux or macOS, such as WSL 2"),
        ("sunos5", "i86pc", False, "sunos5: runs need Linux or macOS"),
    ],
)
def test_a_system_will_do_or_not_and_says_what_falls_back(name: str, machine: str, ok: bool, says: str) -> None:
    check = system(name, machine)
    assert check.ok == ok
    assert says in check.found


def test_doctor_looks_at_the_system_first(tmp_path: Path) -> None:
    assert examine(tmp_path, tmp_path)[0].name == "system"


def test_a_run_is_refused_where_none_can_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match="WSL 2"):
        require_system()
    with pytest.raises(UserError, match="WSL 2"):
        runs.run("smoke", tmp_path)


def test_reading_commands_load_without_what_only_some_systems_have() -> None:
    """As on Windows, where fcntl does not exist."""
    code = (
        "import sys; sys.modules.update(fcntl=None);"
        "from ppo_vs_grpo.benchmarks.__main__ import app;"
        "import ppo_vs_grpo.benchmarks.analysis.report.write, ppo_vs_grpo.benchmarks.run.doctor"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with (
        held(tmp_path / "lock", "held"),
        pytest.raises(UserError, match="held; wait for it"),
        held(tmp_path / "lock", "held"),
    ):
        pass

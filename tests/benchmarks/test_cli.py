"""The command line: what it prints, its exit codes, and one line for each of a user's mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from command import call, mistake
from ppo_vs_grpo.algorithms import ALGORITHMS
from ppo_vs_grpo.benchmarks.__main__ import COMMANDS, app, main
from ppo_vs_grpo.benchmarks.peers import PEERS
from ppo_vs_grpo.benchmarks.run.machine import checkout
from ppo_vs_grpo.benchmarks.suites.load import suite_names
from ppo_vs_grpo.tasks import TASKS


def test_a_prediction_of_a_small_model_by_name_and_by_its_config(tmp_path: Path) -> None:
    shape = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(shape | {"intermediate_size": 128, "vocab_size": 1000}))
    sizes = ["--completions", "16", "--prompt-tokens", "16", "--new-tokens", "8"]
    done = call("predict", "--model", str(tmp_path / "config.json"), "--arm", "ppo", "--arm", "grpo", *sizes)
    assert done.returncode == 0, done.stderr
    lines = {" ".join(line.split()[:-2]): line.split()[-2:] for line in done.stdout.splitlines()}
    assert lines["GB"] == ["ppo", "grpo"]
    assert lines["fits in 24"] == ["yes", "yes"]
    assert set(lines) >= {"peak of an update", "policy.params", "peak in rollout", "10^12 operations an update"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "qwen2.5-0.6b"), "model: unknown 'qwen2.5-0.6b'; did you mean 'qwen2.5-0.5b'?"),
        (("--model", "qwen2.5-0.5b", "--arm", "grppo"), "algorithm: unknown 'grppo'; did you mean 'grpo'?"),
        (("--model", "qwen2.5-0.5b", "--completions", "9"), "--completions 9: should be a multiple of 8"),
        (("--model", "qwen2.5-0.5b", "--dtype", "float61"), "--dtype float61: did you mean 'float16'?"),
        (("--model", "/dev"), "--model /dev: no config of a Hugging Face model"),
    ],
)
def test_a_mistake_in_what_to_predict_is_one_line(arguments: tuple[str, ...], says: str) -> None:
    assert says in mistake("predict", *arguments)


def test_help_is_short_and_loads_nothing_heavy() -> None:
    done = call("--help")
    assert done.returncode == 0
    for command in ("run", "report", "list", "show", "doctor", "predict"):
        assert f" {command} " in done.stdout
    code = (
        "import sys; from ppo_vs_grpo.benchmarks import __main__;"
        "sys.exit(bool({'torch', 'pandas', 'yaml', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", [(), *[(name,) for group in COMMANDS.values() for name in group]])
def test_every_command_has_help_by_its_short_option_too(command: tuple[str, ...]) -> None:
    short, long = (CliRunner().invoke(app, [*command, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output


def test_the_version_names_the_commit_of_a_checkout() -> None:
    found = checkout()
    commit = f" (commit {found['commit'][:8]}" if found["commit"] else "\n"
    assert CliRunner().invoke(app, ["--version"]).output.startswith(f"ppo-vs-grpo {version('ppo-vs-grpo')}{commit}")


def test_the_shell_completes_suites_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").touch()
    monkeypatch.setenv("_PPO_VS_GRPO_COMPLETE", "complete_bash")
    for begun, completed in {"m": ["memory", "mine.yaml"], "at": ["attribution"]}.items():
        monkeypatch.setenv("COMP_WORDS", f"ppo-vs-grpo run {begun}")
        monkeypatch.setenv("COMP_CWORD", "2")
        assert call(folder=tmp_path).stdout.split() == completed


def test_no_command_is_a_usage_error_that_prints_help() -> None:
    done = call()
    assert done.returncode == 2
    assert "Usage: ppo-vs-grpo" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("tasks", [*TASKS]),
        ("algorithms", [*ALGORITHMS, *PEERS]),
        ("suites", ["suite", *suite_names()]),
    ],
)
def test_list(what: str, names: list[str]) -> None:
    done = call("list", what)
    assert done.returncode == 0, done.stderr
    listed = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert listed == names
    rows = [line for line in done.stdout.splitlines() if line.startswith(tuple(names)) and line.split()[0] != "suite"]
    assert all(len(line.split()) > 3 for line in rows)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "partial" not in done.stdout


def test_show_prints_a_suite_that_can_be_run_again(tmp_path: Path) -> None:
    done = call("show", "smoke", "--set", "train.beta=0.5")
    suite = yaml.safe_load(done.stdout)
    assert suite["train"]["beta"] == 0.5
    assert suite["arms"]["ppo"]["config"]["lam"] == 0.95
    (tmp_path / "again.yaml").write_text(done.stdout)
    assert call("show", "again.yaml", folder=tmp_path).stdout == done.stdout


def test_doctor(tmp_path: Path) -> None:
    done = call("doctor", "--results", str(tmp_path / "new" / "results"), "--cache", str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    done = call("doctor", "--results", str(tmp_path / "file" / "results"))
    assert done.returncode == 1
    assert "✗" in next(line for line in done.stdout.splitlines() if "results" in line)


@pytest.fixture
def broken_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An environment whose torch is installed and cannot be loaded, as one without the libraries of CUDA."""
    said = "libcudnn.so.9: cannot open shared object file"
    (tmp_path / "torch.py").write_text(f"raise ImportError({said!r})")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return said


def test_doctor_finds_a_package_that_is_there_and_cannot_be_imported(broken_torch: str) -> None:
    done = call("doctor")
    assert done.returncode == 1
    rows = " ".join(done.stdout.split())
    assert f"✗ torch {version('torch')} is installed and cannot be imported (ImportError: {broken_torch})" in rows
    assert "`python -m pip check` names what is missing" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "smoke"], "error: torch {version} is installed and cannot be imported (ImportError: {said}). "),
        (["show", "smoke"], "error: {said}; `ppo-vs-grpo doctor` says what is broken and how to mend it"),
        (["list", "algorithms"], "error: {said}; `ppo-vs-grpo doctor` says"),
    ],
)
def test_a_broken_environment_is_one_line(
    arguments: list[str], expected: str, broken_torch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = mistake(*arguments)
    assert line.startswith(expected.format(version=version("torch"), said=broken_torch))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "cor"], "error: suite 'cor': neither a file nor a suite's name; did you mean 'core'?"),
        (["show", "cor"], "error: suite 'cor': "),
        (
            ["run", "smoke", "--set", "train.completions=-5"],
            "train.completions: -5: should be greater than or equal to 1",
        ),
        (["run", "smoke", "--set", "train.group_size=1"], "arms.grpo.train.group_size: 1: this algorithm compares"),
        (["run", "smoke", "--set", "start=nanoo"], "'nanoo'"),
        (["run", "smoke", "--device", "cuda"], "--device cuda: torch"),
        (["run", "smoke", "--slots", "0"], "--slots 0: should be at least 1"),
        (["run", "smoke", "--results", "/dev/null/x"], "results folder /dev/null/x/smoke: not writable"),
        (["report", "/nowhere/core"], "/nowhere/core"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in mistake(*arguments)
    assert not list(tmp_path.iterdir()), "a mistake left something behind"


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu"],
        ["run"],
        ["list", "task"],
        ["run", "smoke", "--slot", "2"],
        ["run", "smoke", "--slots", "x"],
        ["run", "smoke", "--device", "gpu"],
    ],
)
def test_usage_errors_have_exit_code_2_and_no_traceback(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("ppo_vs_grpo.benchmarks.records.lock.write_whole", full)
    monkeypatch.setattr(sys, "argv", ["ppo-vs-grpo", "run", "memory", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    lock = tmp_path / "memory" / "suite.lock.yaml"
    assert ended.value.code == 2
    said = f"error: {lock}: cannot be written (No space left on device); finished runs stay; mend that, "
    said += "then run the same command: it goes on with the others\n"
    assert capsys.readouterr().err.endswith(said)


@pytest.mark.parametrize("command", ["run", "report", "verify", "show"])
def test_a_name_that_no_file_can_have_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["ppo-vs-grpo", command, "x" * 5000])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.endswith("x...: File name too long\n")
    assert len(said) < 100

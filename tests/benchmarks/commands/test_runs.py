"""A suite that goes on where results of it lie: seeds, lock files, and a folder of another configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.records.folder import write_whole
from ppo_vs_grpo.benchmarks.run import runner
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document
from ppo_vs_grpo.tasks.errors import UserError


@pytest.fixture(autouse=True)
def _nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, runs are over before they begin: the lock and a manifest each are all that they leave."""

    def run_specs(suite: Any, specs: Any, folder: Path, *_: Any, changed: Any, **__: Any) -> int:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "suite.lock.yaml", yaml.safe_dump(lock_document(suite, specs, changed), sort_keys=False))
        for spec in specs:
            run = folder / {"train": "runs", "timing": "timing"}[spec.purpose] / spec.key
            run.mkdir(parents=True, exist_ok=True)
            (run / "manifest.json").touch()
        return 130

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "run_specs", run_specs)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["run", *arguments])


def lock(name: str = "smoke") -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(Path(f"results/{name}/suite.lock.yaml").read_text())
    return read


def mistake(*arguments: str) -> str:
    refused = run(*arguments)
    assert isinstance(refused.exception, UserError), refused
    return str(refused.exception)


def test_an_unchanged_suite_leaves_a_lock_that_says_nothing_of_changes_and_goes_on() -> None:
    assert run("smoke").exit_code == 130
    first = Path("results/smoke/suite.lock.yaml").read_bytes()
    assert list(yaml.safe_load(first)) == ["suite", "hash", "keys"]
    assert run("smoke").exit_code == 130
    assert Path("results/smoke/suite.lock.yaml").read_bytes() == first


def test_another_configuration_is_refused_and_says_what_differs() -> None:
    run("smoke")
    before = Path("results/smoke/suite.lock.yaml").read_bytes()
    assert mistake("smoke", "--set", "train.beta=0.5") == (
        f"results/smoke: results of another configuration lie there: train.beta is {lock()['suite']['train']['beta']} "
        "there and 0.5 here. Give these a place of their own with --name NAME, or delete "
        "results/smoke/suite.lock.yaml to replace on purpose"
    )
    assert Path("results/smoke/suite.lock.yaml").read_bytes() == before
    Path("results/smoke/suite.lock.yaml").unlink()
    assert run("smoke", "--set", "train.beta=0.5").exit_code == 130


def test_a_name_gives_results_a_folder_and_the_lock_says_what_was_changed() -> None:
    run("smoke")
    run("smoke", "--set", "train.beta=0.5", "--name", "smoke-b")
    assert lock("smoke-b")["suite"]["name"] == "smoke-b"
    assert lock("smoke-b")["changed"] == {"train.beta": [lock()["suite"]["train"]["beta"], 0.5]}
    assert "--name" not in mistake("smoke", "--name", "a b")


def test_seeds_are_added_to_those_that_are_there() -> None:
    run("smoke", "--seeds", "4-5")
    assert lock()["suite"]["seeds"] == [4, 5]
    keys = lock()["keys"]
    run("smoke", "--seeds", "7,5-6")
    assert lock()["suite"]["seeds"] == [4, 5, 7, 6]
    assert set(keys) < set(lock()["keys"])
    assert lock()["changed"] == {"seeds": [[0, 1], [4, 5, 7, 6]]}
    run("smoke")
    assert lock()["suite"]["seeds"] == [4, 5, 7, 6, 0, 1]


@pytest.mark.parametrize("text", ["15-8", "a-b", "", "1,,2", "-3"])
def test_a_range_that_is_none_is_one_message(text: str) -> None:
    assert mistake("smoke", f"--seeds={text}") == (
        f"--seeds {text}: should be a range from low to high, as in 8-15, or numbers, as in 3,5"
    )


def test_a_seed_that_no_suite_may_have_is_one_message() -> None:
    assert "seeds: 1000: a seed of an evaluation suite lies in 0..999" in mistake("smoke", "--seeds", "999-1000")


def test_a_lock_file_is_run_as_it_states() -> None:
    run("smoke", "--set", "train.beta=0.5", "--name", "half")
    stated = Path("results/half/suite.lock.yaml").read_bytes()
    run("results/half/suite.lock.yaml", "--results", "again")
    assert Path("again/half/suite.lock.yaml").read_bytes() == stated
    run("results/half/suite.lock.yaml", "--results", "again", "--name", "back", "--set", "train.epochs=2")
    changed = yaml.safe_load(Path("again/back/suite.lock.yaml").read_text())["changed"]
    assert changed == {"train.beta": lock("half")["changed"]["train.beta"], "train.epochs": [1, 2]}

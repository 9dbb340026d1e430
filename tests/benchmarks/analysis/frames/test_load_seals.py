"""What is changed in a results folder is said, and a changed run is left out; results of before seals still load."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from damage import by_hand, hashes, rehash, relock, reseal, run_folder, strip, without_seal
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results

CELL = "grpo.recall.s1"
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    suite = make_suite(tasks=("recall",), seeds=2, updates=3, prompts=4, timed=["ppo"])
    return write_results(tmp_path_factory.mktemp("whole") / "small", suite, failed=["ppo.recall.s1"])


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "small"))


def in_file(name: str, old: str, new: str) -> Damage:
    def edit(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))

    return edit


def file_and_manifest(name: str, old: str, new: str) -> Damage:
    """Change a file, its hash and the run's seal, but not the lock."""

    def edit(run: Path) -> None:
        in_file(name, old, new)(run)
        reseal(run, files=hashes(run))

    return edit


def foreign_file(run: Path) -> None:
    shutil.copy(run / "memory.parquet", run / "probes.parquet")


def double_line(name: str) -> Damage:
    """A line twice in a file that is read for want of the table, with hashes and seals that match."""

    def edit(run: Path) -> None:
        path = run / f"{name}.jsonl"
        (run / f"{name}.parquet").unlink()
        path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
        rehash(run)

    return edit


def double_row(name: str) -> Damage:
    def edit(run: Path) -> None:
        frame = pd.read_parquet(run / f"{name}.parquet")
        pd.concat([frame, frame.tail(1)]).to_parquet(run / f"{name}.parquet", index=False)
        rehash(run)

    return edit


CHANGED = "manifest.json: changed since the run ended: its seal is "

RUN: dict[str, tuple[Damage, str]] = {
    "seed": (by_hand(seed=0), "manifest.json: seed is 0, its key says 1"),
    "arm": (by_hand(arm="ppo"), "manifest.json: arm is 'ppo', its key says 'grpo'"),
    "task": (by_hand(task="nowhere"), "manifest.json: task is 'nowhere', its key says 'recall'"),
    "purpose": (by_hand(purpose="timing"), "manifest.json: purpose is 'timing', its key says 'train'"),
    "key": (by_hand(key="grpo.recall.s0.00000000"), "manifest.json: key is 'grpo.recall.s0.00000000'; expected"),
    "contended": (by_hand(contended=False), CHANGED),
    "status": (by_hand(status="diverged"), CHANGED),
    "error": (by_hand(error="none"), CHANGED),
    "completions": (by_hand(completions=1), CHANGED),
    "peak memory": (by_hand(peak_rss_bytes=1), CHANGED),
    "protocol": (by_hand(protocol=2), CHANGED),
    "protocol of text": (by_hand(protocol="one"), "manifest.json: protocol is a str"),
    "no files": (by_hand(files={}), CHANGED),
    "files a list": (by_hand(files=[]), "manifest.json: files is a list"),
    "files null": (by_hand(files=None), "manifest.json: files is a NoneType"),
    "one more field": (by_hand(note="best seed"), CHANGED),
    "no seal": (without_seal, "manifest.json: it has no seal, suite.lock.yaml has one for it"),
    "seal null": (by_hand(seal=None), "manifest.json: it has no seal, suite.lock.yaml has one for it"),
    "sealed again": (lambda run: reseal(run, contended=False), "... for it. Restore it"),
    "spec": (in_file("spec.json", '"temperature":', '"temperature" :'), "spec.json: changed since the run ended"),
    "spec, sealed again": (file_and_manifest("spec.json", '"group_size": 8', '"group_size": 4'), "has"),
    "environment": (in_file("env.json", "Linux", "Windows"), "env.json: changed since the run ended"),
    "a file that is not named": (foreign_file, "probes.parquet: there, but manifest.json does not name it"),
    "metrics.jsonl doubled": (double_line("metrics"), "metrics.jsonl: two rows of update 2; "),
    "evals.jsonl doubled": (double_line("evals"), "evals.jsonl: two rows of update 0, completions 0, prompt 1; "),
    "metrics doubled": (double_row("metrics"), "metrics.parquet: two rows of update 3; "),
    "evals doubled": (double_row("evals"), "evals.parquet: two rows of update 3, completions 384, prompt 3; "),
    "memory doubled": (
        double_row("memory"),
        "memory.parquet: two rows of phase process, role process, source peak_rss",
    ),
}


@pytest.mark.parametrize("change", RUN)
def test_a_run_that_was_changed_is_named_and_left_out(folder: Path, change: str) -> None:
    damage, says = RUN[change]
    run = run_folder(folder, CELL)
    damage(run)
    with pytest.raises(UserError):
        load(folder)
    results = load(folder, strict=False)
    (row,) = results.missing.to_dict("records")
    assert (row["key"], row["state"]) == (run.name, "unreadable")
    assert row["message"].startswith(f"runs/{run.name}/")
    assert says in row["message"]
    assert run.name not in {*results.runs["key"], *results.specs, *results.environments, *results.metrics["key"]}
    assert results.unsealed == ()


@pytest.mark.parametrize("name", ["env.json", "spec.json"])
def test_what_a_failed_run_left_is_checked_too(folder: Path, name: str) -> None:
    run = run_folder(folder, "ppo.recall.s1")
    (run / name).write_text((run / name).read_text() + "\n")
    with pytest.raises(UserError, match=rf"{run.name}/{name}: changed since the run ended"):
        load(folder)


def test_a_folder_as_it_was_left_is_whole(folder: Path) -> None:
    results = load(folder)
    assert (len(results.runs), len(results.missing), results.unsealed, results.unsealed_sentence) == (6, 0, (), "")


LOCK: dict[str, tuple[str, str]] = {
    "seed": ("  seeds:\n  - 0\n", "  seeds:\n  - 2\n"),
    "arm": ("    grpo:\n      algorithm: grpo\n", "    grpo:\n      algorithm: rloo\n"),
    "setting": ("normalize: group_std", "normalize: none"),
    "claims": ("  claims: {}\n", "  claims: null\n"),
    "keys": ("keys:\n- ", "keys:\n- ppo.recall.s0.01234567\n- "),
    "seals": ("seals:\n", "seals:\n  ppo.recall.s0.01234567: '0'\n"),
}
"""A text of the lock, and what stands there instead."""


@pytest.mark.parametrize("change", LOCK)
@pytest.mark.parametrize("strict", [True, False])
def test_a_lock_that_was_changed_is_an_error_that_says_how_to_mend_it(folder: Path, change: str, strict: bool) -> None:
    path = folder / "suite.lock.yaml"
    in_file(path.name, *LOCK[change])(folder)
    with pytest.raises(
        UserError, match=r"lock\.yaml: changed since .* run the suite again: that writes it anew"
    ) as caught:
        load(folder, strict=strict)
    assert str(path) in str(caught.value)


def edit_lock(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "suite.lock.yaml"
    lock = yaml.safe_load(path.read_text())
    edit(lock)
    path.write_text(yaml.safe_dump(lock, sort_keys=False))


def test_a_lock_without_its_seal_is_an_error_as_long_as_a_run_has_one(folder: Path) -> None:
    edit_lock(folder, lambda lock: lock.pop("seal"))
    with pytest.raises(UserError, match="no 'seal' that is a str"):
        load(folder)
    edit_lock(folder, lambda lock: lock.pop("seals"))
    with pytest.raises(UserError, match="it has no seal, but runs that it names have"):
        load(folder, strict=False)


UNSEALED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no arms": (lambda lock: lock["suite"].pop("arms"), "no 'arms' that is a dict"),
    "empty tasks": (lambda lock: lock["suite"]["tasks"].clear(), "'tasks' is empty"),
    "no seeds": (lambda lock: lock["suite"]["seeds"].clear(), "'seeds' is empty"),
    "no key": (lambda lock: lock["keys"].append("x"), "'x': not a run's key"),
    "a task": (lambda lock: lock["suite"].update(tasks={"sorting": {}}), "an arm or task that is not in"),
    "an arm": (lambda lock: lock["suite"]["arms"].pop("ppo"), "an arm or task that is not in"),
    "a seed": (lambda lock: lock["suite"].update(seeds=[1]), "its seed is not in"),
    "two keys": (lambda lock: lock["keys"].append("ppo.recall.s0.01234567"), "same arm, task and seed as 'ppo.recall"),
}


@pytest.mark.parametrize("change", UNSEALED)
def test_a_lock_without_seals_has_to_fit_together(folder: Path, change: str) -> None:
    edit, says = UNSEALED[change]
    strip(folder)
    edit_lock(folder, edit)
    with pytest.raises(UserError, match=says):
        load(folder, strict=False)


def test_results_of_before_there_were_seals_load_and_are_said_to_have_none(folder: Path) -> None:
    before = load(folder)
    strip(folder)
    results = load(folder)
    pd.testing.assert_frame_equal(results.runs, before.runs)
    assert results.unsealed == ("suite.lock.yaml", *results.runs["key"])
    says = "6 runs and suite.lock.yaml carry no seal: nothing shows whether they were changed since."
    assert results.unsealed_sentence == says


def test_an_old_run_in_a_suite_that_went_on_is_said_to_have_none(folder: Path) -> None:
    run = run_folder(folder, CELL)
    without_seal(run)
    relock(folder)
    results = load(folder)
    assert results.unsealed == (run.name,)
    assert results.unsealed_sentence.startswith("1 run carries no seal: ")


@pytest.mark.parametrize("edit", ["seed", "files"])
def test_a_run_without_a_seal_still_has_to_fit_its_key_and_name_its_files(folder: Path, edit: str) -> None:
    strip(folder)
    by_hand(**{"seed": {"seed": 0}, "files": {"files": {}}}[edit])(run_folder(folder, CELL))
    says = {"seed": "seed is 0, its key says 1", "files": "spec.json: there, but manifest.json does not name it"}
    (row,) = load(folder, strict=False).missing.to_dict("records")
    assert says[edit] in row["message"]


def test_passes_of_throughput_are_those_of_the_lock(folder: Path) -> None:
    path = folder / "throughput.jsonl"
    path.write_text("")
    assert load(folder).unsealed == ("throughput.jsonl",)
    assert load(folder).unsealed_sentence.startswith("throughput.jsonl carries no seal: ")
    relock(folder)
    assert load(folder).unsealed == ()
    path.unlink()
    with pytest.raises(UserError, match=r"throughput\.jsonl: not the file of which suite\.lock\.yaml has the hash"):
        load(folder, strict=False)

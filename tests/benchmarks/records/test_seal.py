"""What a seal covers: the manifest of a run, with the hashes of its files, and the suite's lock."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from example_spec import SPEC
from ppo_vs_grpo.benchmarks.records.lock import read_lock, read_seals, seals_of, write_lock
from ppo_vs_grpo.benchmarks.records.manifest import read_manifest
from ppo_vs_grpo.benchmarks.records.recorder import Recorder
from ppo_vs_grpo.benchmarks.records.seal import seal_of, sealed
from ppo_vs_grpo.tasks.errors import UserError

ENDED = dict.fromkeys(
    ("updates", "completions", "tokens", "optimizer_steps", "train_s", "wall_s", "startup_s", "eval_s"), 1
)


def ended(folder: Path) -> Path:
    """A run's folder with nothing but its spec.json and its manifest."""
    run = folder / "runs" / SPEC.key
    run.mkdir(parents=True)
    (run / "spec.json").write_text("{}")
    fields = {"status": "ok", "error": None, "peak_rss_bytes": 1, "contended": False}
    Recorder(run, SPEC.identity).finish(ENDED | fields)
    return run


def by_hand(document: dict[str, Any]) -> str:
    """The SHA-256 of a document's JSON: keys in order, no spaces, without the seal."""
    bare = {name: document[name] for name in sorted(document) if name != "seal"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_a_seal_is_the_hash_of_canonical_json_whatever_the_order() -> None:
    assert seal_of({"b": 1, "a": [0.5, None]}) == hashlib.sha256(b'{"a":[0.5,null],"b":1}').hexdigest()
    assert seal_of({"a": [0.5, None], "seal": "x", "b": 1}) == seal_of({"b": 1, "a": [0.5, None]})
    assert list(sealed({"b": 1, "a": 2})) == ["b", "a", "seal"]
    assert sealed(sealed({"b": 1})) == sealed({"b": 1})


def test_a_manifest_ends_with_a_seal_over_all_of_it(tmp_path: Path) -> None:
    run = ended(tmp_path)
    manifest = json.loads((run / "manifest.json").read_text())
    assert list(manifest)[-2:] == ["files", "seal"]
    assert manifest["seal"] == by_hand(manifest)
    assert manifest["files"] == {"spec.json": hashlib.sha256(b"{}").hexdigest()}
    assert read_manifest(run, manifest["seal"]) == manifest


def test_a_lock_lists_the_seals_of_runs_that_ended_and_has_its_own(tmp_path: Path) -> None:
    run = ended(tmp_path)
    suite = {"name": "a", "arms": {SPEC.arm: {}}, "tasks": {SPEC.task: {"rate": 1e-05}}, "seeds": [SPEC.seed]}
    seals = seals_of([run, tmp_path / "runs" / "not-started"])
    write_lock(tmp_path, {"suite": suite, "hash": "0", "keys": [SPEC.key]}, seals)
    lock = yaml.safe_load((tmp_path / "suite.lock.yaml").read_text())
    assert lock["seals"] == {SPEC.key: json.loads((run / "manifest.json").read_text())["seal"]}
    assert lock["seal"] == by_hand(lock)
    assert read_lock(tmp_path) == (suite, [SPEC.key])
    assert read_seals(tmp_path) == seals


@pytest.mark.parametrize("value", ["2026-01-01", "{1: 2, a: 3}"])
def test_a_lock_of_what_json_does_not_know_is_changed(tmp_path: Path, value: str) -> None:
    suite = {"name": "a", "arms": {"ppo": {}}, "tasks": {"recall": {}}, "seeds": [0]}
    write_lock(tmp_path, {"suite": suite, "keys": []}, {})
    lock = tmp_path / "suite.lock.yaml"
    lock.write_text(lock.read_text() + f"more: {value}\n")
    with pytest.raises(UserError, match="changed since the suite wrote it"):
        read_lock(tmp_path)

"""Start models that were saved by somebody: what counts of a folder, and which folders are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ppo_vs_grpo.benchmarks.models import saved, store
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE, cache_folder
from ppo_vs_grpo.tasks.errors import UserError

CHOICE = ("countdown", {})


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"one")
    return folder


def digest(model: Path) -> str:
    return store.digest(str(model), *CHOICE)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"]
)
def test_whatever_a_run_reads_of_a_model_makes_another_start(model: Path, name: str) -> None:
    before = digest(model)
    assert digest(model) == before
    (model / name).write_bytes(b"changed")
    assert digest(model) != before


def test_a_readme_or_a_log_beside_a_model_changes_nothing(model: Path) -> None:
    before = digest(model)
    for name in ("README.md", "trainer_state.json", "optimizer.pt"):
        (model / name).write_text("new")
    assert digest(model) == before


def test_files_are_read_once_until_one_has_another_size_or_time(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(model)
    monkeypatch.setattr("hashlib.file_digest", None)  # whoever reads a file now fails
    assert digest(model) == before
    os.utime(model / "model.safetensors", ns=(0, 1))
    with pytest.raises(TypeError):
        digest(model)
    monkeypatch.undo()


@pytest.mark.parametrize("memory", ["", "[]", '{"x": 1}', "{"])
def test_a_damaged_memory_costs_only_the_time_to_read(model: Path, memory: str) -> None:
    before = digest(model)
    place = cache_folder() / saved.MEMORY
    assert json.loads(place.read_text())[str(model)]["digest"] == before
    place.write_text(memory)
    assert digest(model) == before


def test_a_memory_that_cannot_be_written_is_done_without(model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert len(digest(model)) == 12


def test_a_path_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"neither an embedded size \(nano, tiny, small, medium\) nor smollm2, a folder"
    ):
        store.locate(str(tmp_path / "none"), *CHOICE, tmp_path)
    with pytest.raises(UserError, match=r"no model saved by save_pretrained .* is in this folder"):
        store.locate(str(tmp_path), *CHOICE, tmp_path)


@pytest.mark.parametrize(
    ("instead", "why"), [("pytorch_model.bin", "pytorch_model.bin is pickled"), ("README.md", "it has no weights")]
)
def test_weights_are_safetensors_or_the_model_is_refused(model: Path, instead: str, why: str) -> None:
    (model / "model.safetensors").rename(model / instead)
    with pytest.raises(UserError, match=f"{why}.*save the model as safetensors"):
        digest(model)

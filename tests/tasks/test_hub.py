"""Datasets in the hub's format, read from a folder and from the cache; nothing is downloaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.load import httpx

from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.dataset import Dataset
from ppo_vs_grpo.tasks.errors import UserError
from word_problems import GSM8K

CARD = "".join(
    f"- config_name: {config}\n  data_files:\n"
    + "".join(f"  - split: {split}\n    path: {config}/{split}-*\n" for split in ("train", "test"))
    for config in ("main", "socratic")
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and no connection."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """GSM8K as the hub has it: a card that lists configurations, and a Parquet file a split."""
    place = tmp_path / "gsm8k"
    for config in ("main", "socratic"):
        (place / config).mkdir(parents=True)
        for split, rows in (("train", GSM8K[:30]), ("test", GSM8K[30:])):
            pq.write_table(pa.Table.from_pylist(rows), place / config / f"{split}-00000-of-00001.parquet")
    (place / "README.md").write_text(f"---\nconfigs:\n{CARD}---\n# Grade school math\n")
    return place


def test_a_dataset_of_the_hub_keeps_its_own_test_split(folder: Path) -> None:
    task = make("gsm8k", {"source": str(folder)})
    assert isinstance(task, Dataset)
    assert [problem.facts["question"] for problem in task.rows("heldout")] == [row["question"] for row in GSM8K[30:]]
    assert len(task.rows("train")) + len(task.rows("validation")) == 30
    assert task.rows("heldout")[0].facts["answer"] == "1,077"


def test_a_split_may_be_named_for_another(folder: Path) -> None:
    task = make("gsm8k", {"source": str(folder), "config": "socratic", "test": "test"})
    assert isinstance(task, Dataset)
    assert len(task.rows("heldout")) == 10
    with pytest.raises(UserError, match=r"^options\.test: 10 of 10 heldout prompts are validation prompts too"):
        make("gsm8k", {"source": str(folder), "validation": "test"})
    with pytest.raises(UserError, match=r"^options\.test: .*gsm8k has no split 'tset'; did you mean 'test'"):
        make("gsm8k", {"source": str(folder), "test": "tset"})


def test_one_split_only_goes_by_the_hash(folder: Path) -> None:
    shutil.rmtree(folder / "socratic")
    (folder / "main" / "train-00000-of-00001.parquet").unlink()
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: test\n    path: main/test-*\n---\n"
    )
    task = make("gsm8k", {"source": str(folder)})
    assert isinstance(task, Dataset)
    assert sum(len(task.rows(split)) for split in ("train", "validation", "heldout")) == 10
    assert len(task.rows("train")) > 0


def test_a_dataset_in_the_cache_needs_no_connection(folder: Path, cache: Path) -> None:
    datasets.load_dataset(str(folder), "main")
    (found,) = [path for path in cache.iterdir() if path.is_dir()]
    found.rename(cache / "openai___gsm8k")
    for arrow in (cache / "openai___gsm8k").rglob("gsm8k-*.arrow"):
        assert arrow.name in ("gsm8k-train.arrow", "gsm8k-test.arrow")
    task = make("gsm8k")
    assert isinstance(task, Dataset)
    assert task.rows("heldout")[0].facts["answer"] == "1,077"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "openai/other"}, ["options.source: 'openai/other': the hub cannot be reached", "load it once"]),
        ({"source": "FOLDER", "config": "mian"}, ["options.config: 'mian'", "'main', 'socratic'"]),
        ({"source": "FOLDER", "config": None}, ["options.config: None", "'main', 'socratic'"]),
        ({"source": "EMPTY"}, ["options.source:", "cannot be loaded"]),
    ],
)
def test_what_cannot_be_loaded_is_told(folder: Path, tmp_path: Path, options: dict[str, str], words: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    places = {"FOLDER": str(folder), "EMPTY": str(tmp_path / "empty")}
    with pytest.raises(UserError) as caught:
        make("gsm8k", {**options, "source": places.get(options["source"], options["source"])})
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "RepoNotFound", "there is no such dataset on the hub, or it is private"),
        (403, "GatedRepo", "a gated dataset: ask for access"),
        (401, "GatedRepo", "a gated dataset: ask for access"),
        (404, "RevisionNotFound", "options.revision: 'v9': openai/gsm8k has no such revision"),
    ],
)
def test_what_the_hub_answers_is_told(monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str) -> None:
    """The hub's errors come as it sends them: a status and the header X-Error-Code."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"X-Error-Code": code}, request=request)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    client = httpx.Client(transport=httpx.MockTransport(answer))
    monkeypatch.setattr("huggingface_hub.utils._http._GLOBAL_CLIENT", client)
    with pytest.raises(UserError) as caught:
        make("gsm8k", {"revision": "v9"})
    assert words in str(caught.value)

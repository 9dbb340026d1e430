"""Start models of the hub: a branch becomes a commit, only what a run reads is fetched, refusals have their words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

import hub_server
from hub_server import COMMIT
from ppo_vs_grpo.benchmarks.models import hub, reward, store
from ppo_vs_grpo.benchmarks.models.judge import open_judge
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from ppo_vs_grpo.benchmarks.suites.resolve import resolve
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards.models import ModelReward
from tiny_models import save_model

CHOICE = ("countdown", {})
OTHER = "f" * 40


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def known(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with one model, offline."""
    folder = tmp_path / "hub" / "models--org--model"
    shutil.copytree(model, folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    hub.commit_of.cache_clear()
    return folder


@pytest.fixture
def online(known: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that answers, and an empty cache; the files that are downloaded."""
    shutil.rmtree(known)
    (model / "README.md").write_text("not read")
    (model / "onnx").mkdir()
    for name in ("pytorch_model.bin", "consolidated.safetensors", "onnx/model.safetensors"):
        (model / name).write_bytes(b"not read")
    with hub_server.hub(model) as (address, downloaded):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield downloaded


def test_without_a_network_a_branch_is_what_the_cache_remembers(known: Path) -> None:
    for name in ("org/model", "org/model@main", f"org/model@{COMMIT}"):
        found = store.find(name, *CHOICE)
        assert (found.name, found.digest) == (f"org/model@{COMMIT}", COMMIT)
    assert str(found.path) == "org--model.0123456789ab"


def test_the_commit_stands_in_the_specs_of_a_suite(known: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{start: org/model, tasks: [countdown], arms: {g: {algorithm: grpo}}, seeds: 1}")
    specs = resolve(load_suite(path), "mine.yaml")
    assert {(spec.start, spec.start_hash) for spec in specs} == {(f"org/model@{COMMIT}", COMMIT)}


def test_the_build_links_to_the_files_of_the_cache_and_does_so_again_when_they_are_gone(
    known: Path, model: Path, tmp_path: Path
) -> None:
    """By the command that a suite starts."""
    environment = os.environ | {"HF_HUB_CACHE": str(known.parent), "HF_HUB_OFFLINE": "1"}
    choice = json.dumps({"task": "countdown", "options": {}})
    module = "ppo_vs_grpo.benchmarks.models.store"
    command = [sys.executable, "-P", "-m", module, "org/model@main", choice, "--cache", str(tmp_path / "cache")]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    folder = Path(made.stdout.strip())
    assert folder == tmp_path / "cache" / "org--model.0123456789ab"
    assert (folder / "model.safetensors").is_symlink()
    assert (folder / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    snapshot = known / "snapshots" / COMMIT
    snapshot.rename(known / "snapshots" / "elsewhere")
    with pytest.raises(UserError, match="the hub cannot be reached"):
        store.build(f"org/model@{COMMIT}", *CHOICE, tmp_path / "cache")
    (known / "snapshots" / "elsewhere").rename(snapshot)
    assert (store.build(f"org/model@{COMMIT}", *CHOICE, tmp_path / "cache") / "config.json").is_file()


def test_a_folder_comes_before_a_name_of_the_hub(
    known: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    model.rename(tmp_path / "org" / "model")
    found = store.find("org/model", *CHOICE)
    assert (found.name, found.path) == ("org/model", tmp_path / "org" / "model")


@pytest.mark.parametrize("name", ["org/other", "org/model@other", f"org/model@{OTHER}"])
def test_without_a_network_what_the_cache_lacks_is_refused(known: Path, name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no folder here, and the hub cannot be reached .* nor has its cache"):
        store.build(name, *CHOICE, tmp_path / "cache")


def test_a_hub_that_is_down_is_as_none(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    assert store.digest("org/model", *CHOICE) == COMMIT
    with pytest.raises(UserError, match="the hub cannot be reached"):
        store.digest("org/other", *CHOICE)


def test_only_what_a_run_reads_is_downloaded(online: list[str], tmp_path: Path) -> None:
    assert store.digest("org/model", *CHOICE) == COMMIT
    assert online == []
    folder = store.build("org/model", *CHOICE, tmp_path / "cache")
    expected = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in folder.iterdir()} == set(online) == expected


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("org/gone", "is neither a folder here nor a model of the hub; for one that is private set HF_TOKEN"),
        ("org/gated", "this model is gated: accept its terms on the hub, then set HF_TOKEN"),
        ("org/branch@v2", "the hub has this model, but no revision 'v2' of it"),
        ("org/odd", "the hub answers: .*418"),
    ],
)
@pytest.mark.usefixtures("online")
def test_each_refusal_of_the_hub_has_its_words(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        store.digest(name, *CHOICE)
    with pytest.raises(UserError, match=why.replace("v2", OTHER)):
        store.build(f"{name.partition('@')[0]}@{OTHER}", *CHOICE, tmp_path / "cache")


def test_a_revision_without_safetensors_is_refused(known: Path, tmp_path: Path) -> None:
    (known / "snapshots" / COMMIT / "model.safetensors").rename(known / "snapshots" / COMMIT / "pytorch_model.bin")
    with pytest.raises(UserError, match="this revision has no safetensors"):
        store.build("org/model", *CHOICE, tmp_path / "cache")


def test_what_was_downloaded_is_admitted_before_it_appears(known: Path, tmp_path: Path) -> None:
    (known / "snapshots" / COMMIT / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="its tokenizer cannot be read"):
        store.build("org/model", *CHOICE, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def of_rewards(folder: Path, rewarded: object) -> list[RunSpec]:
    """The runs of a suite whose rows are rewarded so."""
    (folder / "rows.jsonl").write_text("\n".join(json.dumps({"q": f"{n}="}) for n in range(60)))
    options = {"source": str(folder / "rows.jsonl"), "prompt": "q", "reward": rewarded}
    suite = {"tasks": {"sums": {"task": "dataset", "options": options}}, "start": "org/model", "seeds": 1}
    path = folder / "mine.yaml"
    path.write_text(json.dumps(suite | {"arms": {"g": {"algorithm": "grpo"}}, "eval": {"prompts": 4}, "timing": None}))
    return resolve(load_suite(path), "mine.yaml")


def test_a_reward_model_counts_by_its_commit(known: Path, model: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"}))
    asked = [
        {"model": "org/model", "name": "one"},
        {"model": f"org/model@{COMMIT}", "name": "two"},
        {"preferences": str(pairs), "base": "org/model@main"},
        {"model": str(model), "name": "here"},
    ]
    (before,) = of_rewards(tmp_path, asked)
    named = [{"model": f"org/model@{COMMIT}"}] * 2 + [{"base": f"org/model@{COMMIT}"}, {}]
    assert before.task_choice.options["reward"] == [given | name for given, name in zip(asked, named, strict=True)]
    assert of_rewards(tmp_path, asked)[0].key == before.key
    (known / "refs" / "main").write_text(OTHER)
    hub.commit_of.cache_clear()
    (after,) = of_rewards(tmp_path, asked)
    assert after.task_choice.options["reward"][0]["model"] == f"org/model@{OTHER}"
    assert after.task_data != before.task_data
    assert of_rewards(tmp_path, asked[1])[0].task_choice.options["reward"] == asked[1]
    with pytest.raises(UserError, match=r"^mine.yaml: tasks.sums.options.reward.model: 'org/other@main' is no folder"):
        of_rewards(tmp_path, {"model": "org/other"})


def test_reward_models_are_fetched_once_and_judge_without_a_network(
    online: list[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward.download({"reward": [{"reward": "number"}, {"model": f"org/model@{COMMIT}"}]})
    assert set(online) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert "onnx/model.safetensors" not in online
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=rf"^options.reward.model: 'org/model@{COMMIT}': it has 2 labels"):
        open_judge(ModelReward("m", f"org/model@{COMMIT}"))
    with pytest.raises(
        UserError, match=r"^options.reward.model: 'org/model@f.* cannot be reached .* nor has its cache"
    ):
        reward.download({"reward": {"model": f"org/model@{OTHER}"}})
    reward.download({"reward": {"model": str(model)}})

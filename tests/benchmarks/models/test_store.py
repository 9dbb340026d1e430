"""Start models: found by content, built once, loaded as any Hugging Face model."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from ppo_vs_grpo.benchmarks.models import embedded, start, store, tiny
from ppo_vs_grpo.benchmarks.models.start import path_of
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE, cache_folder
from ppo_vs_grpo.tasks.errors import UserError

CHOICE: tuple[str, dict[str, Any]] = ("countdown", {})
QUICK = tiny.Size(hidden=16, layers=1, heads=1, intermediate=16, learning_rate=1e-3, demonstrations=64, steps=2)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny.SIZES, "nano", QUICK)


def test_the_cache_folder_is_the_option_then_the_variable_then_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "variable"))
    assert cache_folder(tmp_path / "option") == tmp_path / "option"
    assert cache_folder() == tmp_path / "variable"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert "ppo-vs-grpo" in str(cache_folder())


def test_what_makes_a_start_model_decides_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = store.locate("nano", *CHOICE, tmp_path)
    assert store.locate("nano", *CHOICE, tmp_path) == plain
    others = [
        store.locate("tiny", *CHOICE, tmp_path),
        store.locate("nano", "countdown", {"demo_accuracy": 0.5}, tmp_path),
    ]
    monkeypatch.setitem(tiny.SIZES, "nano", QUICK)
    embedded.hash_of_recipe.cache_clear()
    others.append(store.locate("nano", *CHOICE, tmp_path))
    embedded.hash_of_recipe.cache_clear()
    assert len({plain, *others}) == 4


@pytest.mark.parametrize(
    ("task", "options", "name"),
    [
        ("countdown", {}, "nano.countdown.7e880a096397"),
        ("learned", {"task": "sorting", "models": 2, "label_temperature": 0.5}, "nano.learned.0fdc339f7634"),
        ("lengths", {"mean_tokens": 8}, "nano.lengths.e6ab73a56987"),
    ],
)
def test_folders_keep_their_names_so_that_start_models_of_earlier_runs_are_found(
    task: str, options: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "version", lambda package: "1.0")
    embedded.hash_of_recipe.cache_clear()
    assert store.locate("nano", task, options, tmp_path).name == name
    embedded.hash_of_recipe.cache_clear()


@pytest.mark.parametrize(
    ("size", "low", "high"), [("nano", 0.1, 0.35), ("tiny", 0.8, 1.0), ("small", 4.5, 5.5), ("medium", 25, 27)]
)
def test_sizes_have_the_parameters_they_promise(size: str, low: float, high: float) -> None:
    model = tiny.untrained(tiny.SIZES[size], tiny.tokenizer())
    assert low <= sum(p.numel() for p in model.parameters()) / 1e6 <= high


def test_the_tokenizer_has_a_token_per_character_and_gives_the_text_back() -> None:
    tokenizer = tiny.tokenizer()
    ids = tokenizer(tiny.CHARACTERS)["input_ids"]
    assert len(ids) == len(set(ids)) == len(tiny.CHARACTERS)
    assert tokenizer.decode(ids) == tiny.CHARACTERS
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id}) == 4


@pytest.mark.usefixtures("quick")
def test_several_processes_build_one_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two builds at once: one trains, the other waits and finds it. The model loads, and ends what it was taught."""
    code = (
        "import sys; from pathlib import Path; from ppo_vs_grpo.benchmarks.models import embedded, store, tiny\n"
        f"tiny.SIZES['nano'] = tiny.{QUICK!r}\n"
        "made = embedded.warm_start\n"
        "embedded.warm_start = lambda *args: (print('trained', file=sys.stderr), made(*args))\n"
        f"print(store.build('nano', 'countdown', {{}}, Path({str(tmp_path)!r})))"
    )
    command = [sys.executable, "-P", "-c", code]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True, check=True), range(2)))
    assert sum(line == "trained" for run in runs for line in run.stderr.splitlines()) == 1
    (folder,) = {Path(run.stdout.strip().splitlines()[-1]) for run in runs}
    assert start.is_built(folder)
    embedded.hash_of_recipe.cache_clear()
    assert store.locate("nano", *CHOICE, tmp_path) == folder
    assert not list(tmp_path.glob(".building-*"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == "llama"
    assert tokenizer("3,5")["input_ids"] == tiny.tokenizer()("3,5")["input_ids"]
    embedded.hash_of_recipe.cache_clear()


def test_a_cache_that_cannot_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*choose another with --cache"):
        store.build("nano", *CHOICE, tmp_path / "file" / "cache")


def test_a_folder_whose_links_lead_nowhere_is_made_again(tmp_path: Path) -> None:
    def write(folder: Path, cache: Path) -> None:
        (folder / "config.json").write_text("{}")

    found = start.Start("mine", "0", Path("mine.0"), write)
    folder = found.folder(tmp_path)
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert start.is_built(folder)
    (folder / "model.safetensors").symlink_to(tmp_path / "gone")
    assert not start.is_built(folder)
    assert start.built(found, tmp_path) == folder
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_a_name_that_no_file_can_have_is_no_start() -> None:
    with pytest.raises(UserError, match=r"^start: x{40}: File name too long$"):
        store.find("x" * 5000, "countdown", {})


def test_a_hub_name_may_begin_like_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org").write_text("a file")
    monkeypatch.chdir(tmp_path)
    assert path_of("start", "org/name") == Path("org/name")

"""Start models: found by content, built once, loaded as any Hugging Face model."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from ppo_vs_grpo.benchmarks import starts
from ppo_vs_grpo.benchmarks.spec import TaskChoice
from ppo_vs_grpo.tasks.errors import UserError

CHOICE = TaskChoice(task="countdown")
QUICK = starts.Size(hidden=16, layers=1, heads=1, intermediate=16, learning_rate=1e-3, demonstrations=64, steps=2)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(starts.SIZES, "nano", QUICK)


def test_the_cache_folder_is_the_option_then_the_variable_then_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(starts.CACHE_VARIABLE, str(tmp_path / "variable"))
    assert starts.cache_folder(tmp_path / "option") == tmp_path / "option"
    assert starts.cache_folder() == tmp_path / "variable"
    monkeypatch.delenv(starts.CACHE_VARIABLE)
    assert "ppo-vs-grpo" in str(starts.cache_folder())


def test_what_makes_a_start_model_decides_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = starts.locate("nano", CHOICE, tmp_path)
    assert starts.locate("nano", CHOICE, tmp_path) == plain
    others = [
        starts.locate("tiny", CHOICE, tmp_path),
        starts.locate("nano", TaskChoice(task="countdown", options={"demo_accuracy": 0.5}), tmp_path),
    ]
    monkeypatch.setitem(starts.SIZES, "nano", QUICK)
    starts._hash_of_recipe.cache_clear()
    others.append(starts.locate("nano", CHOICE, tmp_path))
    starts._hash_of_recipe.cache_clear()
    assert len({plain, *others}) == 4


def test_a_path_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither an embedded size \(nano, tiny, small\) nor a folder with a model"):
        starts.locate(str(tmp_path), CHOICE, tmp_path)


def test_a_changed_model_at_a_path_is_another_start(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = starts.digest(str(tmp_path), CHOICE)
    assert starts.digest(str(tmp_path), CHOICE) == before
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert starts.digest(str(tmp_path), CHOICE) != before


@pytest.mark.parametrize(("size", "low", "high"), [("nano", 0.1, 0.35), ("tiny", 0.8, 1.0), ("small", 4.5, 5.5)])
def test_sizes_have_the_parameters_they_promise(size: str, low: float, high: float) -> None:
    model = starts.untrained(starts.SIZES[size], starts.tokenizer())
    assert low <= sum(p.numel() for p in model.parameters()) / 1e6 <= high


def test_the_tokenizer_has_a_token_per_character_and_gives_the_text_back() -> None:
    tokenizer = starts.tokenizer()
    ids = tokenizer(starts.CHARACTERS)["input_ids"]
    assert len(ids) == len(set(ids)) == len(starts.CHARACTERS)
    assert tokenizer.decode(ids) == starts.CHARACTERS
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id}) == 4


@pytest.mark.usefixtures("quick")
def test_several_processes_build_one_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two builds at once: one trains, the other waits and finds it. The model loads, and ends what it was taught."""
    code = (
        "import sys; from pathlib import Path; from ppo_vs_grpo.benchmarks import starts\n"
        "from ppo_vs_grpo.benchmarks.spec import TaskChoice\n"
        f"starts.SIZES['nano'] = starts.{QUICK!r}\n"
        "made = starts._warm_start\n"
        "starts._warm_start = lambda *args: (print('trained', file=sys.stderr), made(*args))\n"
        f"print(starts.build('nano', TaskChoice(task='countdown'), Path({str(tmp_path)!r})))"
    )
    command = [sys.executable, "-P", "-c", code]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True, check=True), range(2)))
    assert sum(line == "trained" for run in runs for line in run.stderr.splitlines()) == 1
    (folder,) = {Path(run.stdout.strip().splitlines()[-1]) for run in runs}
    assert starts.is_built(folder)
    starts._hash_of_recipe.cache_clear()
    assert starts.locate("nano", CHOICE, tmp_path) == folder
    assert not list(tmp_path.glob(".building-*"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == "llama"
    assert tokenizer("3,5")["input_ids"] == starts.tokenizer()("3,5")["input_ids"]
    starts._hash_of_recipe.cache_clear()


def test_a_cache_that_cannot_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*choose another with --cache"):
        starts.build("nano", CHOICE, tmp_path / "file" / "cache")

"""Start models from GGUF: numbers as in the file, tokens as its tokenizer would cut them, a folder made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ppo_vs_grpo.benchmarks.models import admission, gguf, store
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from ppo_vs_grpo.tasks.errors import UserError
from tiny_models import SPECIAL, TEMPLATE, save_gguf

CHOICE = ("countdown", {})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_file_becomes_a_model_of_the_same_numbers(tmp_path: Path, cache: Path) -> None:
    tensors = save_gguf(tmp_path / "one.gguf")
    folder = store.build(str(tmp_path), *CHOICE, cache)
    assert folder == store.locate(str(tmp_path / "one.gguf"), *CHOICE, cache)  # the folder, or the file in it
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    assert found["model.embed_tokens.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["model.embed_tokens.weight"], tensors["token_embd"])
    np.testing.assert_array_equal(found["model.layers.0.self_attn.v_proj.weight"], tensors["blk.0.attn_v"])
    np.testing.assert_array_equal(found["model.layers.0.mlp.down_proj.weight"], tensors["blk.0.ffn_down"])
    assert admission.quantization(folder) is None
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (SPECIAL[2], SPECIAL[2], SPECIAL[1])
    assert tokenizer.chat_template == TEMPLATE
    assert model.generation_config.eos_token_id == 2
    assert torch.isfinite(model(input_ids=torch.arange(8)[None]).logits).all()


@pytest.mark.parametrize(("digits_apart", "parts"), [(True, ["1", "\n\n", "2"]), (False, ["1", "\n", "\n", "2"])])
def test_a_tokenizer_that_takes_digits_first_cuts_text_so(
    tmp_path: Path, cache: Path, digits_apart: bool, parts: list[str]
) -> None:
    save_gguf(tmp_path / "one.gguf", digits_apart)
    tokenizer = AutoTokenizer.from_pretrained(store.build(str(tmp_path), *CHOICE, cache))
    assert [tokenizer.decode([token]) for token in tokenizer("1\n\n2")["input_ids"]] == parts


def test_several_files_are_named_and_one_of_them_can_be(tmp_path: Path) -> None:
    save_gguf(tmp_path / "a.gguf")
    shutil.copy(tmp_path / "a.gguf", tmp_path / "b.gguf")
    with pytest.raises(UserError, match=r"several GGUF files \(a.gguf, b.gguf\); name one, such as .*/a.gguf"):
        store.digest(str(tmp_path), *CHOICE)
    assert len(store.digest(str(tmp_path / "b.gguf"), *CHOICE)) == 12


def test_the_digest_is_that_of_file_recipe_and_versions(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "one.gguf"
    save_gguf(file)
    digests = [store.digest(str(file), *CHOICE), gguf.find("x", file, cache, other_ends=SPECIAL[:1]).digest]
    monkeypatch.setattr(gguf, "version", lambda package: "1.0")
    digests.append(store.digest(str(file), *CHOICE))
    monkeypatch.setattr(gguf, "RECIPE", 0)
    digests.append(store.digest(str(file), *CHOICE))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    digests.append(store.digest(str(file), *CHOICE))
    assert len(set(digests)) == 5
    assert not list(cache.glob("one.*"))  # nothing was converted for it


def test_a_file_that_is_no_gguf_is_named(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(b"GGML" + bytes(100))
    with pytest.raises(UserError, match=r"one.gguf': this GGUF file cannot be converted: "):
        store.build(str(tmp_path / "one.gguf"), *CHOICE, cache)
    assert not list(cache.glob(".building-*"))


def test_without_gguf_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_gguf(tmp_path / "one.gguf")
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"reading GGUF needs gguf, not installed: pip install 'ppo-vs-grpo\[gguf\]'"):
        store.digest(str(tmp_path), *CHOICE)

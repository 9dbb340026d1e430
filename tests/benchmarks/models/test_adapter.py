"""Start models from LoRA adapters: merged they are what they were beside their base model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from ppo_vs_grpo.benchmarks.models import adapter, store
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE, cache_folder
from ppo_vs_grpo.tasks.errors import UserError
from tiny_models import change_json, save_adapter, save_model

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # the old name, by which peft asks

CHOICE = ("countdown", {})


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    save_model(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapted(base: Path, tmp_path: Path) -> Path:
    save_adapter(tmp_path / "adapted", base)
    return tmp_path / "adapted"


def build(start: Path) -> Path:
    return store.build(str(start), *CHOICE, cache_folder())


def test_merged_logits_are_those_of_base_and_adapter(base: Path, adapted: Path) -> None:
    tokens_BT = torch.randint(0, 90, (3, 12), generator=torch.Generator().manual_seed(0))
    model = AutoModelForCausalLM.from_pretrained(base)
    plain = model(input_ids=tokens_BT).logits
    unmerged = PeftModel.from_pretrained(model, adapted)(input_ids=tokens_BT).logits
    folder = build(adapted)
    merged = AutoModelForCausalLM.from_pretrained(folder)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(merged(input_ids=tokens_BT).logits, unmerged, atol=1e-5, rtol=0)
    assert (plain - unmerged).abs().max() > 0.1  # the adapter does something
    assert (
        AutoTokenizer.from_pretrained(folder)("3+4")["input_ids"]
        == AutoTokenizer.from_pretrained(base)("3+4")["input_ids"]
    )


def test_the_digest_is_that_of_adapter_and_base(base: Path, adapted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [store.digest(str(adapted), *CHOICE)]
    (adapted / "README.md").write_text("new")
    assert store.digest(str(adapted), *CHOICE) == digests[0]
    change_json(adapted / "adapter_config.json", lora_alpha=8)
    digests.append(store.digest(str(adapted), *CHOICE))
    change_json(base / "config.json", rope_theta=1)
    digests.append(store.digest(str(adapted), *CHOICE))
    monkeypatch.setattr(adapter, "RECIPE", 0)
    digests.append(store.digest(str(adapted), *CHOICE))
    assert len(set(digests)) == 4


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"peft_type": "IA3"}, "no LoRA adapter of a causal language model"),
        ({"task_type": "SEQ_CLS"}, "no LoRA adapter of a causal language model"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path: None: should name a model"),
        ({"base_model_name_or_path": "nowhere"}, "base_model_name_or_path: 'nowhere' is neither an embedded size"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused(adapted: Path, changes: dict[str, str], why: str) -> None:
    change_json(adapted / "adapter_config.json", **changes)
    with pytest.raises(UserError, match=why):
        store.digest(str(adapted), *CHOICE)


def test_an_adapter_of_an_adapter_is_refused(adapted: Path) -> None:
    change_json(adapted / "adapter_config.json", base_model_name_or_path=str(adapted))
    with pytest.raises(UserError, match=r"base_model_name_or_path: .* should name a model"):
        store.digest(str(adapted), *CHOICE)


@pytest.mark.parametrize(
    ("instead", "why"), [("adapter_model.bin", "adapter_model.bin is pickled"), ("README.md", "it has no weights")]
)
def test_weights_are_safetensors_or_the_adapter_is_refused(adapted: Path, instead: str, why: str) -> None:
    (adapted / "adapter_model.safetensors").rename(adapted / instead)
    with pytest.raises(UserError, match=f"{why}.*save the adapter as adapter_model.safetensors"):
        store.digest(str(adapted), *CHOICE)


def test_without_peft_the_extra_is_named(adapted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"an adapter needs peft, not installed: pip install 'ppo-vs-grpo\[lora\]'"):
        store.digest(str(adapted), *CHOICE)


def test_a_quantised_base_is_refused(base: Path, adapted: Path) -> None:
    change_json(base / "config.json", quantization_config={"quant_method": "gptq"})
    with pytest.raises(UserError, match=r"weights of its base model are quantised \(gptq\)"):
        build(adapted)


def test_an_adapter_of_another_shape_is_refused(base: Path, adapted: Path) -> None:
    change_json(adapted / "adapter_config.json", r=3)
    with pytest.raises(UserError, match="this adapter does not fit its base model"):
        build(adapted)


def test_a_merge_that_changes_the_model_is_refused(base: Path, adapted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([torch.tensor([1.0]), torch.tensor([1.01])])
    monkeypatch.setattr(adapter, "_logits", lambda model, rows: next(answers))
    with pytest.raises(UserError, match="merged into its base model the adapter gives other logits"):
        build(adapted)

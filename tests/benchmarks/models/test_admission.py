"""What a saved model must have to be a start, said without reading its weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppo_vs_grpo.benchmarks.models import admission
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from ppo_vs_grpo.benchmarks.suites.resolve import resolve
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from ppo_vs_grpo.tasks.errors import UserError
from tiny_models import change_json, save_model

QUANTISED = {"quant_method": "gptq", "bits": 4}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    save_model(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"never read")
    return tmp_path / "model"


def suite(tmp_path: Path, model: Path, arm_train: str = "") -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"{{start: {model}, tasks: [countdown], arms: {{g: {{algorithm: grpo{arm_train}}}}}, seeds: 1, train: "
        "{completions: 8, prompts_per_update: 4, group_size: 2}}"
    )
    return path


def test_a_saved_model_is_admitted(model: Path) -> None:
    admission.check("mine", model)
    assert admission.quantization(model) is None


@pytest.mark.parametrize(
    ("file", "changes", "why"),
    [
        (
            "config.json",
            {"model_type": "mine", "auto_map": {"AutoConfig": "x.Y"}},
            r"its architecture 'mine' is code that comes with it \(auto_map\), and such code is not run here",
        ),
        ("config.json", {"model_type": "mine"}, "model_type 'mine' is no causal language model that transformers"),
        ("config.json", {"vocab_size": 99}, r"its tokenizer has 100 tokens, its embedding 99 rows"),
        ("tokenizer_config.json", {"eos_token": None}, r"its tokenizer has no end token \(eos_token\)"),
    ],
)
def test_what_a_model_lacks_is_said_before_the_first_run(
    model: Path, tmp_path: Path, file: str, changes: dict[str, object], why: str
) -> None:
    change_json(model / file, **changes)
    with pytest.raises(UserError, match=f"mine.yaml: start: .*{why}"):
        resolve(load_suite(suite(tmp_path, model)), "mine.yaml")


def test_code_beside_a_model_does_not_matter_where_transformers_has_the_architecture(model: Path) -> None:
    change_json(model / "config.json", auto_map={"AutoConfig": "x.Y"})
    admission.check("mine", model)


def test_a_model_without_a_tokenizer_is_refused(model: Path) -> None:
    for file in model.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match="there is no tokenizer in its folder; save it there too"):
        admission.check("mine", model)


def test_a_tokenizer_that_cannot_be_read_is_refused(model: Path) -> None:
    (model / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="its tokenizer cannot be read: "):
        admission.check("mine", model)


def test_a_damaged_config_is_refused(model: Path) -> None:
    (model / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json cannot be read"):
        admission.check("mine", model)


def test_quantised_weights_are_refused_where_all_of_them_would_be_trained(model: Path, tmp_path: Path) -> None:
    change_json(model / "config.json", quantization_config=QUANTISED)
    with pytest.raises(UserError, match=r"arms.g.train.lora_rank: null: the weights of the start .* \(gptq\)"):
        resolve(load_suite(suite(tmp_path, model)), "mine.yaml")
    specs = resolve(load_suite(suite(tmp_path, model, ", train: {lora_rank: 2}")), "mine.yaml")
    assert {spec.train.lora_rank for spec in specs} == {2}


def test_quantised_weights_are_refused_in_a_cell_of_the_clock(model: Path, tmp_path: Path) -> None:
    change_json(model / "config.json", quantization_config=QUANTISED)
    loaded = load_suite(
        suite(tmp_path, model),
        ["start=nano", f"timing={{updates: 1, cells: {{c: {{task: countdown, start: {model}}}}}}}"],
    )
    with pytest.raises(UserError, match=r"arms.g.train.lora_rank: null: the weights of the start .* \(gptq\)"):
        resolve(loaded, "mine.yaml")

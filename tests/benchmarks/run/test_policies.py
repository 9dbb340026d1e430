"""What a run ended with, as other libraries read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from example_spec import SPEC
from ppo_vs_grpo.algorithms import entry
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models import store, tiny
from ppo_vs_grpo.benchmarks.records.manifest import changed_weights
from ppo_vs_grpo.benchmarks.run import trainers, worker
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from run_folders import prepared

IDS = torch.tensor([[40, 41, 42, 43, 44]])
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # peft asks for it
    "ignore:fan_in_fan_out is set to False",  # peft sees how GPT-2's layers are laid out, sets this and warns
)
READABLE = slice(4, None)
"""Behind pad, begin, end and unknown: what a policy in training may say."""


def a_run(arm: str, rank: int | None) -> RunSpec:
    train = TrainConfig(
        completions=24, prompts_per_update=2, group_size=4, max_new_tokens=4, lora_rank=rank, learning_rate=0.1
    )
    few = EvalConfig(prompts=2, samples=1, points=2, transcripts=0)
    return SPEC.model_copy(
        update={"arm": arm, "algorithm": arm, "config": entry(arm).config, "train": train, "eval": few}
    )


def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: RunSpec) -> tuple[Path, Path, Trainer]:
    """The folder of a run that kept its networks, its start model, and its trainer."""
    folder, model = prepared(tmp_path, spec)
    made: list[Trainer] = []

    def keep(*args: object, **options: object) -> Trainer:
        made.append(trainers.make_trainer(*args, **options))
        return made[0]

    monkeypatch.setattr(worker, "make_trainer", keep)
    assert worker.main([str(folder), str(model), "--save-policies"]) == 0
    assert json.loads((folder / "manifest.json").read_text())["error"] is None
    return folder, model, made[0]


def logits(network: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return network(input_ids=IDS).logits[0]


def differing(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    return [name for name in ours | theirs if not torch.equal(ours[name], theirs[name])]


@pytest.mark.filterwarnings("ignore")  # TRL's own
def test_a_peers_policy_is_kept_as_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = a_run("grpo", None).model_copy(update={"arm": "trl-grpo", "algorithm": "trl-grpo"})
    folder, _ = prepared(tmp_path, spec)
    start, characters = tmp_path / "rotary", tiny.tokenizer()
    size = tiny.Size(hidden=32, layers=2, heads=2, intermediate=32, learning_rate=1e-3)
    tiny.untrained(size, characters, tied=True).save_pretrained(start)
    characters.save_pretrained(start)

    def moved(*args: object, **options: object) -> object:
        """A trainer whose policy has left the start, which so few rewards need not bring about."""
        trainer = trainers.make_trainer(*args, **options)
        with torch.no_grad():
            trainer.policy.model.norm.weight.add_(1)
        return trainer

    monkeypatch.setattr(worker, "make_trainer", moved)
    assert worker.main([str(folder), str(start), "--save-policies"]) == 0
    kept, began = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (folder / "policy", start))
    assert "model.norm.weight" in differing(kept, began)
    assert not (folder / "critic").exists()


def test_transformers_loads_policy_and_critic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, model, trainer = saved(tmp_path, monkeypatch, a_run("ppo-critic", None))
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy").eval()
    assert differing(policy.state_dict(), trainer.models.policy.state_dict()) == []
    assert differing(policy.state_dict(), AutoModelForCausalLM.from_pretrained(model).state_dict()) != []
    assert policy.config._attn_implementation == "sdpa"
    assert AutoTokenizer.from_pretrained(folder / "policy").get_vocab() == trainer.tokenizer.get_vocab()
    critic = AutoModel.from_pretrained(folder / "critic")
    assert trainer.models.trunk is not None
    assert differing(critic.state_dict(), trainer.models.trunk.state_dict()) == []
    head = load_file(folder / "critic" / "value_head.safetensors")
    assert differing(head, dict(trainer.models.value_head.state_dict())) == []
    assert float(head["weight"].abs().max()) > 0

    said, silenced = logits(policy), logits(trainer.models.policy)
    assert float(said[:, :2].min()) > -100 > -1000 > float(silenced[:, :2].max()), "it is silent in training alone"
    torch.testing.assert_close(said[:, READABLE], silenced[:, READABLE])


def test_a_shared_trunk_leaves_the_head_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, *_ = saved(tmp_path, monkeypatch, a_run("ppo", None))
    assert sorted(path.name for path in (folder / "critic").iterdir()) == ["critic.json", "value_head.safetensors"]
    assert json.loads((folder / "critic" / "critic.json").read_text()) == {
        "kind": "head",
        "bounds": None,
        "lora_rank": None,
        "start_hash": "0",
        "policy_updates": 3,
    }


def test_peft_loads_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, model, trainer = saved(tmp_path, monkeypatch, a_run("ppo-critic", 2))
    assert json.loads((folder / "policy" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(model)
    assert not (folder / "policy" / "model.safetensors").exists()
    start = AutoModelForCausalLM.from_pretrained(model).eval()
    before = logits(start)
    adapted = PeftModel.from_pretrained(start, folder / "policy").eval()
    torch.testing.assert_close(logits(adapted)[:, READABLE], logits(trainer.models.policy)[:, READABLE])
    assert not torch.allclose(logits(adapted)[:, READABLE], before[:, READABLE])
    critic = PeftModel.from_pretrained(AutoModel.from_pretrained(model), folder / "critic").eval()
    with torch.no_grad():
        ours, theirs = (net(input_ids=IDS).last_hidden_state for net in (critic, trainer.models.trunk))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("rank", [None, 2])
def test_a_run_starts_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int | None) -> None:
    spec = a_run("grpo", rank)
    folder, _, trainer = saved(tmp_path, monkeypatch, spec)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    start = store.build(str(folder / "policy"), "countdown", {}, tmp_path / "cache")
    again = trainers.make_trainer(a_run("grpo", None), start)
    torch.testing.assert_close(logits(again.policy), logits(trainer.policy))


def test_the_manifest_has_their_hashes_and_they_may_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, *_ = saved(tmp_path, monkeypatch, a_run("ppo", None))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {"policy/model.safetensors", "policy/config.json", "critic/value_head.safetensors"} <= manifest[
        "weights"
    ].keys()
    assert not any("/" in name for name in manifest["files"])
    assert changed_weights(folder) == []
    weights = folder / "policy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert changed_weights(folder) == ["policy/model.safetensors"]
    weights.unlink()
    assert changed_weights(folder) == []


def test_one_that_cannot_be_saved_costs_the_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = a_run("grpo", None)
    folder, model = prepared(tmp_path, spec)

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    assert worker.main([str(folder), str(model), "--save-policies"]) == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["updates"]) == ("ok", 3)
    assert manifest["error"] == "its policy was not saved: OSError: [Errno 28] No space left on device"

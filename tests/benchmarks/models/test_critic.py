"""Values that are learnt beforehand, saved and read by another run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from example_spec import SPEC
from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models import critic, store
from ppo_vs_grpo.benchmarks.models.critic import ABOUT, HEAD, SavedCritic
from ppo_vs_grpo.benchmarks.run import worker
from ppo_vs_grpo.benchmarks.run.trainers import make_trainer
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document, resolve
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from ppo_vs_grpo.tasks.errors import UserError
from run_folders import prepared

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # peft asks for it
    "ignore:fan_in_fan_out is set to False",  # peft sees how GPT-2's layers are laid out, sets this and warns
)
ABOUT_HEAD = SavedCritic(kind="head", bounds=None, lora_rank=None, start_hash="0123", policy_updates=0)


@pytest.fixture(autouse=True)
def _digests_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def a_run(arm: str, rank: int | None, **asked: Any) -> RunSpec:
    """Three updates, in which only the critic learns."""
    train = TrainConfig(
        completions=24, prompts_per_update=2, group_size=4, max_new_tokens=4, lora_rank=rank, learning_rate=0.1
    )
    few = EvalConfig(prompts=2, samples=1, points=2, transcripts=0)
    declared = entry(arm).config
    own = {"warmup_updates": 3, "learning_rate": 0.05} | declared.get("critic", {}) | asked
    config = find(arm).Config.model_validate(declared | {"critic": own}).model_dump(mode="json")
    changes = {"arm": arm, "algorithm": arm, "config": config, "train": train, "eval": few}
    return SPEC.model_copy(update=changes)


@pytest.mark.parametrize(
    ("arm", "rank", "bounds"),
    [("ppo", None, None), ("ppo", 2, [0, 1]), ("ppo-critic", None, None), ("ppo-critic", 2, None)],
)
def test_a_critic_goes_on_where_another_ended(tmp_path: Path, arm: str, rank: int | None, bounds: Any) -> None:
    spec = a_run(arm, rank, bounds=bounds)
    folder, model = prepared(tmp_path, spec)
    assert worker.main([str(folder), str(model), "--save-policies"]) == 0
    config = a_run(arm, rank, bounds=bounds, start=str(folder / "critic"), warmup_updates=0).config
    config = critic.at_digest(config, spec.task, spec.start_hash, rank)
    begun = make_trainer(spec, model)
    trained = make_trainer(spec.model_copy(update={"config": config}), model)
    assert isinstance(begun, Trainer)
    assert isinstance(trained, Trainer)
    assert list(begun.updates(3))
    for name in ("value_head", "trunk"):
        one, other = (getattr(t.models, name) for t in (begun, trained))
        assert (one is None) == (other is None)
        if one is not None:
            for (key, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
                assert torch.equal(a, b), key
    fresh = make_trainer(spec, model)
    for a, b in zip(trained.policy.state_dict().values(), fresh.policy.state_dict().values(), strict=True):
        assert torch.equal(a, b), "the policy is the start model's"
    assert float(trained.models.value_head.weight.detach().abs().max()) > 0


def a_critic(folder: Path, **differing: Any) -> str:
    """A saved critic of which only the head's weights are real."""
    folder.mkdir(parents=True)
    critic.describe(folder, ABOUT_HEAD.model_copy(update=differing))
    save_file({"weight": torch.ones(1, 8), "bias": torch.zeros(1)}, folder / HEAD)
    return str(folder)


def resolved(start: Any, task: str = "countdown", kind: str = "head", rank: int | None = None) -> str:
    config = {"critic": {"kind": kind, "bounds": None, "start": start}}
    return str(critic.at_digest(config, task, "0123", rank)["critic"]["start"])


def test_a_settings_critic_is_named_with_the_hash_of_its_weights(tmp_path: Path) -> None:
    one, other = a_critic(tmp_path / "one"), a_critic(tmp_path / "other")
    named = resolved(one)
    assert named.startswith(f"{one}@")
    assert resolved(named) == named
    assert resolved({"sorting": other, "countdown": one}) == named
    assert resolved(other).rpartition("@")[2] == named.rpartition("@")[2]
    save_file({"weight": torch.zeros(1, 8), "bias": torch.zeros(1)}, tmp_path / "other" / HEAD)
    assert resolved(other).rpartition("@")[2] != named.rpartition("@")[2]
    assert critic.at_digest({"lam": 1.0}, "countdown", "0123", None) == {"lam": 1.0}


@pytest.mark.parametrize(
    ("saved", "run", "why"),
    [
        ({"kind": "model"}, {}, "was trained with critic.kind model, and here it is head"),
        ({"bounds": (0.0, 1.0)}, {}, "was trained with critic.bounds (0.0, 1.0), and here it is None"),
        ({"start_hash": "4567"}, {}, "belongs to another start model (4567, and here 0123)"),
        ({"policy_updates": 2}, {}, "its head reads a trunk that learnt for 2 updates"),
        ({"kind": "model", "lora_rank": 4}, {"kind": "model", "rank": 2}, "has lora_rank 4, and the arm 2"),
    ],
)
def test_one_that_does_not_fit_is_refused(tmp_path: Path, saved: Any, run: Any, why: str) -> None:
    folder = a_critic(tmp_path / "critic", **saved)
    with pytest.raises(UserError, match=r"^critic\.start: ") as refused:
        resolved(folder, **run)
    assert why in str(refused.value)


def test_what_is_missing_or_changed_is_named(tmp_path: Path) -> None:
    folder = a_critic(tmp_path / "critic")
    with pytest.raises(UserError, match="names no folder for the task countdown"):
        resolved({"sorting": folder})
    with pytest.raises(UserError, match=r"no critic is in this folder .*--save-policies"):
        resolved(str(tmp_path))
    with pytest.raises(UserError, match=r"^critic\.start: x{40}: File name too long$"):
        resolved("x" * 5000)
    with pytest.raises(UserError, match=r"has changed since it was named: [0-9a-f]{12}, not 000000000000"):
        resolved(f"{folder}@000000000000")
    (tmp_path / "critic" / ABOUT).write_text("{}")
    with pytest.raises(UserError, match=r"critic\.json cannot be read"):
        resolved(folder)


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"weight": torch.full((1, 8), torch.nan), "bias": torch.zeros(1)}, "missing or not finite"),
        ({"weight": torch.ones(1, 8)}, "missing or not finite"),
        ({"weight": torch.ones(1, 9), "bias": torch.zeros(1)}, "size mismatch for weight"),
    ],
)
def test_weights_that_are_none_for_this_critic_are_refused(tmp_path: Path, weights: Any, why: str) -> None:
    spec = a_run("ppo", None)
    _, model = prepared(tmp_path, spec)
    trainer = make_trainer(spec, model)
    assert isinstance(trainer, Trainer)
    folder = a_critic(tmp_path / "critic")
    save_file(weights, tmp_path / "critic" / HEAD)
    digest = critic.digest_of(tmp_path / "critic")
    with pytest.raises(UserError, match=re.escape(why)):
        critic.load(f"{folder}@{digest}", trainer.models)
    with pytest.raises(UserError, match=r"has changed since the suite began"):
        critic.load(f"{folder}@000000000000", trainer.models)


def test_a_suite_names_a_critic_for_each_task_and_so_does_its_lock(tmp_path: Path) -> None:
    tasks = ("countdown", "sorting")
    folders = {
        task: a_critic(tmp_path / task, start_hash=store.digest("nano", task, {}), bounds=(0.0, 1.0)) for task in tasks
    }
    written = {
        "name": "values",
        "tasks": list(tasks),
        "arms": {
            "ppo": {"algorithm": "ppo", "config": {"critic": {"bounds": [0, 1], "start": folders}}},
            "grpo": {"algorithm": "grpo"},
        },
        "seeds": 2,
    }
    (tmp_path / "values.yaml").write_text(json.dumps(written))
    suite = load_suite(tmp_path / "values.yaml")
    specs = resolve(suite, "values.yaml")
    starts = {spec.task: spec.config["critic"]["start"] for spec in specs if spec.arm == "ppo"}
    assert {task: start.rpartition("@")[0] for task, start in starts.items()} == folders
    (tmp_path / "again.yaml").write_text(json.dumps(lock_document(suite, specs)["suite"]))
    again = resolve(load_suite(tmp_path / "again.yaml"), "again.yaml")
    assert [spec.key for spec in again] == [spec.key for spec in specs]
    with pytest.raises(
        UserError, match=r"^values.yaml: arms.ppo.config.critic.start: .* critic.kind head, and here it is model"
    ):
        resolve(load_suite(tmp_path / "values.yaml", ["arms.ppo.config.critic.kind=model"]), "values.yaml")

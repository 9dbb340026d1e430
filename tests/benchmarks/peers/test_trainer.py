"""TRL's trainers as arms: the same prompts, settings and records; one step of theirs is one step of ours."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from copying import gpt2
from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks import peers
from ppo_vs_grpo.benchmarks.models import blank, tiny
from ppo_vs_grpo.benchmarks.peers import trl_ppo
from ppo_vs_grpo.benchmarks.peers.settings import check_settings, settings_of
from ppo_vs_grpo.benchmarks.peers.trainer import PeerTrainer, as_rollouts, micro_batch_rows, one_at_a_time
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*deprecated and will be removed in v6:FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SIZE = tiny.Size(hidden=32, layers=2, heads=2, intermediate=32, learning_rate=1e-3)
TRAIN = TrainConfig(
    completions=24, prompts_per_update=2, group_size=4, mini_batches=1, warmup_completions=0, micro_batch_tokens=64
)
RATE = TRAIN.learning_rate
CONFIGS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "ppo-critic": {"critic": {"kind": "model", "learning_rate": RATE}},
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose completions run to the limit."""
    folder = tmp_path_factory.mktemp("start")
    blank.make(make("lengths", {"new_tokens": 6}), SIZE, folder)
    return folder


def built(name: str, start: Path, train: TrainConfig = TRAIN, task: str = "lengths") -> Any:
    """An arm's trainer, set up as a run sets it up."""
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    kind = find(settings_of(name))
    algorithm = kind(kind.Config.model_validate(CONFIGS[settings_of(name)]), train)
    make_trainer = partial(PeerTrainer, peers.find(name)) if name in peers.PEERS else Trainer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a library says of its own future
        made = make(task, {"new_tokens": 6} if task == "lengths" else {})
        return make_trainer(model, AutoTokenizer.from_pretrained(start), made, algorithm, train, 3)


def weights(trainer: Trainer | PeerTrainer) -> Tensor:
    model = trainer.policy if isinstance(trainer, PeerTrainer) else trainer.models.policy
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", ["trl-grpo", "trl-ppo"])
def test_a_peer_leaves_the_records_of_an_arm(name: str, start: Path) -> None:
    ours, theirs = built(settings_of(name), start), built(name, start)
    for own, peer in zip(ours.until_spent(), theirs.until_spent(), strict=True):
        assert set(peer.metrics) == set(own.metrics)
        for count in ("update", "completions", "tokens", "optimizer_steps"):
            assert peer.metrics[count] == own.metrics[count]
        assert peer.scored.rollouts.prompts == own.scored.rollouts.prompts
        assert peer.metrics["rollout_s"] > 0
        assert peer.metrics["update_s"] > 0
        assert 0 < peer.metrics["reward_mean"] < 1
        assert peer.metrics["learning_rate"] is None  # TRL's own schedule
    assert theirs.completions == 24


@pytest.mark.parametrize("train", [{}, {"mini_batches": 2}, {"epochs": 2}], ids=["one", "mini-batches", "epochs"])
@pytest.mark.parametrize("name", ["trl-grpo", "trl-ppo"])
def test_a_peers_evaluations_see_the_policy_that_it_trains(name: str, start: Path, train: dict[str, int]) -> None:
    trainer = built(name, start, TRAIN.model_copy(update=train))
    seen = [weights(trainer)]
    for record in trainer.until_spent():
        seen.append(weights(trainer))
        assert record.metrics["optimizer_steps"] == record.update * max(train.values(), default=1)
    assert len(seen) == 4
    assert all(not torch.equal(before, after) for before, after in pairwise(seen))


def given_completions(monkeypatch: pytest.MonkeyPatch, name: str, drawn: list[list[list[int]]]) -> None:
    """Let the peer sample these completions, update by update."""
    batches = iter(drawn)
    if name == "trl-grpo":
        from trl import GRPOTrainer

        monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", lambda *args, **kwargs: (next(batches), None))
        return
    from trl.experimental.ppo import ppo_trainer

    def generated(model: Any, queries: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        whole = torch.cat([queries, torch.tensor(next(batches))], 1)
        return whole, ppo_trainer.forward(model, whole, 0).logits[:, queries.shape[1] - 1 : -1]

    monkeypatch.setattr(ppo_trainer, "batch_generation", generated)


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize(("name", "mean_tokens"), [("trl-grpo", 4), ("trl-ppo", 0)])
def test_a_peers_updates_on_the_same_completions_are_ours(
    name: str, mean_tokens: int, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two updates under a strong penalty, which is 0 before the first; rows of GRPO's end early, where losses differ.

    TRL's PPO has a step after the end token, and full rows have no room for it.
    """
    blank.make(make("lengths", {"new_tokens": 6, "mean_tokens": mean_tokens}), SIZE, tmp_path)
    train = TRAIN.model_copy(update={"epochs": epochs, "beta": 0.5, "completions": 16})
    ours = built(settings_of(name), tmp_path, train)
    before = weights(ours)
    records = list(ours.until_spent())
    path = weights(ours) - before
    rollouts = [record.scored.rollouts for record in records]
    given_completions(
        monkeypatch,
        name,
        [[row[real].tolist() for row, real in zip(r.completion_BT, r.mask_BT, strict=True)] for r in rollouts],
    )
    critics: list[trl_ppo.Critic] = []
    make_critic = trl_ppo.Critic
    monkeypatch.setattr(trl_ppo, "Critic", lambda policy: critics.append(make_critic(policy)) or critics[-1])
    theirs = built(name, tmp_path, train)
    for record, their_record in zip(records, theirs.until_spent(), strict=True):
        torch.testing.assert_close(their_record.scored.rewards_B, record.scored.rewards_B)
    apart = (weights(theirs) - before - path).abs()
    # Adam's first steps are nearly signs of gradients: where one is almost 0 rounding decides it.
    assert path.abs().max() > 1.5 * epochs * RATE
    assert apart.mean() < 1e-3 * path.abs().mean()
    for critic in critics:  # TRL's head has no bias, so the second update differs a little
        head = ours.models.value_head.weight
        assert head.abs().mean() > 0.9 * epochs * RATE
        assert (critic.score.weight - head).abs().mean() < 0.05 * head.abs().mean()
    assert len(critics) == (name == "trl-ppo")


def test_other_prompts_than_the_updates_are_an_error(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("trl-grpo", "trl-ppo"):
        trainer = built(name, start)
        problems, ids = trainer.prompts.problems[::-1], trainer.prompts.ids[::-1]
        trainer.prompts = type(trainer.prompts)(problems, ids)
        with pytest.raises(RuntimeError, match="TRL took other prompts"):
            next(trainer.until_spent())


@pytest.mark.parametrize(("name", "module"), [("trl-grpo", "trl"), ("trl-ppo", "trl.experimental.ppo")])
def test_a_peer_that_is_not_there_is_named(
    name: str, module: str, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"{name}: TRL is not installed, or"):
        built(name, start)


def test_a_current_release_that_is_not_there_is_named(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "CURRENT", tmp_path)
    with pytest.raises(UserError, match=f"trl-grpo-current: TRL's current release is not installed: .*{tmp_path}"):
        built("trl-grpo-current", start)


def test_the_current_release_is_the_one_that_is_imported(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release without the trainer stands for it: nothing else in this process may import another TRL."""
    (tmp_path / "trl").mkdir()
    (tmp_path / "trl" / "__init__.py").touch()
    (tmp_path / "trl-9.9.dist-info").mkdir()
    (tmp_path / "trl-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: trl\nVersion: 9.9\n")
    monkeypatch.setattr(peers, "CURRENT", tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in [name for name in sys.modules if name.partition(".")[0] == "trl"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"trl-grpo: TRL is not installed, or has no GRPOTrainer.*trl/__init__\.py"):
        built("trl-grpo-current", start)
    assert version("trl") == "9.9"
    del sys.modules["trl"]


def test_models_that_a_peer_would_read_wrongly_are_refused(start: Path, tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    AutoModelForCausalLM.from_pretrained(start).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="trl-ppo: TRL takes every pad token for padding"):
        built("trl-ppo", tmp_path)
    gpt2(vocab_size=len(tokenizer)).save_pretrained(tmp_path)
    built("trl-grpo", tmp_path)  # prompts of one length need no padding
    with pytest.raises(UserError, match=r"trl-grpo: TRL gives no positions.* GPT2LMHeadModel has no rotary ones"):
        built("trl-grpo", tmp_path, task="countdown")


@pytest.mark.parametrize(
    ("name", "config", "train", "message"),
    [
        ("trl-grpo", {"ddof": 0}, {}, "config.ddof: 0: trl-grpo knows only 1 here"),
        ("trl-grpo", {"kl": "k3_ratio"}, {}, "config.kl: k3_ratio: trl-grpo knows only k3 here"),
        ("trl-grpo", {}, {"lora_rank": 4}, "train.lora_rank: 4: trl-grpo knows only None here"),
        ("trl-grpo", {}, {"rollout_rows": 4}, "train.rollout_rows: 4: trl-grpo knows only None here"),
        ("trl-grpo", {}, {"dtype": "bfloat16"}, "train.dtype: bfloat16: trl-grpo knows only float32 here"),
        ("trl-ppo", {"critic": {"kind": "head", "learning_rate": RATE}}, {}, "config.critic.kind: head"),
        ("trl-ppo", {"critic": {"kind": "model"}}, {}, "config.critic.learning_rate: 0.001: trl-ppo knows only 0.0004"),
        ("trl-ppo", CONFIGS["ppo-critic"], {"clip_high": 0.3}, "train.clip_high: 0.3: trl-ppo knows only 0.2 here"),
        (
            "trl-ppo",
            {**CONFIGS["ppo-critic"], "value_clip": None},
            {},
            "config.value_clip: None: trl-ppo knows only a number here",
        ),
        ("trl-ppo", {**CONFIGS["ppo-critic"], "lam_alpha": 0.5}, {}, "config.lam_alpha: 0.5: trl-ppo knows only None"),
        ("trl-ppo", {"critic": {"kind": "model", "passes": 2}}, {}, "config.critic.passes: 2: trl-ppo knows only 1"),
        ("trl-ppo", {"critic": {"kind": "model", "bounds": (0, 1)}}, {}, "config.critic.bounds: (0.0, 1.0): trl-ppo"),
        ("trl-grpo", {}, {"mini_batches": 3}, "train.mini_batches: 3: trl-grpo splits the 8 completions"),
    ],
)
def test_settings_that_a_peer_cannot_have_are_refused(
    name: str, config: dict[str, Any], train: dict[str, Any], message: str
) -> None:
    made = find(settings_of(name)).Config.model_validate(config)
    with pytest.raises(UserError) as error:
        check_settings(name, made.model_dump(), TRAIN.model_copy(update=train))
    assert message in str(error.value)
    check_settings(settings_of(name), made.model_dump(), TRAIN.model_copy(update=train))


def test_an_unknown_algorithm_is_told_the_nearest_peer() -> None:
    with pytest.raises(UserError, match="did you mean 'trl-grpo'"):
        settings_of("trl-grop")


def test_a_loop_stands_still_between_its_reports() -> None:
    said: list[str] = []

    def loop(report: Callable[[int], None]) -> None:
        said.append("begun")
        for number in (1, 2):
            report(number)
            said.append(f"after {number}")
        said.append(f"elsewhere {get_ident() != here}")

    here = get_ident()
    steps: Iterator[int] = one_at_a_time(loop)
    assert said == []
    assert next(steps) == 1
    assert said == ["begun"]
    assert next(steps) == 2
    assert said == ["begun", "after 1"]
    assert list(steps) == []
    assert said == ["begun", "after 1", "after 2", "elsewhere True"]


def test_what_a_loop_raises_is_raised_where_it_is_read() -> None:
    def loop(report: Callable[[int], None]) -> None:
        report(1)
        raise ValueError("broke")

    steps = one_at_a_time(loop)
    assert next(steps) == 1
    with pytest.raises(ValueError, match="broke"):
        next(steps)


def test_lists_of_ids_become_rollouts() -> None:
    prompts = type("Prompts", (), {"ids": ((9,), (8,))})()
    made = as_rollouts(prompts, 2, [[5, 2, 7], [2], [5, 6, 7], [4, 5, 2]], end=2, max_tokens=3)
    assert made.mask_BT.tolist() == [[True, True, False], [True, False, False], [True] * 3, [True] * 3]
    assert made.completion_BT.tolist() == [[5, 2, 0], [2, 0, 0], [5, 6, 7], [4, 5, 2]]
    assert made.ended_B.tolist() == [True, True, False, True]
    assert made.group_B.tolist() == [0, 0, 1, 1]


def test_micro_batches_divide_the_step() -> None:
    assert micro_batch_rows(128, 80, 2048) == 16
    assert micro_batch_rows(128, 80, 80 * 128) == 128
    assert micro_batch_rows(12, 10, 50) == 4
    assert micro_batch_rows(12, 100, 50) == 1

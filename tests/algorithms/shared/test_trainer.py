"""The loop: what every arm shares, and that it learns."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pytest
import torch

from copying import Copying
from one_step import weights
from ppo_vs_grpo import algorithms
from ppo_vs_grpo.algorithms.ppo import PPO
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.metrics import explained_variance, group_spread
from ppo_vs_grpo.algorithms.shared.trainer import DivergedError, Trainer, UpdateRecord
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.errors import UserError
from small_trainer import TRAIN, AnyLetter, trainer


def run(name: str, count: int = 2, **options: object) -> tuple[Trainer, list[UpdateRecord]]:
    made = trainer(name, **options)
    return made, list(made.updates(count))


def test_both_arms_see_the_same_prompts_and_the_same_first_completions() -> None:
    (_, ppo), (_, grpo) = run("ppo", 3), run("grpo", 3)
    for ours, theirs in zip(ppo, grpo, strict=True):
        assert ours.scored.rollouts.prompts == theirs.scored.rollouts.prompts
    assert torch.equal(ppo[0].scored.rollouts.completion_BT, grpo[0].scored.rollouts.completion_BT)
    assert torch.equal(ppo[0].scored.rollouts.logp_BT, grpo[0].scored.rollouts.logp_BT)
    assert not torch.equal(ppo[2].scored.rollouts.logp_BT, grpo[2].scored.rollouts.logp_BT)


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_a_seed_fixes_everything_and_another_seed_changes_it(name: str) -> None:
    def numbers(records: list[UpdateRecord]) -> list[dict[str, object]]:
        return [{k: v for k, v in r.metrics.items() if not k.endswith("_s")} for r in records]

    (first, records), (second, again), (_, other) = run(name), run(name), run(name, seed=1)
    assert numbers(records) == numbers(again)
    assert torch.equal(weights(first.models.policy), weights(second.models.policy))
    assert numbers(records) != numbers(other)


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_learning_raises_the_reward(name: str) -> None:
    _, records = run(name, 40, task=AnyLetter())
    rewards = [record.metrics["reward_mean"] for record in records]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.2


def test_the_reference_stays_the_start_model_while_the_policy_moves() -> None:
    start = weights(trainer("grpo").models.policy)
    made, _ = run("grpo", 3)
    assert torch.equal(weights(made.models.reference), start)
    assert not torch.equal(weights(made.models.policy), start)


def test_without_beta_there_is_no_reference() -> None:
    made, records = run("ppo", 1, train=TRAIN.model_copy(update={"beta": 0.0}))
    assert made.models.reference is None
    assert records[0].metrics["kl_reference"] is None


def test_counts_add_up() -> None:
    _, records = run("grpo", 3)
    assert [record.update for record in records] == [record.metrics["update"] for record in records] == [1, 2, 3]
    last = records[-1]
    assert last.metrics["completions"] == 3 * 64
    assert last.metrics["tokens"] == sum(int(r.scored.rollouts.mask_BT.sum()) for r in records)
    assert last.metrics["optimizer_steps"] == 3 * TRAIN.epochs * TRAIN.mini_batches


class Unrated(Copying):
    """Rewards are missing where the first character is past a bound: for about half of the completions, or for all."""

    bound = "P"

    def score(self, problem: Problem, completion: str) -> Score:
        """A missing reward is NaN."""
        return Score(float("nan"), False) if completion >= self.bound else super().score(problem, completion)


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_rows_without_a_reward_leave_the_update(name: str) -> None:
    _, records = run(name, 2, task=Unrated())
    assert all(r.metrics["skipped_steps"] == 0 and r.metrics["policy_loss"] is not None for r in records)
    assert records[1].metrics["completions"] == 128


@pytest.mark.parametrize(
    ("bound", "why"), [("", "no completion has a reward"), ("!", "no two completions of a prompt")]
)
def test_a_batch_with_nothing_to_learn_from_ends_the_run(bound: str, why: str) -> None:
    task = Unrated()
    task.bound = bound
    with pytest.raises(DivergedError, match=why):
        run("grpo", 20, task=task)


def test_a_run_of_steps_that_are_not_finite_ends_as_diverged() -> None:
    made = trainer("grpo")
    for parameter in made.models.policy.parameters():
        parameter.register_hook(lambda grad: grad * float("nan"))
    with pytest.raises(DivergedError, match="non-finite"):
        list(made.updates(20))


def test_group_spread_by_hand() -> None:
    std, silent = group_spread(torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.tensor([0, 1, 0, 1]))
    assert (std, silent) == (0.25, 0.5)
    assert group_spread(torch.tensor([1.0, 0.0]), torch.tensor([0, 1])) == (None, None)
    assert group_spread(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0, 1, 1])) == (0.0, 1.0)


def test_an_unknown_algorithm_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'rloo'"):
        algorithms.find("rlooo")


def test_the_twin_files_differ_only_where_the_algorithms_do() -> None:
    """Same sections in the same order: a diff of the two files is the answer to 'what is the difference?'"""
    folder = Path(algorithms.__file__).parent
    ppo, grpo = ((folder / f"{name}.py").read_text().splitlines() for name in ("ppo", "grpo"))

    def skeleton(lines: list[str]) -> list[str]:
        return [line.split("(")[0].strip() for line in lines if line.lstrip().startswith(("class ", "def "))]

    rename = {"class PPO:": "class GRPO:"}
    assert [rename.get(line, line) for line in skeleton(ppo)] == skeleton(grpo)
    shared = difflib.SequenceMatcher(None, ppo, grpo, autojunk=False).get_matching_blocks()
    assert sum(block.size for block in shared) > 0.5 * len(grpo)


def test_only_the_critic_learns_during_its_warm_up() -> None:
    made = trainer("ppo", algorithm=PPO(PPO.Config(critic=CriticConfig(warmup_updates=2)), TRAIN))
    start = weights(made.models.policy)
    assert made.models.value_head is not None
    for _ in range(2):
        head = weights(made.models.value_head)
        list(made.updates(1))
        assert torch.equal(weights(made.models.policy), start)
        assert not torch.equal(weights(made.models.value_head), head)
    list(made.updates(1))
    assert not torch.equal(weights(made.models.policy), start)


def test_what_a_record_says_of_its_rollouts() -> None:
    _, (record,) = run("ppo", 1)
    rollouts, metrics = record.scored.rollouts, record.metrics
    rewards_B = record.scored.rewards_B
    assert metrics["reward_mean"] == pytest.approx(float(rewards_B.mean()))
    assert metrics["reward_std"] == pytest.approx(float(np.std(rewards_B.numpy())))
    assert metrics["pass_rate"] == pytest.approx(float(record.scored.passed_B.float().mean()))
    assert metrics["completion_tokens_mean"] == pytest.approx(int(rollouts.mask_BT.sum()) / len(rewards_B))
    assert metrics["ended_fraction"] == pytest.approx(float(rollouts.ended_B.float().mean()))
    assert metrics["reward_length"] == pytest.approx(float(record.scored.parts["length"].mean()))


def test_explained_variance_by_hand() -> None:
    mask = torch.tensor([[True, True], [True, False]])
    returns = torch.tensor([[1.0, 2.0], [3.0, 99.0]])
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(torch.zeros(2, 2), returns, mask) == pytest.approx(0)
    # Errors of 1, 0 and 0 have variance 2/9, the returns 2/3.
    off = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    assert explained_variance(off, returns, mask) == pytest.approx(1 - (2 / 9) / (2 / 3))
    assert explained_variance(off, torch.ones(2, 2), mask) is None
    assert explained_variance(None, returns, mask) is None


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_weights_that_no_step_can_change_end_the_run_by_name(name: str) -> None:
    made = trainer(name, train=TRAIN.model_copy(update={"learning_rate": 1e-9}))
    torch.nn.Module.to(made.models.policy, torch.bfloat16)
    with pytest.raises(UserError, match=r"^learning_rate 1e-09: no weight of the policy changed in update 1.*bfloat16"):
        next(made.updates(1))


def test_equal_rewards_move_nothing_and_are_no_mistake() -> None:
    class Nothing(Copying):
        def score(self, problem: Problem, completion: str) -> Score:
            return Score(0.0, False)

    train = TRAIN.model_copy(update={"beta": 0.0})
    made = trainer("grpo", train=train, task=Nothing())
    start = weights(made.models.policy)
    next(made.updates(1))
    assert torch.equal(weights(made.models.policy), start)

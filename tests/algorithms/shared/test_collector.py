"""Collecting rollouts: what dynamic sampling and continuations draw, keep and pay; truncated sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from copying import Copying, prompts
from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.shared import trainer as shared_trainer
from ppo_vs_grpo.algorithms.shared.collector import cost, first_groups, joined, prefixes, varied
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, Needs, TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.sequences import join
from ppo_vs_grpo.algorithms.shared.trainer import Trainer, make_batch, terminal_value
from ppo_vs_grpo.algorithms.shared.types import Advantages, Context, Rollouts, ScoredRollouts, moved
from ppo_vs_grpo.tasks.base import Problem, Score
from small_trainer import AnyLetter, trainer

TRAIN = TrainConfig(prompts_per_update=4, group_size=4, learning_rate=1e-3, warmup_completions=0, completions=160)


def scored(rewards: list[float], groups: list[int], width: int = 2, first: int = 3) -> ScoredRollouts:
    """One token per row; row i samples token first + i."""
    rows = len(rewards)
    columns = torch.zeros(rows, width).long()
    columns[:, 0] = torch.arange(first, first + rows)
    logp = torch.full((rows, width), -float(first))
    mask = torch.arange(width).expand(rows, width) == 0
    asked = prompts(*[(first, g) for g in range(max(groups) + 1)])
    group_B = torch.tensor(groups)
    rollouts = Rollouts(asked, group_B, columns, mask, logp, logp, mask[:, 0], 4)
    rewards_B = torch.tensor(rewards)
    return ScoredRollouts(rollouts, rewards_B, rewards_B > 0, {"size": rewards_B * 2})


def test_a_group_is_kept_where_its_rewards_differ() -> None:
    kept = varied(scored([1.0, 0.0, 1.0, 0.5, 0.5, 1.0], [0, 1, 2, 0, 1, 2]))
    assert kept.rollouts.group_B.tolist() == [0, 1, 0, 1]
    assert kept.rewards_B.tolist() == [1.0, 0.0, 0.5, 0.5]
    assert kept.parts["size"].tolist() == [2.0, 0.0, 1.0, 1.0]
    assert len(varied(kept.rows(torch.tensor([], dtype=torch.long))).rewards_B) == 0


def test_the_first_groups_are_taken_whole() -> None:
    taken = first_groups(scored([1.0, 2.0, 3.0, 4.0], [2, 5, 2, 7]), 2)
    assert taken.rollouts.group_B.tolist() == [2, 5, 2]


def test_draws_are_joined_with_groups_numbered_through() -> None:
    a, b = scored([1.0, 0.0], [0, 1], width=2), scored([0.5, 0.25, 0.75], [0, 0, 1], width=3, first=9)
    both = joined([a, b])
    assert both.rollouts.group_B.tolist() == [0, 1, 2, 2, 3]
    assert both.rewards_B.tolist() == [1.0, 0.0, 0.5, 0.25, 0.75]
    assert both.rollouts.completion_BT.tolist() == [[3, 0, 0], [4, 0, 0], [9, 0, 0], [10, 0, 0], [11, 0, 0]]
    assert both.rollouts.mask_BT.sum(1).tolist() == [1] * 5
    assert [both.rollouts.prompts.ids[g] for g in both.rollouts.group_B] == [(3, 0), (3, 1), (9, 0), (9, 0), (9, 1)]
    assert both.rollouts.max_tokens == 4
    assert joined([a]) is a


class Rarely(AnyLetter):
    """Rewards differ on few prompts: those with an even number of letters; elsewhere everything passes."""

    def score(self, problem: Problem, completion: str) -> Score:
        """1 on a prompt with an odd number of letters, else what the letter is worth."""
        return Score(1.0, True) if len(problem.prompt) % 2 == 0 else super().score(problem, completion)


def dapo(task: Copying, rounds: int = 10, train: TrainConfig = TRAIN) -> Trainer:
    kind = find("dapo")
    declared = TrainConfig.model_validate(train.model_dump() | entry("dapo").train(train))
    return trainer("dapo", train=declared, task=task, algorithm=kind(kind.Config(sampling_rounds=rounds), declared))


def test_dynamic_sampling_fills_the_batch_with_groups_that_vary_and_pays_for_all() -> None:
    (record,) = dapo(Rarely()).updates(1)
    rewards, groups = record.scored.rewards_B, record.scored.rollouts.group_B
    assert len(groups.unique()) == TRAIN.prompts_per_update
    assert all(float(rewards[groups == g].std()) > 0 for g in groups.unique())
    assert record.metrics["silent_group_fraction"] == 0
    assert int(record.metrics["completions"] or 0) > len(rewards)
    assert int(record.metrics["completions"] or 0) % TRAIN.batch_completions == 0


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_rounds_are_bounded_and_without_a_group_that_varies_the_last_draw_is_the_batch(rounds: int) -> None:
    class Never(Copying):
        def score(self, problem: Problem, completion: str) -> Score:
            return Score(1.0, True)

    (record,) = dapo(Never(), rounds).updates(1)
    assert record.metrics["completions"] == rounds * TRAIN.batch_completions
    assert record.metrics["silent_group_fraction"] == 1
    assert len(record.scored.rewards_B) == TRAIN.batch_completions


def test_a_second_round_is_drawn_where_the_budget_just_covers_it() -> None:
    class Never(Copying):
        def score(self, problem: Problem, completion: str) -> Score:
            return Score(1.0, True)

    (record,) = dapo(Never(), train=TRAIN.model_copy(update={"completions": 32})).until_spent()
    assert record.metrics["completions"] == 32


@pytest.mark.parametrize("name", ["ppo", "dapo", "vine-ppo"])
def test_a_run_never_asks_for_more_rewards_than_its_budget_and_stops_only_when_none_is_left(name: str) -> None:
    asked = 0

    class Counting(Rarely):
        def score(self, problem: Problem, completion: str) -> Score:
            nonlocal asked
            asked += 1
            return super().score(problem, completion)

    train = TrainConfig.model_validate(TRAIN.model_dump() | entry(name).train(TRAIN) | {"completions": 170})
    kind = find(name)
    algorithm = kind(kind.Config(), train)
    made = trainer(name, train=train, task=Counting(), algorithm=algorithm)
    last = list(made.until_spent())[-1].metrics["completions"]
    assert last == asked
    assert 170 - cost(train, algorithm.needs, 4) < asked <= 170


def test_a_plain_arm_and_one_with_one_round_draw_the_same() -> None:
    plain = trainer("grpo", train=TRAIN, task=Rarely())
    (first,), (second,) = plain.updates(1), dapo(Rarely(), rounds=1).updates(1)
    assert torch.equal(first.scored.rollouts.completion_BT, second.scored.rollouts.completion_BT)


def test_the_cost_of_an_update_counts_continuations_from_every_step() -> None:
    assert cost(TRAIN, Needs(), 10) == 16
    assert cost(TRAIN, Needs(continuations=3, step_tokens=4), 10) == 16 * (1 + 3 * 3)
    assert cost(TRAIN, Needs(continuations=3, step_tokens=5), 10) == 16 * (1 + 3 * 2)


def test_continuations_estimate_the_reward_that_follows_a_prefix() -> None:
    """With many of them the mean comes near the exact value, computed by asking the model for every next token."""
    made = trainer("grpo", train=TRAIN, task=AnyLetter())
    rollouts = made.collector.sample(1)
    values_BT, completions, tokens = made.collector.values(rollouts, 1, Needs(continuations=400, step_tokens=4))
    assert completions == 400 * 16  # four tokens at most: the only prefix is the empty one
    assert tokens >= completions
    letters = made.tokenizer.convert_tokens_to_ids(list("abcdefgh"))
    for row in range(16):
        ids = torch.tensor([rollouts.prompts.ids[int(rollouts.group_B[row])]])
        with torch.no_grad():
            probs = torch.softmax(made.models.policy(input_ids=ids).logits[0, -1].float(), -1)
        exact = float(probs[letters].sum())
        assert float(values_BT[row, 0]) == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 400) ** 0.5)


def test_the_tokens_of_continuations_are_those_sampled_and_not_their_prefixes() -> None:
    made = trainer("grpo", train=TRAIN, task=AnyLetter())
    rollouts, needs = made.collector.sample(1), Needs(continuations=3, step_tokens=2)
    _, completions, tokens = made.collector.values(rollouts, 1, needs)
    sampled = [0, 0]
    for t in (0, 2):
        rows = rollouts.mask_BT[:, t].nonzero()[:, 0]
        engine = replace(made.engine, max_new_tokens=4 - t)
        drawn = made.collector.uniforms(f"continuations-{t}", 1, 3 * len(rows))
        again = engine.generate(prefixes(rollouts, [(row, t) for row in rows.tolist()])[0], 3, drawn)
        sampled = [sampled[0] + len(again.mask_BT), sampled[1] + int(again.mask_BT.sum())]
    assert [completions, tokens] == sampled


def test_the_value_of_a_prefix_without_any_reward_is_zero() -> None:
    class Mute(Copying):
        def score(self, problem: Problem, completion: str) -> Score:
            return Score(None, False)

    made = trainer("grpo", train=TRAIN, task=Mute())
    values_BT, completions, _ = made.collector.values(made.collector.sample(1), 1, Needs(continuations=2))
    assert completions > 0
    assert not values_BT.any()


def test_a_continuation_keeps_its_prefix_its_problem_and_the_limit() -> None:
    seen: list[tuple[str, str]] = []

    class Listening(AnyLetter):
        def score(self, problem: Problem, completion: str) -> Score:
            seen.append((problem.prompt, completion))
            return super().score(problem, completion)

    made = trainer("grpo", train=TRAIN, task=Listening())
    rollouts = made.collector.sample(1)
    values_BT, completions, _ = made.collector.values(rollouts, 1, Needs(continuations=2, step_tokens=1))
    assert completions == len(seen) == 2 * int(rollouts.mask_BT.sum())
    assert not values_BT[~rollouts.mask_BT].any()
    written = made.tokenizer.batch_decode(rollouts.completion_BT[:, :3], skip_special_tokens=True)
    at_three = [row for row in range(16) if rollouts.mask_BT[row, 3]]
    for i, row in enumerate(at_three):
        for prompt, completion in seen[len(seen) - 2 * len(at_three) :][2 * i : 2 * i + 2]:
            assert prompt == rollouts.prompts.problems[int(rollouts.group_B[row])].prompt
            assert completion.startswith(written[row].rstrip())
            assert len(completion) <= 4
    # The reward of this task hangs on the first letter alone: after it, V is what the row itself got.
    after = rollouts.mask_BT[:, 1]
    rewards = made.collector.score(rollouts).rewards_B
    assert torch.equal(values_BT[after, 1], rewards[after])


def test_the_importance_correction_weighs_advantages_by_policy_over_sampler() -> None:
    train = TRAIN.model_copy(update={"top_k": 3, "importance_correction": True})
    made = trainer("grpo", train=train, task=AnyLetter())
    sampled = made.collector.score(made.collector.sample(1))
    sampled = replace(sampled, rewards_B=torch.arange(16) / 16)
    context = Context(None, None)
    plain = made.algorithm.advantages(sampled, context).advantages_BT
    assert (plain[sampled.rollouts.mask_BT] != 0).any()
    weight = (sampled.rollouts.logp_BT - sampled.rollouts.sampler_logp_BT).exp()
    assert float(weight[sampled.rollouts.mask_BT].max()) < 1
    torch.testing.assert_close(make_batch(made.algorithm, sampled, context, made.train).advantages_BT, plain * weight)


def test_a_device_without_float64_has_its_advantages_from_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer("ppo", train=TRAIN, task=AnyLetter())
    sampled = made.collector.score(made.collector.sample(1))
    there = moved(sampled, "meta")
    assert there.rewards_B.device == there.rollouts.logp_BT.device == torch.device("meta")
    assert there.rollouts.prompts == sampled.rollouts.prompts
    zeros_BT = torch.zeros(sampled.rollouts.mask_BT.shape)
    context = Context(zeros_BT, zeros_BT)
    here, moves = make_batch(made.algorithm, sampled, context, made.train), []

    def watched(data: Any, device: Any) -> Any:
        moves.append((type(data), str(device)))
        return moved(data, device)

    monkeypatch.setattr(shared_trainer, "NO_FLOAT64", ("cpu",))
    monkeypatch.setattr(shared_trainer, "moved", watched)
    assert torch.equal(make_batch(made.algorithm, sampled, context, made.train).advantages_BT, here.advantages_BT)
    assert moves == [(ScoredRollouts, "cpu"), (Context, "cpu"), (Advantages, "cpu")]


def test_the_value_after_a_cut_completion_is_read_and_after_an_end_is_zero() -> None:
    critic = CriticConfig(bootstrap_truncated=True)
    kind = find("ppo")
    made = trainer("ppo", train=TRAIN, task=AnyLetter(), algorithm=kind(kind.Config(critic=critic), TRAIN))
    assert made.models.value_head is not None
    with torch.no_grad():
        made.models.value_head.weight.normal_(generator=torch.Generator().manual_seed(1))
    rollouts = made.collector.sample(1)
    context, _, _ = made.context(rollouts, join(rollouts, made.engine.pad), draw=1)
    assert context.bootstrap_B is not None
    assert rollouts.ended_B.unique().tolist() == [False, True]
    assert not context.bootstrap_B[rollouts.ended_B].any()
    for row in (~rollouts.ended_B).nonzero()[:, 0].tolist():
        length = int(rollouts.mask_BT[row].sum())
        tokens = rollouts.completion_BT[row, :length].tolist()
        ids = torch.tensor([[*rollouts.prompts.ids[int(rollouts.group_B[row])], *tokens]])
        with torch.no_grad():
            hidden = made.models.policy.base_model(input_ids=ids).last_hidden_state[0, -1]
            exact = float(made.models.value_head(hidden)[0])
        assert float(context.bootstrap_B[row]) == pytest.approx(exact, abs=1e-5)


def test_terminal_value_by_hand() -> None:
    rollouts = scored([1.0, 0.0], [0, 0], width=2).rollouts
    mask = torch.tensor([[True, True], [True, False]])
    cut = Rollouts(rollouts.prompts, rollouts.group_B, mask.long(), mask, mask.float(), mask.float(), ~mask[:, 1], 2)
    after = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    assert terminal_value(after, cut).tolist() == pytest.approx([0.2, 0.0])


def test_the_reference_may_be_the_previous_step() -> None:
    kind = find("grpo-source")
    train = TRAIN.model_copy(update={"mini_batches": 1, "learning_rate": 1e-2})
    made = trainer("grpo-source", train=train, algorithm=kind(kind.Config(reference="previous_step"), train))
    list(made.updates(2))
    before = torch.cat([p.detach().clone().flatten() for p in made.models.policy.parameters()])
    (record,) = made.updates(1)
    assert made.models.reference is not None
    reference = torch.cat([p.flatten() for p in made.models.reference.parameters()])
    assert torch.equal(reference, before)
    assert record.metrics["kl_reference"] == pytest.approx(0, abs=1e-6)


def test_random_streams_of_continuations_are_apart_from_those_of_rollouts() -> None:
    collector = trainer("grpo", train=TRAIN).collector
    streams = [collector.uniforms(name, 1, 4) for name in ("sampling", "continuations-0", "continuations-4")]
    assert len({stream.tobytes() for stream in streams}) == 3
    assert np.array_equal(streams[0], collector.uniforms("sampling", 1, 4))

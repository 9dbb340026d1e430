"""Faults known from code that trains language models by reward, numbers 1 to 7: each test is one that is not here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import batches
from copying import END, PAD, gpt2, llama, prompts, uniforms, whole_logp
from graded import GROUPED, LIMIT, NAN, Graded, ragged, trainer_of, without_seconds
from one_step import TRAIN as STEP
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.ppo import PPO
from ppo_vs_grpo.algorithms.shared.advantages import group_centered, group_relative, leave_one_out
from ppo_vs_grpo.algorithms.shared.advantages import terminal as at_the_end
from ppo_vs_grpo.algorithms.shared.collector import joined
from ppo_vs_grpo.algorithms.shared.config import CriticConfig
from ppo_vs_grpo.algorithms.shared.metrics import group_spread
from ppo_vs_grpo.algorithms.shared.networks.likelihood import log_probs, logp
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import Sequences, join, over_rows, pack
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.scoring import texts
from ppo_vs_grpo.algorithms.shared.trainer import DivergedError, Trainer
from ppo_vs_grpo.algorithms.shared.types import Context, Rollouts, ScoredRollouts
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.tasks.base import Problem
from small_trainer import TRAIN as LOOP

SHAPES = pytest.mark.parametrize("make", [llama, gpt2])


def with_value_head(make=llama, kind: str = "head") -> Models:
    models = build(make(), CriticConfig(kind=kind), needs_reference=False)
    with torch.no_grad():
        models.value_head.weight.normal_(generator=torch.Generator().manual_seed(1))
    return models


@SHAPES
@pytest.mark.parametrize("kind", ["head", "model"])
def test_01_logits_before_a_token_score_it_and_its_value_is_read_before_it(make, kind: str) -> None:
    """Perturbing token k moves no distribution and no V at or before k, and every one after it."""
    models, prompt, tokens = with_value_head(make, kind), 2, 5
    ids = torch.tensor([[3, 4, 5, 6, 7, 8, 9]])

    def read(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        row = torch.tensor([0])
        packed = pack(Sequences(ids, torch.tensor([prompt]), torch.tensor([tokens]), row, tokens), row)
        output = policy_output(models, packed, 0.7, detach_trunk=False)
        assert torch.equal(output.values_BT, values(models, packed))
        assert torch.equal(output.logp_BT, logp(models.policy, packed, 0.7))
        return log_probs(models.policy, packed, 0.7)[0], output.logp_BT[0], output.values_BT[0]

    distribution_TV, logp_T, value_T = read(ids)
    torch.testing.assert_close(logp_T, torch.tensor(whole_logp(models.policy, (3, 4), [5, 6, 7, 8, 9], 0.7)))
    for k in range(tokens):
        changed = ids.clone()
        changed[0, prompt + k] = 11
        other_TV, other_T, other_value_T = read(changed)
        assert (other_TV != distribution_TV).any(1).tolist() == [t > k for t in range(tokens)]
        assert (other_value_T != value_T).tolist() == [t > k for t in range(tokens)]
        assert (other_T != logp_T).tolist() == [t >= k for t in range(tokens)]


@pytest.mark.parametrize("pad", [PAD, END])
def test_02_the_mask_keeps_the_first_end_token_once_whatever_the_pad_token_is(pad: int) -> None:
    rollouts = ragged(pad)
    lengths = rollouts.mask_BT.sum(1).tolist()
    assert {1, LIMIT} <= {n for n, ended in zip(lengths, rollouts.ended_B.tolist(), strict=True) if n == 1 or not ended}
    sequences, reads = join(rollouts, pad), pack(join(rollouts, pad), torch.arange(96))
    assert torch.equal(reads.mask_bT, rollouts.mask_BT)
    assert torch.equal(reads.targets_N, rollouts.completion_BT[rollouts.mask_BT])
    assert (rollouts.completion_BT[rollouts.mask_BT] == PAD).any()  # sampled, so no padding
    for row, n in enumerate(lengths):
        tokens = rollouts.completion_BT[row, :n].tolist()
        assert rollouts.mask_BT[row].tolist() == [t < n for t in range(rollouts.mask_BT.shape[1])]
        assert tokens.count(END) == int(rollouts.ended_B[row])
        assert tokens[-1] == END if rollouts.ended_B[row] else n == LIMIT
        prompt = rollouts.prompts.ids[int(rollouts.group_B[row])]
        assert sequences.ids_BL[row, : len(prompt) + n].tolist() == [*prompt, *tokens]
    other = ragged(END if pad == PAD else PAD)
    assert torch.equal(other.mask_BT, rollouts.mask_BT)
    assert torch.equal(other.ended_B, rollouts.ended_B)


def test_02_a_tokenizer_without_a_pad_token_trains_alike_and_an_empty_completion_is_empty_text() -> None:
    characters = tokenizer()
    characters.pad_token = None
    made, plain = trainer_of("grpo"), trainer_of("grpo")
    same = Trainer(trainer_of("grpo").models.policy, characters, Graded(), made.algorithm, plain.train, 0)
    assert (same.engine.pad, plain.engine.pad) == (2, 0)
    written: list[str] = []
    for ours, theirs in zip(same.updates(4), plain.updates(4), strict=True):
        assert without_seconds(ours.metrics) == without_seconds(theirs.metrics)
        assert texts(ours.scored.rollouts, characters) == texts(theirs.scored.rollouts, plain.tokenizer)
        written += texts(ours.scored.rollouts, characters)
    assert "" in written


@pytest.mark.parametrize("pad", [PAD, END])
def test_03_the_reward_sits_on_the_last_sampled_token_and_without_a_critic_is_every_advantage(pad: int) -> None:
    rollouts = ragged(pad)
    mask_BT, rewards_B = rollouts.mask_BT, torch.rand(96, generator=torch.Generator().manual_seed(0)) + 0.5
    last_B = mask_BT.sum(1) - 1
    placed_BT = at_the_end(rewards_B, mask_BT)
    assert torch.equal(placed_BT.gather(1, last_B[:, None])[:, 0], rewards_B)
    assert torch.equal((placed_BT != 0).sum(1), torch.ones(96, dtype=torch.long))
    algorithm = PPO(PPO.Config(lam=1.0, gamma=1.0, whiten=False), STEP)
    scored = ScoredRollouts(rollouts, rewards_B, rewards_B > 1, {})
    made = algorithm.advantages(scored, Context(None, torch.zeros(mask_BT.shape)))
    torch.testing.assert_close(made.advantages_BT, rewards_B[:, None] * mask_BT)
    torch.testing.assert_close(made.returns_BT, rewards_B[:, None] * mask_BT)


@SHAPES
def test_04_left_padding_of_the_rollout_changes_no_token_and_no_log_probability(make) -> None:
    asked, group = prompts((PAD, 4, END, 5, 6), (END, 7), (8,)), 8
    numbers, engine = uniforms(LIMIT, 3 * group), HuggingFaceEngine(make(), PAD, (END,), LIMIT, 0.7)
    together = engine.generate(asked, group, numbers)
    for at, ids in enumerate(asked.ids):
        rows = slice(at * group, (at + 1) * group)
        alone = engine.generate(prompts(ids), group, numbers[:, rows])
        width = alone.mask_BT.shape[1]
        assert torch.equal(together.mask_BT[rows, :width], alone.mask_BT)
        assert torch.equal(together.completion_BT[rows, :width], alone.completion_BT)
        torch.testing.assert_close(together.logp_BT[rows, :width], alone.logp_BT, atol=1e-5, rtol=0)


@SHAPES
@pytest.mark.parametrize("name", ["ppo", "ppo-critic", "grpo"])
def test_04_right_padding_of_the_update_changes_no_log_probability_value_loss_or_gradient(make, name: str) -> None:
    """A row alone has no padding; beside the others it has, of either kind."""
    models, algorithm, train, scored, context = batches.prepared(name, make)
    alone = train.model_copy(update={"micro_batch_tokens": 1})
    beside = train.model_copy(update={"micro_batch_tokens": 10_000})
    expected = batches.learned(models, algorithm, alone, scored, context)
    for pad in (PAD, END, 9):
        sequences = join(scored.rollouts, pad)
        reads = [lambda packed: logp(models.policy, packed, 0.7)]
        reads += [lambda packed: values(models, packed)] if models.value_head is not None else []
        for read in reads:
            torch.testing.assert_close(
                over_rows(sequences, 10_000, read), over_rows(sequences, 1, read), atol=1e-5, rtol=0
            )
        seen = batches.learned(models, algorithm, beside, scored, context, pad=pad)
        torch.testing.assert_close(seen.policy, expected.policy, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(seen.critic, expected.critic, atol=1e-5, rtol=1e-5)
        for loss in ("policy_loss", "value_loss"):
            assert (seen.metrics[loss] or 0.0) == pytest.approx(expected.metrics[loss] or 0.0, rel=1e-5)


@SHAPES
@pytest.mark.parametrize("temperature", [0.4, 0.7, 1.0, 1.6])
def test_05_at_the_sampling_policy_the_ratio_to_the_samplers_own_logp_is_one(make, temperature: float) -> None:
    """The sampler's logp is that of the temperature; so is the update's; and so are the draws."""
    model = make()
    rollouts = ragged(temperature=temperature, make=make)
    assert rollouts.logp_BT.dtype == torch.float32
    logp_BT = over_rows(join(rollouts, PAD), 99, lambda packed: logp(model, packed, temperature))
    assert float((logp_BT - rollouts.logp_BT).exp().sub(1).abs().max()) < 1e-5
    assert torch.equal(rollouts.sampler_logp_BT, rollouts.logp_BT)
    for row in range(0, 96, 7):
        tokens = rollouts.completion_BT[row, : int(rollouts.mask_BT[row].sum())].tolist()
        plain = whole_logp(model, rollouts.prompts.ids[int(rollouts.group_B[row])], tokens, temperature)
        torch.testing.assert_close(rollouts.logp_BT[row, : len(tokens)], torch.tensor(plain), atol=1e-5, rtol=0)
    many = HuggingFaceEngine(model, PAD, (END,), 1, temperature).generate(prompts((3, 4)), 5000, uniforms(1, 5000))
    share_V = torch.bincount(many.completion_BT[:, 0], minlength=16) / 5000
    expected_V = torch.tensor([whole_logp(model, (3, 4), [token], temperature)[0] for token in range(16)]).exp()
    assert ((share_V - expected_V).abs() < 4 * (expected_V * (1 - expected_V) / 5000).sqrt() + 1e-3).all()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.6])
def test_05_the_trainers_first_step_reports_a_ratio_of_one(temperature: float) -> None:
    (record,) = trainer_of("grpo", temperature=temperature, mini_batches=1).updates(1)
    assert 0 <= record.metrics["ratio_error_max"] < 1e-5


class OneQuestion(Graded):
    def draw(self, rng: np.random.Generator) -> Problem:
        return Problem("a:", {"letter": "a"})


PER_TOKEN = ("ppo-group", "evpo")
"""Those that compare rewards to come, and whiten."""


def value_of_nothing(algorithm: Algorithm, scored: ScoredRollouts) -> Tensor | None:
    """V of a new critic, where there is one: it explains nothing, and the group is the baseline."""
    return torch.zeros(scored.rollouts.mask_BT.shape) if algorithm.needs.critic else None


@pytest.mark.parametrize("name", GROUPED)
def test_06_two_equal_prompts_stay_two_groups_and_permuting_rows_permutes_advantages(name: str) -> None:
    config = {"whiten": False} if name in PER_TOKEN else {}
    algorithm, _ = batches.algorithm_of(name, LOOP.model_copy(update={"beta": 0.0}), **config)
    asked = prompts((3, 4), (3, 4), (8,))
    rollouts = HuggingFaceEngine(llama(), PAD, (END,), LIMIT, 1.0).generate(asked, 4, uniforms(LIMIT, 12))
    assert rollouts.group_B.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    rewards_B = torch.rand(12, generator=torch.Generator().manual_seed(3))

    def advantages(rollouts: Rollouts, rewards_B: Tensor) -> Tensor:
        scored = ScoredRollouts(rollouts, rewards_B, rewards_B > 0.5, {})
        return algorithm.advantages(scored, Context(None, value_of_nothing(algorithm, scored))).advantages_BT

    made_BT = advantages(rollouts, rewards_B)
    moved_BT = advantages(
        rollouts, rewards_B * torch.tensor([3.0] * 4 + [1.0] * 8) + torch.tensor([0, 1, 2, 3] + [0] * 8)
    )
    assert torch.equal(moved_BT[4:], made_BT[4:])
    assert not torch.allclose(moved_BT[:4], made_BT[:4])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(advantages(rollouts.rows(order), rewards_B[order]), made_BT[order])
    gone = order[rollouts.group_B[order] != 1]  # ids 0 and 2, interleaved
    torch.testing.assert_close(advantages(rollouts.rows(gone), rewards_B[gone]), made_BT[gone])


def test_06_the_trainer_carries_group_ids_where_all_prompts_are_equal() -> None:
    (record,) = trainer_of("grpo", OneQuestion()).updates(1)
    scored = record.scored
    assert len(set(scored.rollouts.prompts.ids)) == 1
    assert scored.rollouts.group_B.tolist() == [i // LOOP.group_size for i in range(LOOP.batch_completions)]
    by_hand = scored.rewards_B.view(LOOP.prompts_per_update, -1).std(1, correction=0).mean()
    assert record.metrics["reward_std_within_group"] == pytest.approx(float(by_hand))
    both = joined([scored, scored])
    ids = [*range(LOOP.prompts_per_update * 2)]
    assert both.rollouts.group_B.unique().tolist() == ids
    order = torch.randperm(len(both.rewards_B), generator=torch.Generator().manual_seed(1))
    assert group_spread(both.rewards_B[order], both.rollouts.group_B[order])[0] == pytest.approx(float(by_hand))


def two_groups(rewards: list[float]) -> ScoredRollouts:
    """Eight completions of two prompts with these rewards, every one of them ended."""
    engine = HuggingFaceEngine(llama(), PAD, (END,), LIMIT, 1.0)
    rollouts = replace(engine.generate(prompts((3, 4), (8,)), 4, uniforms(LIMIT, 8)), ended_B=torch.ones(8).bool())
    return ScoredRollouts(rollouts, torch.tensor(rewards), torch.ones(8).bool(), {})


@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-4, 1.0])
@pytest.mark.parametrize("reward", [0.1, 1.0, -1e6 / 3])
def test_07_a_constant_group_is_exactly_zero_for_every_eps(reward: float, eps: float) -> None:
    for size in (2, 3, 7):
        rewards_B = torch.tensor([reward] * size + [0.0, 1.0], dtype=torch.float64)
        group_B = torch.tensor([0] * size + [1, 1])
        made = [leave_one_out(rewards_B, group_B), group_centered(rewards_B, group_B)]
        made += [group_relative(rewards_B, group_B, ddof, eps) for ddof in (0, 1)]
        for advantages_B in made:
            assert advantages_B[:size].tolist() == [0.0] * size
            assert advantages_B[size:].all()
        alone_B = group_relative(rewards_B[:size], group_B[:size], eps=eps, scale="batch")
        assert alone_B.tolist() == [0.0] * size


@pytest.mark.parametrize("name", GROUPED)
def test_07_constant_groups_and_missing_rewards_have_advantage_zero_and_a_group_of_one_raises(name: str) -> None:
    """A missing reward leaves its group's statistics, whether the algorithm sees its row or the trainer dropped it."""
    config = {"whiten": False} if name in PER_TOKEN else {}
    algorithm, _ = batches.algorithm_of(name, LOOP.model_copy(update={"beta": 0.0}), **config)

    def advantages(scored: ScoredRollouts) -> Tensor:
        return algorithm.advantages(scored, Context(None, value_of_nothing(algorithm, scored))).advantages_BT

    constant_BT = advantages(two_groups([0.1] * 4 + [0.0, 1.0, 0.5, 0.2]))
    assert not constant_BT[:4].any()
    assert constant_BT[4:].any()
    missing = two_groups([1.0, NAN, 0.0, NAN, NAN, 0.7, NAN, NAN])
    has_B = ~missing.rewards_B.isnan()
    rated_BT = advantages(missing.rated())
    assert rated_BT[0].sum() > 0 > rated_BT[1].sum()
    assert not rated_BT[2].any()  # alone in its group
    if name not in PER_TOKEN:  # their mean wants every reward, as the trainer hands them over
        assert not advantages(missing)[~has_B].any()
        torch.testing.assert_close(advantages(missing)[has_B], rated_BT)
    with pytest.raises(ValueError, match="at least 2"):
        advantages(two_groups([0.5] * 8).rows(torch.tensor([0, 5])))
    with pytest.raises(DivergedError, match="no two completions"):
        next(trainer_of(name, beta=0.0, group_size=1).updates(1))

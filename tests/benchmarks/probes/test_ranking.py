"""Rank agreement of log-probability and reward: by hand, against scipy, on policies whose order is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kendalltau

from copying import prompts, whole_logp
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import Rollouts, ScoredRollouts
from ppo_vs_grpo.benchmarks.analysis.frames import probes
from ppo_vs_grpo.benchmarks.probes import ProbeConfig
from ppo_vs_grpo.benchmarks.probes.estimates import Estimate
from ppo_vs_grpo.benchmarks.probes.ranking import Agreement, distinct, log_probabilities, rank_agreement, rankings
from ppo_vs_grpo.benchmarks.probes.rows import probe_rows
from small_trainer import AnyLetter, trainer

TRAIN = TrainConfig(prompts_per_update=4, group_size=8, learning_rate=1e-2, warmup_completions=0)
SMALL = ProbeConfig(prompts=6, reference_prompts=2, continuations=2, prefixes=1)


def agreement(logp: list[float], rewards: list[float], groups: list[int] | None = None) -> Agreement:
    return rank_agreement(np.array(logp), np.array(rewards), np.array(groups or [0] * len(logp)))


def test_one_group_by_hand() -> None:
    made = agreement([-1.0, -2.0, -2.0, -4.0], [1.0, 0.5, 1.0, 1.0])
    # Rewards differ in the three pairs of the second: it is less likely than one, ties one, is likelier than one.
    assert made.tau.value == pytest.approx((1 - 1) / (5 * 3) ** 0.5)
    assert made.auc.value == pytest.approx((1 + 0.5 + 0) / 3)
    made = agreement([-1.0, -2.0, -2.0, -4.0], [1.0, 0.5, 0.0, 0.0])
    # Of six pairs one ties in reward and one in log-probability; the four others agree.
    assert made.tau.value == pytest.approx((2 + 2 + 0) / (5 * 5) ** 0.5)
    assert made.auc.value == pytest.approx((2 + 0.5 + 1 + 1) / 5)
    assert (made.groups, made.silent, made.tau.se, made.auc.se) == (1, 0, None, None)


def test_groups_are_averaged_and_the_silent_ones_counted_and_left_out() -> None:
    logp = [-1.0, -2.0, -1.0, -2.0, -3.0, -3.0, -1.0, -2.0, -7.0]
    rewards = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.5, 0.5, 1.0]
    made = agreement(logp, rewards, [0, 0, 1, 1, 4, 4, 5, 5, 9])
    assert (made.groups, made.silent) == (5, 3)  # equal log-probabilities, equal rewards, a single row
    assert made.tau.value == 0
    assert made.tau.se == pytest.approx(2**0.5 / 2**0.5)  # sd of (1, -1) is sqrt(2), over sqrt(2)
    assert made.auc == Estimate(0.5, pytest.approx(0.5))
    nothing = agreement([-1.0, -1.0], [0.0, 1.0])
    assert (nothing.tau, nothing.auc, nothing.silent) == (Estimate(None, None), Estimate(None, None), 1)


def test_tau_is_scipys_and_auc_the_share_of_pairs() -> None:
    generator = np.random.default_rng(0)
    logp_N, rewards_N = generator.integers(0, 6, 60) / 2, generator.integers(0, 4, 60) / 3
    group_N = np.sort(generator.integers(0, 7, 60))
    made = rank_agreement(logp_N, rewards_N, group_N)
    taus, shares = [], []
    for g in range(7):
        x, y = logp_N[group_N == g], rewards_N[group_N == g]
        taus.append(kendalltau(x, y).statistic)
        wins = [np.sign(a - b) / 2 + 0.5 for a, r in zip(x, y, strict=True) for b, s in zip(x, y, strict=True) if r > s]
        shares.append(np.mean(wins))
    assert made.tau.value == pytest.approx(np.mean(taus))
    assert made.tau.se == pytest.approx(np.std(taus, ddof=1) / 7**0.5)
    assert made.auc.value == pytest.approx(np.mean(shares))


def test_perfect_reversed_and_random_orders() -> None:
    generator = np.random.default_rng(1)
    rewards_N, group_N = generator.random(4000), np.arange(4000) // 8
    perfect, turned = (rank_agreement(sign * rewards_N, rewards_N, group_N) for sign in (3.0, -3.0))
    assert (perfect.tau, perfect.auc) == (Estimate(1.0, 0.0), Estimate(1.0, 0.0))
    assert (turned.tau.value, turned.auc.value) == (-1.0, 0.0)
    chance = rank_agreement(generator.random(4000), rewards_N, group_N)
    assert chance.tau.value == pytest.approx(0, abs=0.05)
    assert chance.auc.value == pytest.approx(0.5, abs=0.025)
    # Var of tau without ties is 2 (2 n + 5) / (9 n (n - 1)): n = 8, over 500 groups.
    assert chance.tau.se == pytest.approx((2 * 21 / (9 * 8 * 7) / 500) ** 0.5, rel=0.1)


def scored(made: Trainer, rows: list[tuple[int, list[int], float]]) -> ScoredRollouts:
    """Completions of two prompts by group, tokens and reward."""
    width = max(len(tokens) for _, tokens, _ in rows)
    none_BT = torch.zeros(len(rows), width)
    lengths_B1 = torch.tensor([[len(tokens)] for _, tokens, _ in rows])
    rollouts = Rollouts(
        prompts=prompts((5, 6, 7), (9, 8)),
        group_B=torch.tensor([group for group, _, _ in rows]),
        completion_BT=torch.tensor([tokens + [made.engine.pad] * (width - len(tokens)) for _, tokens, _ in rows]),
        mask_BT=torch.arange(width) < lengths_B1,
        logp_BT=none_BT,
        sampler_logp_BT=none_BT,
        ended_B=torch.ones(len(rows), dtype=torch.bool),
        max_tokens=width,
    )
    rewards_B = torch.tensor([reward for *_, reward in rows])
    return ScoredRollouts(rollouts, rewards_B, rewards_B > 0, {})


ROWS = [(0, [20, 21, 2], 1.0), (0, [20, 21], 0.5), (1, [20, 21, 2], 0.0), (0, [20, 21, 2], 1.0), (0, [30, 2], 0.0)]


def test_equal_completions_of_a_prompt_count_once() -> None:
    kept = distinct(scored(trainer("grpo", train=TRAIN), ROWS))
    assert kept.rollouts.group_B.tolist() == [0, 0, 1, 0]
    assert kept.rewards_B.tolist() == [1.0, 0.5, 0.0, 0.0]


def test_log_probabilities_are_the_policys_and_rank_the_set() -> None:
    made = trainer("grpo", train=TRAIN.model_copy(update={"temperature": 0.7, "micro_batch_tokens": 8}))
    given = scored(made, ROWS)
    asked = given.rollouts.prompts.ids
    each = [whole_logp(made.models.policy, asked[group], tokens, 0.7) for group, tokens, _ in ROWS]
    assert log_probabilities(made, given).tolist() == pytest.approx([sum(row) for row in each], abs=1e-5)
    rows = {(subject, name): estimate for subject, name, estimate in rankings(made, {"set": given})}
    kept = [0, 1, 4]  # the first prompt's distinct completions; the second has one, which tells nothing
    rewards = [ROWS[i][2] for i in kept]
    for name, logp in (("tau", sum), ("tau_per_token", np.mean)):
        expected = kendalltau([logp(each[i]) for i in kept], rewards).statistic
        assert rows["set", name].value == pytest.approx(expected)
    assert (rows["set", "groups"].value, rows["set", "silent"].value) == (2, 1)


def table_of(learner: Trainer, config: ProbeConfig = SMALL) -> pd.Series:  # type: ignore[type-arg]
    rows = pd.DataFrame(probe_rows(learner, config, "heldout", seed=3))
    return rows[rows["probe"] == "ranking"].set_index(["subject", "quantity"])["value"]


def test_training_moves_the_rank_of_the_start_models_completions() -> None:
    learner = trainer("grpo", train=TRAIN, task=AnyLetter())
    many = SMALL.model_copy(update={"prompts": 24})  # of six prompts three are silent, and three say little
    before = table_of(learner, many)
    assert before["start"].equals(before["sampled"])  # the policy is the start model: the same completions
    assert before["start", "silent"] < before["start", "groups"] == many.prompts
    list(learner.updates(30))
    after = table_of(learner, many)
    assert after["start", "silent"] == before["start", "silent"]  # the set is fixed: so are its rewards
    assert after["start", "auc_per_token"] > before["start", "auc_per_token"] + 0.2
    assert not after["start"].equals(after["sampled"])


@pytest.mark.parametrize("beta", [0.0, 0.01])
def test_a_run_without_the_start_model_ranks_its_own_completions_alone(beta: float) -> None:
    learner = trainer("grpo", train=TRAIN.model_copy(update={"beta": beta}), task=AnyLetter())
    assert set(table_of(learner).index.get_level_values("subject")) == {"sampled", *(["start"] if beta else [])}


def test_the_table_has_means_and_errors_over_runs() -> None:
    quantities = ("tau", "auc", "tau_per_token", "auc_per_token", "groups", "silent")
    values = {
        "a": (0.1, 0.6, 0.3, 0.7, 16, 4),
        "b": (0.3, 0.7, 0.5, 0.9, 16, 8),
        "c": (None, None, None, None, 16, 16),
    }
    frame = pd.DataFrame(
        {"key": key, "arm": "grpo", "task": "recall", "completions": 0, "probe": "ranking", "subject": "start"}
        | {"quantity": name, "value": value}
        for key, numbers in values.items()
        for name, value in zip(quantities, numbers, strict=True)
    )
    results = SimpleNamespace(probes=frame, complete=frozenset(values))
    (row,) = probes.ranking(results).to_dict("records")  # type: ignore[arg-type]
    assert (row["task"], row["arm"], row["moment"], row["subject"], row["n"]) == ("recall", "grpo", "start", "start", 2)
    assert (row["tau"], row["auc"], row["silent"]) == pytest.approx((0.2, 0.65, 28 / 48))
    assert (row["tau_se"], row["auc_per_token_se"]) == pytest.approx((0.1, 0.1))
    empty = SimpleNamespace(probes=frame.iloc[:0], complete=frozenset())
    assert list(probes.ranking(empty).columns) == list(row)  # type: ignore[arg-type]

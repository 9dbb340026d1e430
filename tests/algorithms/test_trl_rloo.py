"""RLOO against TRL's RLOOTrainer: advantages, loss and gradients of one batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppo_vs_grpo.algorithms.rloo import RLOO
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from trl_oracle import DEPRECATED, REWARDS, FixedRLOO, assert_same, distance, ours, theirs

pytestmark = pytest.mark.filterwarnings(DEPRECATED)


def rloo(**train: float) -> RLOO:
    return RLOO(RLOO.Config(), TrainConfig(**train))


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_the_advantages_the_loss_and_the_gradients_are_those_of_trl(tmp_path: Path, beta: float) -> None:
    theirs_ = theirs(FixedRLOO, tmp_path, beta=beta)
    assert_same(ours(rloo(beta=beta)), theirs_)
    assert distance(ours(rloo(beta=0.1)), theirs_, "advantages") > 1e-2


def test_the_clip_of_whole_completions_may_be_higher_above(tmp_path: Path) -> None:
    theirs_ = theirs(FixedRLOO, tmp_path, beta=0.3, epsilon=0.1, epsilon_high=0.5)
    assert_same(ours(rloo(beta=0.3, clip_low=0.1, clip_high=0.5)), theirs_)
    assert distance(ours(rloo(beta=0.3, clip_low=0.1, clip_high=0.1)), theirs_, "gradient") > 1e-2


def test_a_missing_reward_is_left_out_of_its_siblings_mean(tmp_path: Path) -> None:
    # None is how a reward function of TRL says so. In the second group a single reward is left.
    rewards = (None, *REWARDS[1:4], None, None, 1.0, None, *REWARDS[8:])
    theirs_ = theirs(FixedRLOO, tmp_path, rewards, beta=0.3)
    assert_same(ours(rloo(beta=0.3), rewards), theirs_)
    assert distance(ours(rloo(beta=0.3), (0.0, *rewards[1:])), theirs_, "advantages") > 1e-2

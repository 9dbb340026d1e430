"""GRPO and its kin against TRL's GRPOTrainer: advantages, loss and gradients of one batch, and what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from trl.rewards import get_soft_overlong_punishment

from ppo_vs_grpo.algorithms.dapo import DAPO
from ppo_vs_grpo.algorithms.dr_grpo import DrGRPO
from ppo_vs_grpo.algorithms.grpo import GRPO
from ppo_vs_grpo.algorithms.gspo import GSPO
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from trl_oracle import (
    COMPLETIONS,
    DEPRECATED,
    END,
    LIMIT,
    REWARDS,
    FixedGRPO,
    Learned,
    assert_same,
    distance,
    ours,
    theirs,
)

pytestmark = pytest.mark.filterwarnings(DEPRECATED)

NO_PENALTY = {"beta": 0.0}
PENALTY = {"beta": 0.3}
K3 = {**PENALTY, "use_bias_correction_kl": False}
TOKENS = sum(len(ids) for ids in COMPLETIONS)


def grpo(train: dict[str, Any], **config: Any) -> GRPO:
    return GRPO(GRPO.Config(**config), TrainConfig(**train))


def dapo(train: dict[str, Any], **config: Any) -> DAPO:
    return DAPO(DAPO.Config(**config), TrainConfig(**train))


def dr_grpo(train: dict[str, Any]) -> DrGRPO:
    return DrGRPO(DrGRPO.Config(), TrainConfig(**train))


def gspo(train: dict[str, Any]) -> GSPO:
    return GSPO(GSPO.Config(), TrainConfig(**train))


def mixed(parts: tuple[Learned, ...], weights: tuple[float, ...]) -> Learned:
    """The weighted mean of losses on parts of the batch."""
    shares = [weight / sum(weights) for weight in weights]
    loss = sum(share * part.loss for share, part in zip(shares, parts, strict=True))
    gradient = sum(share * part.gradient for share, part in zip(shares, parts, strict=True))
    return Learned(parts[0].advantages, torch.as_tensor(loss), torch.as_tensor(gradient))


def trl(folder: Path, loss_type: str, **options: Any) -> Learned:
    return theirs(FixedGRPO, folder, loss_type=loss_type, **options)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_grpo_scales_rewards_as_trl_does(tmp_path: Path, scale: str) -> None:
    theirs_ = trl(tmp_path, "grpo", scale_rewards=scale, **NO_PENALTY)
    assert_same(ours(grpo(NO_PENALTY, scale=scale)), theirs_)
    for other in {"group", "batch", "none"} - {scale}:
        assert distance(ours(grpo(NO_PENALTY, scale=other)), theirs_, "advantages") > 1e-2
    if scale != "none":
        assert distance(ours(grpo(NO_PENALTY, scale=scale, ddof=0)), theirs_, "advantages") > 1e-2
        assert distance(ours(grpo(NO_PENALTY, scale=scale, eps=1e-3)), theirs_, "advantages") > 1e-4


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_missing_reward_is_left_out_as_in_trl(tmp_path: Path, scale: str) -> None:
    # None is how a reward function of TRL says so. In the second group a single reward is left.
    rewards = (None, *REWARDS[1:4], None, None, 1.0, None, *REWARDS[8:])
    theirs_ = theirs(FixedGRPO, tmp_path, rewards, loss_type="grpo", scale_rewards=scale)
    if scale == "group":
        assert theirs_.advantages[4:8].abs().max() == 0
    assert_same(ours(grpo(NO_PENALTY, scale=scale), rewards), theirs_)
    assert distance(ours(grpo(NO_PENALTY, scale=scale), (0.0, *rewards[1:])), theirs_, "advantages") > 1e-2


@pytest.mark.parametrize(("correction", "kl", "other"), [(False, "k3", "k3_ratio"), (True, "k3_ratio", "k3")])
def test_grpo_penalises_as_trl_does(tmp_path: Path, correction: bool, kl: str, other: str) -> None:
    theirs_ = trl(tmp_path, "grpo", beta=0.3, use_bias_correction_kl=correction)
    assert_same(ours(grpo(PENALTY, kl=kl)), theirs_)
    assert distance(ours(grpo(PENALTY, kl=other)), theirs_, "gradient") > 1e-2
    assert distance(ours(grpo({"beta": 0.29}, kl=kl)), theirs_, "loss") > 1e-3


def test_trl_multiplies_the_penalty_by_the_ratio_unless_told_not_to_and_grpo_does_not(tmp_path: Path) -> None:
    theirs_ = trl(tmp_path, "grpo", beta=0.3)
    assert_same(ours(grpo(PENALTY, kl="k3_ratio")), theirs_)
    assert distance(ours(grpo(PENALTY)), theirs_, "gradient") > 1e-2


@pytest.mark.parametrize("loss_type", ["bnpo", "dapo"])
@pytest.mark.parametrize("train", [NO_PENALTY, PENALTY], ids=["no penalty", "penalty"])
def test_dapo_is_trl_with_its_punishment_of_overlong_completions(
    tmp_path: Path, loss_type: str, train: dict[str, float]
) -> None:
    options = {**(K3 if train["beta"] else NO_PENALTY), "epsilon_high": 0.28}
    punish = (get_soft_overlong_punishment(LIMIT, 2),)
    theirs_ = trl(tmp_path, loss_type, more_rewards=punish, **options)
    higher = {**train, "clip_high": 0.28}
    assert_same(ours(dapo(higher, overlong_buffer_tokens=2)), theirs_)
    assert distance(ours(dapo(train, overlong_buffer_tokens=2)), theirs_, "gradient") > 1e-3
    assert distance(ours(dapo(higher, overlong_buffer_tokens=3)), theirs_, "advantages") > 1e-2
    # The sequence mean of GRPO is another loss.
    assert distance(ours(grpo(higher)), theirs_, "loss") > 1e-3


@pytest.mark.parametrize("loss_type", ["bnpo", "dapo"])
def test_a_buffer_of_null_punishes_no_completion_as_in_trl(tmp_path: Path, loss_type: str) -> None:
    theirs_ = trl(tmp_path, loss_type)
    assert_same(ours(dapo(NO_PENALTY, overlong_buffer_tokens=None)), theirs_)
    assert distance(ours(dapo(NO_PENALTY)), theirs_, "advantages") > 1e-2


def test_without_a_buffer_trl_punishes_no_completion_and_dapo_those_cut_at_the_limit(tmp_path: Path) -> None:
    theirs_ = trl(tmp_path, "dapo", more_rewards=(get_soft_overlong_punishment(LIMIT, 0),))
    cut = [len(ids) == LIMIT and ids[-1] != END for ids in COMPLETIONS]
    assert sum(cut) == 3
    shaped = tuple(reward + by for reward, by in zip(REWARDS, cut, strict=True))  # gives back what is taken
    assert_same(ours(dapo(NO_PENALTY), shaped), theirs_)
    assert distance(ours(dapo(NO_PENALTY)), theirs_, "advantages") > 1e-2


@pytest.mark.parametrize("train", [NO_PENALTY, PENALTY], ids=["no penalty", "penalty"])
def test_dr_grpo_is_trl_with_its_constant_denominator(tmp_path: Path, train: dict[str, float]) -> None:
    options = K3 if train["beta"] else NO_PENALTY
    theirs_ = trl(tmp_path, "dr_grpo", scale_rewards="none", **options)
    assert_same(ours(dr_grpo(train)), theirs_)
    assert distance(ours(grpo(train, scale="none")), theirs_, "loss") > 1e-3
    assert distance(ours(dr_grpo({**train, "clip_low": 0.1})), theirs_, "gradient") > 1e-3


def test_the_clip_may_be_higher_above_as_in_trl(tmp_path: Path) -> None:
    theirs_ = trl(tmp_path, "grpo", epsilon=0.15, epsilon_high=0.28)
    assert_same(ours(grpo({**NO_PENALTY, "clip_low": 0.15, "clip_high": 0.28})), theirs_)
    for wrong in ({"clip_low": 0.28, "clip_high": 0.15}, {"clip_low": 0.15}, {"clip_high": 0.28}):
        assert distance(ours(grpo({**NO_PENALTY, **wrong})), theirs_, "gradient") > 1e-3


def test_the_dual_clip_is_the_delta_of_trl_above_the_upper_clip(tmp_path: Path) -> None:
    # Beyond delta TRL bounds the ratio whatever the advantage's sign; for a good token the upper clip comes first.
    theirs_ = trl(tmp_path, "grpo", delta=1.5, shift=0.8)
    assert_same(ours(grpo({**NO_PENALTY, "dual_clip": 1.5}), shift=0.8), theirs_)
    for wrong in (None, 1.6):
        assert distance(ours(grpo({**NO_PENALTY, "dual_clip": wrong}), shift=0.8), theirs_, "loss") > 1e-3


def test_a_delta_below_the_upper_clip_bounds_good_tokens_in_trl_and_a_dual_clip_bad_ones_only(tmp_path: Path) -> None:
    low, high, delta = 0.2, 0.5, 1.1
    theirs_ = trl(tmp_path, "grpo", epsilon=low, epsilon_high=high, delta=delta, shift=0.8)
    train = {**NO_PENALTY, "clip_low": low, "clip_high": high}
    assert distance(ours(grpo({**train, "dual_clip": delta}), shift=0.8), theirs_, "loss") > 1e-2
    # Said with our options: good tokens are clipped at delta, bad ones bounded at the upper clip instead.
    good = [row for row in range(len(COMPLETIONS)) if theirs_.advantages[row] > 0]
    bad = [row for row in range(len(COMPLETIONS)) if row not in good]
    clipped = ours(grpo({**train, "clip_high": delta - 1}), shift=0.8, rows=good)
    bounded = ours(grpo({**train, "dual_clip": 1 + high}), shift=0.8, rows=bad)
    assert_same(mixed((clipped, bounded), (len(good), len(bad))), theirs_)


def test_gspo_is_trl_with_ratios_of_whole_completions(tmp_path: Path) -> None:
    bounds = {"epsilon": 0.1, "epsilon_high": 0.15}
    train = {"clip_low": 0.1, "clip_high": 0.15}
    for ours_, theirs_ in ((NO_PENALTY, NO_PENALTY), (PENALTY, K3)):
        theirs_learned = trl(tmp_path, "grpo", importance_sampling_level="sequence", **bounds, **theirs_)
        assert_same(ours(gspo({**ours_, **train})), theirs_learned)
        assert distance(ours(grpo({**ours_, **train})), theirs_learned, "gradient") > 1e-2
        assert distance(ours(gspo(ours_)), theirs_learned, "gradient") > 1e-2


def test_a_token_mean_divides_by_the_optimizer_steps_tokens_and_trl_by_the_mean_over_steps(tmp_path: Path) -> None:
    # Two optimizer steps per generation, of which this is the first: rows 0 to 5.
    half = slice(0, len(COMPLETIONS) // 2)
    tokens = sum(len(ids) for ids in COMPLETIONS[half])
    punish = (get_soft_overlong_punishment(LIMIT, 2),)
    theirs_ = trl(tmp_path, "dapo", more_rewards=punish, rows=half, steps_per_generation=2)
    arm = dapo(NO_PENALTY, overlong_buffer_tokens=2)
    assert tokens != TOKENS / 2
    mean = ours(arm, rows=half)
    assert distance(mean, theirs_, "loss") > 1e-4
    factor = tokens / (TOKENS / 2)
    assert_same(Learned(mean.advantages, mean.loss * factor, mean.gradient * factor), theirs_)
    assert_same(mean, trl(tmp_path, "bnpo", more_rewards=punish, rows=half, steps_per_generation=2))


def test_a_constant_group_is_exactly_zero_here_and_rounding_noise_over_eps_in_trl(tmp_path: Path) -> None:
    rewards = (None, *[0.9] * 3, *REWARDS[4:])  # three times 0.9 over 3 is not 0.9 in float32
    theirs_ = theirs(FixedGRPO, tmp_path, rewards, loss_type="grpo")
    mine = ours(grpo(NO_PENALTY), rewards)
    assert mine.advantages[:4].abs().max() == 0
    torch.testing.assert_close(mine.advantages[4:], theirs_.advantages[4:], atol=1e-5, rtol=1e-5)
    assert theirs_.advantages[:4].abs().max() > 1e-4

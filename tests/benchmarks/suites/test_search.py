"""The space of a search: what is sought by default, points in it, and what cannot be searched."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.suites.search import Range, Search, default_point, default_space, placed
from ppo_vs_grpo.benchmarks.suites.sections import Arm
from ppo_vs_grpo.tasks.errors import UserError

TRAIN = TrainConfig(prompts_per_update=8, group_size=8, learning_rate=4e-4, beta=0.01, clip_low=0.2, clip_high=0.2)
CRITIC = {"critic": {"kind": "head", "learning_rate": 1e-3}, "lam": 0.95}


def test_a_critic_is_sought_where_there_is_one() -> None:
    with_critic, without = default_space(CRITIC, TRAIN), default_space({"kl": 1.0}, TRAIN)
    assert with_critic.keys() - without.keys() == {"config.critic.learning_rate", "config.lam"}
    assert with_critic["config.critic.learning_rate"] == Range(low=1.25e-4, high=8e-3)
    assert with_critic["config.lam"] == [0.9, 0.95, 0.99, 1.0]
    assert without["train.learning_rate"] == Range(low=5e-5, high=3.2e-3)
    assert without["train.beta"] == [0.0, 0.003, 0.01, 0.03]


def test_a_critics_rate_is_sought_by_its_ratio_where_it_has_one() -> None:
    own = {"critic": {"kind": "head", "learning_rate": 1e-3, "learning_rate_ratio": 2.0}}
    space = default_space(own, TRAIN)
    assert "config.critic.learning_rate" not in space
    assert space["config.critic.learning_rate_ratio"] == Range(low=0.25, high=16)


def test_a_group_divides_the_batch_and_one_completion_a_prompt_stays_one() -> None:
    assert default_space({}, TRAIN)["train.group_size"] == [4, 8, 16]
    odd = TRAIN.model_copy(update={"prompts_per_update": 3, "group_size": 4})
    assert "train.group_size" not in default_space({}, odd)  # 12 completions: 4 alone divides them
    alone = TRAIN.model_copy(update={"prompts_per_update": 64, "group_size": 1})
    assert "train.group_size" not in default_space({}, alone)


def test_the_arms_own_settings_are_a_point() -> None:
    assert default_point(default_space(CRITIC, TRAIN), CRITIC, TRAIN) == {
        "train.learning_rate": 4e-4, "train.beta": 0.01, "train.epochs": 1, "train.mini_batches": 2,
        "train.clip": 0.2, "train.group_size": 8, "config.critic.learning_rate": 1e-3, "config.lam": 0.95,
    }  # fmt: skip
    assert default_point({"train.beta": [0.1, 0.2]}, {}, TRAIN) == {}


def test_a_point_keeps_the_completions_of_an_update() -> None:
    arm = Arm(algorithm="ppo", config={"critic": {"kind": "model"}}, train={"beta": 0.1})
    point = {"train.group_size": 16, "train.clip": 0.1, "config.critic.learning_rate": 5e-3, "config.lam": 0.9}
    changed = placed(arm, point, TRAIN, "s.yaml: search.space.ppo")
    assert changed.train == {
        "beta": 0.1, "group_size": 16, "prompts_per_update": 4, "clip_low": 0.1, "clip_high": 0.1,
    }  # fmt: skip
    assert changed.config == {"critic": {"kind": "model", "learning_rate": 5e-3}, "lam": 0.9}
    assert arm.config == {"critic": {"kind": "model"}}
    with pytest.raises(UserError, match=r"s.yaml: search.space.ppo.train.group_size: 6: does not divide .* 64 "):
        placed(arm, {"train.group_size": 6}, TRAIN, "s.yaml: search.space.ppo")


@pytest.mark.parametrize(
    ("space", "why"),
    [
        ({"ppo": {}}, "space.ppo: nothing to search"),
        ({"ppo": {"train.completions": [64, 128]}}, "space.ppo.train.completions: the same for every arm"),
        ({"ppo": {"learning_rate": [1e-3, 1e-4]}}, "space.ppo.learning_rate: should begin with train. or config."),
        ({"ppo": {"train.beta": {"low": 0.1, "high": 0.1}}}, "low: 0.1: should be below high"),
        ({"ppo": {"train.beta": {"low": 0.0, "high": 0.1}}}, "greater than 0"),
        ({"ppo": {"train.beta": [0.1]}}, "at least 2"),
    ],
)
def test_what_cannot_be_searched(space: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Search(space=space)

"""Claims as a suite declares them: what cannot be measured is refused, in words that say what would be right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from claimed import claim, claiming, scored
from handmade import WAVE
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.claims import check, judge_claims
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError


def leads() -> Results:
    return scored({"base": {"a": [0.5] * 8}, "more": {"a": 0.6 + 0.02 * WAVE}})


def lead(arm: str, **more: Any) -> dict[str, Any]:
    return claim("final_score", ["base", arm], **more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"measure": "seed_spred"}, "claims.C.measure: seed_spred: no measure; did you mean 'seed_spread'"),
        ({"arms": ["a"]}, "claims.C.arms: a: seed_spread is of two arms"),
        ({"than": 0.0}, "claims.C.than: 0.0: seed_spread is a ratio, above 0; 1 is equal"),
        ({"margin": 0.05}, "claims.C.margin: 0.05: seed_spread is a ratio; a factor above 1"),
        ({"margin": 1.0}, "claims.C.margin: 1.0: seed_spread is a ratio; a factor above 1"),
        ({"margin": 1.5}, "claims.C.margin: 1.5: seed_spread is tested with 1.25 only"),
        ({"than": 2.0}, "claims.C.than: 2.0: seed_spread is tested with 1 only"),
        ({"measure": "explained_variance"}, "claims.C.arms: a, b: explained_variance is of one arm"),
        (
            {"dial": {"setting": "x", "points": {"2": {"arms": ["a"], "tasks": ["a"]}}}},
            "claims.C.dial.points.2.arms: a: seed_spread is of two arms",
        ),
    ],
)
def test_a_claim_that_cannot_be_measured_is_refused(more: dict[str, Any], message: str) -> None:
    good = claim("seed_spread", ["a", "b"], than=1.0, margin=1.25)
    check({"C": good})
    with pytest.raises(UserError) as caught:
        check({"C": {**good, **more}})
    assert str(caught.value).startswith(message)
    with pytest.raises(UserError):
        judge_claims(claiming(leads(), {"C": {**good, **more}}))


def test_memory_and_means_take_any_margin() -> None:
    check({"M": claim("peak_memory", ["a", "b"], than=2.0, margin=1.3), "F": lead("more", than=0.3, margin=0.2)})


def test_a_validated_suites_claims_are_read_as_they_are_written() -> None:
    suite = Suite.model_validate(
        {
            "name": "x",
            "tasks": {"a": {"task": "recall"}},
            "arms": {name: {"algorithm": "ppo"} for name in ("base", "more")},
            "seeds": 8,
            "claims": {"C": {key: value for key, value in lead("more").items() if key != "dial"}},
        }
    )
    written = json.loads(json.dumps(suite.model_dump(mode="json")))["claims"]
    assert judge_claims(claiming(leads(), written))[0].verdict == "supported"

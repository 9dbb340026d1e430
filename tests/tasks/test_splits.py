"""Splits are disjoint by text, streams are random access, and everything is the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import combinations, pairwise
from typing import Any, get_args

import numpy as np
import pytest

from drawing import DRAWING
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.arithmetic import STRATA
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.splits import Split, data_hash, demonstrations, heldout, problems, rng, split_of

SPLITS: tuple[Split, ...] = get_args(Split)
every_task = pytest.mark.parametrize("name", DRAWING)


def prompts(found: list[Problem]) -> list[str]:
    return [problem.prompt for problem in found]


@every_task
def test_no_prompt_is_in_two_splits(name: str) -> None:
    task = make(name)
    seen = {
        split: {*prompts(problems(task, split, 0, 0, 200)), *prompts(heldout(task, split, 256))} for split in SPLITS
    }
    seen["train"] |= {problem.prompt for problem, _ in demonstrations(task, 1000)}
    assert all(seen[a].isdisjoint(seen[b]) for a, b in combinations(SPLITS, 2))
    assert all(split_of(prompt) == split for split in SPLITS for prompt in seen[split])


def test_an_eighth_is_held_out_and_an_eighth_for_validation() -> None:
    shares = Counter(split_of(f"prompt {i}") for i in range(8000))
    assert shares["heldout"] == pytest.approx(1000, abs=100)
    assert shares["validation"] == pytest.approx(1000, abs=100)


def test_the_split_of_a_text_never_changes() -> None:
    assert [split_of(text) for text in ("a", "h", "p")] == ["train", "validation", "heldout"]


@every_task
def test_an_item_does_not_depend_on_where_reading_starts(name: str) -> None:
    task = make(name)
    read = problems(task, "train", 3, 0, 48)
    assert problems(task, "train", 3, 16, 16) == read[16:32]
    assert problems(task, "train", 3, 47, 1) == read[47:]


@every_task
def test_two_seeds_share_few_prompts(name: str) -> None:
    """Seeding item i by seed + i would make two neighbouring seeds share all but one of their prompts."""
    task = make(name)
    streams = [set(prompts(problems(task, "train", seed, 0, 256))) for seed in range(4)]
    assert all(len(a & b) < 0.2 * 256 for a, b in pairwise(streams))


@every_task
def test_the_splits_streams_are_not_each_others(name: str) -> None:
    task = make(name)
    assert prompts(problems(task, "validation", 0, 0, 20)) != prompts(problems(task, "validation", 1, 0, 20))
    assert prompts(heldout(task, "heldout", 20)) != prompts(heldout(task, "validation", 20))


@every_task
@pytest.mark.parametrize("split", SPLITS)
def test_heldout_prompts_are_distinct_and_a_longer_list_starts_with_a_shorter(name: str, split: Split) -> None:
    found = heldout(make(name), split, 256)
    assert len(set(prompts(found))) == 256
    assert heldout(make(name), split, 64) == found[:64]


def test_more_demonstrations_start_with_the_fewer() -> None:
    task = make("sorting")
    assert demonstrations(task, 30)[:10] == demonstrations(task, 10)


@pytest.mark.parametrize(
    ("name", "options"),
    [("recall", {"pairs": 4}), ("sorting", {"length": 4}), ("countdown", {"numbers": 4}), ("recall", {"horizon": 1})],
)
def test_the_smallest_spaces_hold_256_prompts(name: str, options: dict[str, Any]) -> None:
    assert len(heldout(make(name, options), "heldout", 256)) == 256
    assert len(heldout(make(name, options), "validation", 256)) == 256


def test_too_few_prompts_are_told() -> None:
    with pytest.raises(UserError, match=r"'parity' has too few different prompts: .* heldout split after"):
        heldout(make("user_task:Parity", {"highest": 40}), "heldout", 40)
    with pytest.raises(UserError, match=r"gave no prompt of the (heldout|validation) split"):
        problems(
            make("user_task:Parity", {"highest": 0}),
            "validation" if split_of("0:") == "heldout" else "heldout",
            0,
            0,
            1,
        )


@pytest.mark.parametrize("split", SPLITS)
def test_the_mix_keeps_its_shares_in_every_split(split: Split) -> None:
    mix = {"easy": 0.1, "medium": 0.2, "hard": 0.3, "unsolvable": 0.4}
    task = make("arithmetic", {"mix": mix})
    found = Counter(problem.stratum for seed in range(4) for problem in problems(task, split, seed, 0, 750))
    assert all(found[stratum] / 3000 == pytest.approx(share, abs=0.04) for stratum, share in mix.items())


def test_the_distinct_rule_hardly_moves_the_mix() -> None:
    found = Counter(problem.stratum for problem in heldout(make("arithmetic"), "heldout", 1000))
    assert all(found[stratum] / 1000 == pytest.approx(0.25, abs=0.05) for stratum in STRATA)


@pytest.mark.parametrize("stratum", STRATA)
def test_every_stratum_has_thousands_of_prompts(stratum: str) -> None:
    task = make("arithmetic", {"mix": {stratum: 1.0}})
    stream = rng("space")
    assert len({task.draw(stream).prompt for _ in range(12_000)}) > 2000


def test_every_part_makes_a_generator_of_its_own() -> None:
    parts: list[tuple[str | int, ...]] = [
        (1,),
        (2,),
        ("1",),
        (1, 2),
        (2, 1),
        ("12",),
        ("1", "2"),
        (2**32 + 1,),
        (-1,),
        (),
    ]
    firsts = {int(rng(*part).integers(2**62)) for part in parts}
    assert len(firsts) == len(parts)
    assert rng("a", 1).random() == rng("a", 1).random()
    assert rng("a", int(np.int64(1))).random() == rng("a", np.int64(1)).random()  # type: ignore[arg-type]


def test_two_processes_draw_the_same() -> None:
    code = (
        "from ppo_vs_grpo.tasks import make\n"
        "from ppo_vs_grpo.tasks.splits import *\n"
        f"for name in {DRAWING}:\n"
        "    task = make(name)\n"
        "    print(data_hash(task), demonstrations(task, 50), problems(task, 'train', 1, 5, 20))\n"
        "    print(heldout(task, 'heldout', 20), rng(name, 1).random())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].count("\n") == 2 * len(DRAWING)


def test_the_data_hash_tells_tasks_and_options_apart() -> None:
    choices: list[tuple[str, dict[str, Any]]] = [
        *((name, {}) for name in DRAWING),
        ("countdown", {"demo_accuracy": 0.1}),
        ("sorting", {"graded": not make("sorting").graded}),  # type: ignore[attr-defined]
        ("recall", {"horizon": 3}),
        ("user_task:Parity", {}),
    ]
    assert len({data_hash(make(name, options)) for name, options in choices}) == len(choices)
    assert data_hash(make("recall")) == data_hash(make("recall"))


def test_the_data_hash_moves_with_version_and_score(monkeypatch: pytest.MonkeyPatch) -> None:
    before = data_hash(make("user_task:Parity"))
    monkeypatch.setattr("user_task.Parity.version", 2)
    after = data_hash(make("user_task:Parity"))
    monkeypatch.undo()
    monkeypatch.setattr("user_task.Parity.best_score", 0.5)
    assert len({before, after, data_hash(make("user_task:Parity"))}) == 3

"""Reward models: their labels, what they learn, where they live, and a run that trains on one."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau
from transformers import AutoModelForCausalLM, AutoTokenizer

from copying import Copying
from ppo_vs_grpo.algorithms.shared.config import EvalConfig, TrainConfig
from ppo_vs_grpo.benchmarks import rewardmodel, starts, worker
from ppo_vs_grpo.benchmarks.rewardmodel import Candidates, chance_to_win, preferences
from ppo_vs_grpo.benchmarks.spec import ProbeConfig, TaskChoice
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.learned import Judge, Learned
from ppo_vs_grpo.tasks.splits import heldout, split_of
from test_record import SPEC

QUICK = starts.Size(hidden=32, layers=1, heads=2, intermediate=32, learning_rate=5e-3, demonstrations=512, steps=60)
LETTERS = "abcdefgh"


class Alphabet(Copying):
    """Late letters are better; what comes after the first does not count, and only the last letter passes."""

    name: ClassVar[str] = "alphabet"

    def score(self, problem: Problem, completion: str) -> Score:
        """10 to 17 for a letter, by its place; 3 for anything else."""
        place = LETTERS.find(completion[:1]) if completion else -1
        return Score(10.0 + place if place >= 0 else 3.0, completion[:1] == "h")


CHOICE = TaskChoice(
    task="learned", options={"task": f"{__name__}:Alphabet", "preferences": 1500, "label_temperature": 1.0}
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A start model with its reward model, built as the runner's command does."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trainers' own, in a process of their own otherwise
        patch.setitem(starts.SIZES, "nano", QUICK)
        starts._hash_of_recipe.cache_clear()
        folder = starts.build("nano", CHOICE, tmp_path_factory.mktemp("cache"))
    starts._hash_of_recipe.cache_clear()
    return folder


@pytest.fixture(scope="module")
def judge(start: Path) -> Judge:
    return rewardmodel.load(start)


def labels(*rated: tuple[str, float], temperature: float, times: int = 1) -> list[tuple[str, str]]:
    texts, rewards = zip(*rated, strict=True)
    asked = [Candidates(Problem("p"), texts, rewards)] * times
    made = preferences(asked, temperature, np.random.default_rng(0))
    assert {pair["prompt"] for pair in made} <= {"p"}
    return [(pair["chosen"], pair["rejected"]) for pair in made]


def test_at_temperature_0_the_better_one_wins_every_pair_and_equals_have_none() -> None:
    assert set(labels(("x", 0.0), ("y", 1.0), ("z", 1.0), temperature=0)) == {("y", "x"), ("z", "x")}
    assert labels(("x", 0.0), ("x", 0.0), temperature=0.1) == []  # one completion, sampled twice


def test_labels_are_drawn_by_bradley_and_terry() -> None:
    made = labels(("x", 0.3), ("y", 0.5), temperature=0.2, times=4000)
    assert len(made) == 4000
    expected = 1 / (1 + np.exp(-1.0))
    assert made.count(("y", "x")) / 4000 == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 4000) ** 0.5)


@pytest.mark.parametrize(
    ("ahead", "temperature", "chance"),
    [(0.2, 0.2, 0.7310586), (-0.2, 0.2, 0.2689414), (0.0, 0.5, 0.5), (1.0, 1e-9, 1.0), (-1.0, 0.0, 0.0), (0.1, 0.0, 1)],
)
def test_the_chance_to_win(ahead: float, temperature: float, chance: float) -> None:
    assert chance_to_win(ahead, temperature) == pytest.approx(chance)


def test_a_reward_model_learns_the_gold_order_inside_a_prompt(judge: Judge) -> None:
    prompts = [problem.prompt for problem in heldout(Alphabet(), "heldout", 20)]
    taus = [kendalltau(judge([prompt] * 8, LETTERS), range(8)).statistic for prompt in prompts]
    assert np.mean(taus) > 0.9


def test_rewards_have_the_golds_mean_and_spread_over_what_taught_them(start: Path, judge: Judge) -> None:
    task = make(CHOICE.task, CHOICE.options)
    assert isinstance(task, Learned)
    policy, tokenizer = AutoModelForCausalLM.from_pretrained(start), AutoTokenizer.from_pretrained(start)
    asked = rewardmodel.candidates(task, policy.eval(), tokenizer)
    assert len(asked) == 1500
    assert {len(c.texts) for c in asked} == {3}
    rows = [(c.problem.prompt, text, gold) for c in asked for text, gold in zip(c.texts, c.rewards, strict=True)]
    assert all(task.score(Problem(p), text).reward == gold for p, text, gold in rows)
    assert all(split_of(p) == "train" for p, *_ in rows)
    golds, rewards = [gold for *_, gold in rows], judge([p for p, *_ in rows], [text for _, text, _ in rows])
    assert (np.mean(rewards), np.std(rewards)) == pytest.approx((np.mean(golds), np.std(golds)), rel=1e-3)


def test_a_reward_does_not_depend_on_the_rows_beside_it(judge: Judge) -> None:
    prompts, texts = ["a:", "abcd:", "b:"] * 100, ["h", "abcd", ""] * 100
    together = judge(prompts, texts)
    assert together[:3] == pytest.approx(
        [judge([p], [t])[0] for p, t in zip(prompts[:3], texts, strict=False)], abs=1e-4
    )
    assert together[-3:] == pytest.approx(together[:3], abs=1e-4)


def test_what_teaches_the_reward_model_decides_its_folder_and_nothing_else_does(tmp_path: Path) -> None:
    def at(**options: Any) -> Path:
        choice = TaskChoice(task="learned", options={"task": "recall"} | options)
        return starts.locate("nano", choice, tmp_path)

    places = [at(), at(preferences=500), at(label_temperature=0.5), at(options={"pairs": 5})]
    assert len(set(places)) == 4
    assert at() == places[0]
    starts._hash_of_recipe.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewardmodel, "RECIPE", 999)
        assert at() != places[0]
        plain = starts.locate("nano", TaskChoice(task="recall"), tmp_path)
    starts._hash_of_recipe.cache_clear()
    assert starts.locate("nano", TaskChoice(task="recall"), tmp_path) == plain


def test_a_model_at_a_path_has_no_reward_model(start: Path) -> None:
    with pytest.raises(UserError, match="taught beside an embedded start model: nano, tiny, small"):
        starts.digest(str(start), CHOICE)


def test_completions_that_are_all_equal_teach_nothing(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewardmodel, "candidates", lambda *_: [Candidates(Problem("p"), ("x", "x"), (1.0, 1.0))])
    task = make(CHOICE.task, CHOICE.options)
    assert isinstance(task, Learned)
    with pytest.raises(UserError, match="give no preference"):
        rewardmodel.teach(task, start)


@pytest.mark.parametrize("arm", ["ppo", "grpo"])
def test_a_run_trains_on_the_model_and_is_measured_by_gold(tmp_path: Path, start: Path, judge: Judge, arm: str) -> None:
    train = TrainConfig(completions=64, prompts_per_update=4, group_size=8, max_new_tokens=4)
    evaluated = EvalConfig(prompts=8, points=2, transcripts=8)
    changes = {"arm": arm, "algorithm": arm, "task_choice": CHOICE, "train": train, "eval": evaluated}
    probes = ProbeConfig(prompts=2, reference_prompts=2, continuations=2, prefixes=1)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "spec.json").write_text(SPEC.model_copy(update={**changes, "probes": probes}).model_dump_json())
    assert worker.main([str(folder), str(start)]) == 0
    metrics = pd.read_parquet(folder / "metrics.parquet").to_dict("records")
    assert len(metrics) == 2
    assert all(3 <= row["reward_gold"] <= 17 for row in metrics)
    assert all(row["reward_mean"] != row["reward_gold"] for row in metrics)
    written = [json.loads(line) for line in gzip.decompress((folder / "samples.jsonl.gz").read_bytes()).splitlines()]
    assert [row["reward"] for row in written] == pytest.approx(
        judge([row["prompt"] for row in written], [row["completion"] for row in written]), abs=1e-3
    )
    assert [row["passed"] for row in written] == [row["completion"][:1] == "h" for row in written]

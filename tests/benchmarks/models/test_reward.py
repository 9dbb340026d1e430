"""Reward models: their labels, what they learn, where they live, and a run that trains on one."""

from __future__ import annotations

import gzip
import json
import shutil
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau
from transformers import AutoModelForCausalLM, AutoTokenizer

from copying import Copying
from example_spec import SPEC
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.scoring import texts
from ppo_vs_grpo.algorithms.shared.types import Rollouts
from ppo_vs_grpo.benchmarks.models import embedded, reward, store, tiny
from ppo_vs_grpo.benchmarks.models.reward import Candidates, chance_to_win, preferences
from ppo_vs_grpo.benchmarks.probes import ProbeConfig
from ppo_vs_grpo.benchmarks.run import worker
from ppo_vs_grpo.benchmarks.suites.sections import EvalConfig, TaskChoice
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.learned import Learned
from ppo_vs_grpo.tasks.rewards.models import Judge
from ppo_vs_grpo.tasks.splits import heldout, problems, split_of

QUICK = tiny.Size(hidden=32, layers=1, heads=2, intermediate=32, learning_rate=5e-3, demonstrations=512, steps=60)
LETTERS = "abcdefgh"


class Alphabet(Copying):
    """Late letters are better; what comes after the first does not count, and only the last letter passes."""

    name: ClassVar[str] = "alphabet"

    def score(self, problem: Problem, completion: str) -> Score:
        """10 to 17 for a letter, by its place; 3 for anything else."""
        place = LETTERS.find(completion[:1]) if completion else -1
        return Score(10.0 + place if place >= 0 else 3.0, completion[:1] == "h")


CHOICE = TaskChoice(
    task="learned", options={"task": f"{__name__}:Alphabet", "preferences": 1500, "label_temperature": 1.0, "models": 2}
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A start model with its two reward models, built as the runner's command does."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trainers' own, in a process of their own otherwise
        patch.setitem(tiny.SIZES, "nano", QUICK)
        embedded.hash_of_recipe.cache_clear()
        folder = store.build("nano", CHOICE.task, CHOICE.options, tmp_path_factory.mktemp("cache"))
    embedded.hash_of_recipe.cache_clear()
    return folder


@pytest.fixture(scope="module")
def judge(start: Path) -> Judge:
    return reward.load(start)


def task(**changes: Any) -> Learned:
    made = make(CHOICE.task, CHOICE.options | changes)
    assert isinstance(made, Learned)
    return made


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
    asked = heldout(Alphabet(), "heldout", 20)
    taus = [kendalltau(judge([problem] * 8, LETTERS), range(8)).statistic for problem in asked]
    assert np.mean(taus) > 0.9


@pytest.fixture(scope="module")
def asked(start: Path) -> list[list[Candidates]]:
    """What each of the two models was taught from."""
    policy, tokenizer = AutoModelForCausalLM.from_pretrained(start), AutoTokenizer.from_pretrained(start)
    return [reward.candidates(task(), policy.eval(), tokenizer, number) for number in range(2)]


@pytest.mark.parametrize("number", [0, 1])
def test_rewards_have_the_golds_mean_and_spread_over_what_taught_them(
    start: Path, asked: list[list[Candidates]], number: int
) -> None:
    assert len(asked[number]) == 1500
    assert {len(c.texts) for c in asked[number]} == {3}
    rows = [(c.problem.prompt, text, r) for c in asked[number] for text, r in zip(c.texts, c.rewards, strict=True)]
    assert all(task().score(Problem(p), text).reward == gold for p, text, gold in rows)
    assert all(split_of(p) == "train" for p, *_ in rows)
    judge = reward.load(start, number)
    golds, rewards = [gold for *_, gold in rows], judge([Problem(p) for p, *_ in rows], [text for _, text, _ in rows])
    assert (np.mean(rewards), np.std(rewards)) == pytest.approx((np.mean(golds), np.std(golds)), rel=1e-3)


def test_each_model_is_taught_from_problems_and_completions_of_its_own(asked: list[list[Candidates]]) -> None:
    first, second = ([c.problem.prompt for c in each] for each in asked)
    assert np.mean([a == b for a, b in zip(first, second, strict=True)]) < 0.1
    for seed in (0, 1):
        runs = [problem.prompt for problem in problems(task(), "train", seed, 0, len(first))]
        assert np.mean([a == b for a, b in zip(first, runs, strict=True)]) < 0.1
    same = zip(*([(c.problem.prompt, c.texts) for c in each] for each in asked), strict=True)
    assert not any(a == b for a, b in same)


def test_each_completion_stands_with_the_problem_that_it_answers(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine says which prompt a row answers; what stands with a problem are its rows' texts."""
    made: list[Rollouts] = []
    generate = HuggingFaceEngine.generate

    def listened(*args: Any, **options: Any) -> Rollouts:
        made.append(generate(*args, **options))
        return made[-1]

    monkeypatch.setattr(HuggingFaceEngine, "generate", listened)
    policy, tokenizer = AutoModelForCausalLM.from_pretrained(start), AutoTokenizer.from_pretrained(start)
    found = reward.candidates(task(), policy.eval(), tokenizer)
    (rollouts,) = made
    written: dict[str, list[str]] = {}
    for group, text in zip(rollouts.group_B.tolist(), texts(rollouts, tokenizer), strict=True):
        written.setdefault(f"{group} {rollouts.prompts.problems[group].prompt}", []).append(text)
    assert {f"{i} {c.problem.prompt}": list(c.texts[:2]) for i, c in enumerate(found)} == written
    assert len({tuple(pair) for pair in written.values()}) > 100, "all alike: a wrong row would not show"


def test_the_first_model_is_the_same_however_many_there_are(start: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(start, tmp_path / "alone", ignore=shutil.ignore_patterns("reward*")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reward.teach(task(models=1), alone)
    weights = [place / "model.safetensors" for place in (alone / "reward", start / "reward", start / "reward-1")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert weights[1].read_bytes() != weights[2].read_bytes()
    assert not (alone / "reward-1").exists()


def test_each_model_draws_labels_of_its_own(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def stop(asked: object, temperature: float, stream: np.random.Generator) -> list[dict[str, str]]:
        drawn.append(stream.random())
        return []

    monkeypatch.setattr(reward, "candidates", lambda *_: [])
    monkeypatch.setattr(reward, "preferences", stop)
    for number in (0, 1, 2, 1):
        with pytest.raises(UserError, match="give no preference"):
            reward.teach(task(), start, number)
    assert drawn[3] == drawn[1]
    assert len(set(drawn)) == 3


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_each_model_begins_with_a_head_and_an_order_of_its_own(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []
    orders: list[int] = []

    class Stopped(Exception):
        """Instead of teaching."""

    def stop(model: Any, args: Any, **_: Any) -> None:
        heads.append(model.score.weight.detach().numpy().tobytes())
        orders.append(args.seed)
        raise Stopped

    monkeypatch.setattr("trl.RewardTrainer", stop)
    one = [Candidates(Problem("p"), ("a", "b"), (1.0, 0.0))]
    monkeypatch.setattr(reward, "candidates", lambda *_: one)
    for number in (0, 1, 2, 1):
        with pytest.raises(Stopped):
            reward.teach(task(), start, number)
    assert heads[3] == heads[1]
    assert len(set(heads)) == 3
    assert orders == [0, 1, 2, 1]


def test_a_reward_does_not_depend_on_the_rows_beside_it(judge: Judge) -> None:
    prompts, texts = [Problem("a:"), Problem("abcd:"), Problem("b:")] * 100, ["h", "abcd", ""] * 100
    together = judge(prompts, texts)
    assert together[:3] == pytest.approx(
        [judge([p], [t])[0] for p, t in zip(prompts[:3], texts, strict=False)], abs=1e-4
    )
    assert together[-3:] == pytest.approx(together[:3], abs=1e-4)


def test_what_teaches_the_reward_model_decides_its_folder_and_nothing_else_does(tmp_path: Path) -> None:
    def at(**options: Any) -> Path:
        return store.locate("nano", "learned", {"task": "recall"} | options, tmp_path)

    places = [at(), at(preferences=500), at(label_temperature=0.5), at(options={"pairs": 5}), at(models=2)]
    assert len(set(places)) == 5
    assert at() == places[0]
    embedded.hash_of_recipe.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reward, "RECIPE", 999)
        assert at() != places[0]
        plain = store.locate("nano", "recall", {}, tmp_path)
    embedded.hash_of_recipe.cache_clear()
    assert store.locate("nano", "recall", {}, tmp_path) == plain


def test_a_model_at_a_path_has_no_reward_model(start: Path) -> None:
    with pytest.raises(UserError, match="taught beside an embedded start model: nano, tiny, small, medium"):
        store.digest(str(start), CHOICE.task, CHOICE.options)


def test_completions_that_are_all_equal_teach_nothing(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward, "candidates", lambda *_: [Candidates(Problem("p"), ("x", "x"), (1.0, 1.0))])
    with pytest.raises(UserError, match="give no preference"):
        reward.teach(task(), start)


@pytest.mark.parametrize(("arm", "seed"), [("ppo", 4), ("grpo", 3)])
def test_a_run_trains_on_its_seeds_model_and_is_measured_by_gold(
    tmp_path: Path, start: Path, arm: str, seed: int
) -> None:
    train = TrainConfig(completions=64, prompts_per_update=4, group_size=8, max_new_tokens=4)
    evaluated = EvalConfig(prompts=8, points=2, transcripts=8)
    changes = {"arm": arm, "algorithm": arm, "task_choice": CHOICE, "seed": seed, "train": train, "eval": evaluated}
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
    asked = [Problem(row["prompt"]) for row in written], [row["completion"] for row in written]
    judged = [reward.load(start, number)(*asked) for number in (seed % 2, 1 - seed % 2)]
    assert [row["reward"] for row in written] == pytest.approx(judged[0], abs=1e-3)
    assert [row["reward"] for row in written] != pytest.approx(judged[1], abs=1e-3)
    assert [row["passed"] for row in written] == [row["completion"][:1] == "h" for row in written]

"""Problems of Reasoning Gym: all its generators, strict and graded scores, seeds, and what a mistake is told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from reasoning_gym.factory import DATASETS, create_dataset

from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Score
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.gym import INSTRUCTION, WITHOUT_ANSWER, ReasoningGym
from ppo_vs_grpo.tasks.rewards.worker import SCORING_BYTES, Place, Worker
from ppo_vs_grpo.tasks.splits import data_hash, demonstrations, heldout, problems, rng, split_of

GENERATORS = sorted(DATASETS.keys() - {"composite"})
"""All that make problems of their own; `composite` mixes others, which its option `datasets` has to name."""

QUICK = {
    "futoshiki": {"min_board_size": 4, "max_board_size": 4},
    "knight_swap": {"impossible_ratio": 1.0},
}
"""Options of the generators that take seconds a problem by default; a possible knight_swap takes 10 to 35 s."""


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    """The tasks of these tests share the process of their rules, which takes a second or two to start."""
    worker = Worker(SCORING_BYTES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppo_vs_grpo.tasks.gym.Worker", lambda memory_bytes: worker)
        yield
    worker.close()


def gym(name: str, **options: Any) -> ReasoningGym:
    task = make(f"reasoning-gym/{name}", options)
    assert isinstance(task, ReasoningGym)
    return task


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the loader of arc_agi leaves its files open
@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_passes_its_own_answer(name: str) -> None:
    options = QUICK.get(name, {})
    task = gym(name, **options)
    problem = task.draw(rng("gym", 1))
    if name in WITHOUT_ANSWER:
        assert problem.facts["answer"] is None
    else:
        answer = problem.facts["answer"]
        assert task.score(problem, answer) == Score(1.0, True, {"credit": 1.0, "parsed": 1.0})
        assert task.score(problem, f"It is <answer>{answer}</answer>").passed
    fresh = create_dataset(name, seed=problem.facts["seed"], size=1, **options)[0]
    assert problem.prompt == f"{fresh['question']}\n{INSTRUCTION}"
    assert problem.facts["answer"] == fresh["answer"]


def test_by_number_the_final_number_counts_and_no_tags_are_asked_for() -> None:
    task = gym("chain_sum", rule="number")
    problem = task.draw(rng("gym", 1))
    answer = problem.facts["answer"]
    assert INSTRUCTION not in problem.prompt
    assert task.score(problem, f"The sum is {answer}.") == Score(1.0, True, {"parsed": 1.0})
    assert task.score(problem, f"{answer}, or rather 5000") == Score(0.0, False, {"parsed": 1.0})
    assert task.score(problem, "I cannot say") == Score(0.0, False, {"parsed": 0.0})
    assert not gym("chain_sum").score(problem, f"The sum is {answer}.").passed
    for wrong in ({"rule": "last"}, {"rule": "number", "graded": True}):
        with pytest.raises(UserError, match=r"options\.rule: .*: should be own, the generator's; or number"):
            gym("chain_sum", **wrong)


@pytest.mark.parametrize("name", ["chain_sum", "list_functions", "acre"])
def test_an_item_does_not_depend_on_what_was_drawn_before(name: str) -> None:
    task = gym(name)
    read = problems(task, "train", 0, 0, 6)
    assert problems(task, "train", 0, 4, 2) == read[4:]
    assert problems(gym(name), "train", 0, 5, 1) == read[5:]


def test_seeds_share_no_items_and_splits_no_prompts() -> None:
    task = gym("chain_sum")
    streams = [{problem.facts["seed"] for problem in problems(task, "train", seed, 0, 200)} for seed in (0, 1)]
    assert len(streams[0] | streams[1]) == 400
    assert {split_of(problem.prompt) for problem in heldout(task, "heldout", 64)} == {"heldout"}


def test_part_credit_is_paid_only_where_it_is_asked_for() -> None:
    strict, graded = gym("chain_sum"), gym("chain_sum", graded=True)
    problem = strict.draw(rng("gym", 2))
    answer = problem.facts["answer"]
    near = f"{answer} or {answer}"
    share = len(answer) / len(near)
    assert strict.score(problem, near) == Score(0.0, False, {"credit": share, "parsed": 1.0})
    assert graded.score(problem, near) == Score(share, False, {"credit": share, "parsed": 1.0})
    assert graded.score(problem, f" {answer}\n").passed


def test_the_last_tag_has_the_answer() -> None:
    task = gym("chain_sum")
    problem = task.draw(rng("gym", 3))
    right = problem.facts["answer"]
    assert task.score(problem, f"<answer>7</answer> no: <answer> {right} </answer> done").passed
    assert not task.score(problem, f"<answer>{right}</answer> no: <answer>7</answer>").passed
    assert not task.score(problem, f"I say {right}").passed


def test_blanks_around_an_answer_do_not_count() -> None:
    task = gym("caesar_cipher")  # its rule compares texts
    problem = task.draw(rng("gym", 5))
    assert task.score(problem, f" {problem.facts['answer']}\n").passed
    assert not task.score(problem, problem.facts["answer"] + ".").passed


@pytest.mark.parametrize("name", ["chain_sum", "prime_factorization", "pool_matrix", "countdown", "syllogism"])
def test_any_text_has_a_score(name: str) -> None:
    task = gym(name)
    problem = task.draw(rng("gym", 4))
    for text in ("", "<answer></answer>", "nonsense", "1 2\n3", "((", "\x00é"):
        assert not task.score(problem, text).passed


def test_a_rule_that_hangs_raises_or_swallows_memory_pays_nothing_and_the_next_one_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = gym("chain_sum")
    problem = task.draw(rng("gym", 1))
    right = problem.facts["answer"]
    assert task.score(problem, right).passed  # the process has started
    monkeypatch.setattr("ppo_vs_grpo.tasks.gym.LIMIT_S", 1.0)
    task._rule = Place("odd_rules:rule_of", {"swallowed_bytes": 3 * 2**30})
    wrong = Score(0.0, False, {"credit": 0.0, "parsed": 0.0})
    for text in ("hang", "raise", "swallow", "nan"):
        assert task.score(problem, text) == wrong, text
    assert task.score(problem, "right") == Score(1.0, True, {"credit": 1.0, "parsed": 1.0})
    with ThreadPoolExecutor(1) as other:
        assert other.submit(task.score, problem, "hang").result() == wrong


def test_options_reach_the_generator() -> None:
    task = gym("chain_sum", min_terms=7, max_terms=7, min_digits=1, max_digits=1)
    assert all(p.prompt.count("+") + p.prompt.count("-") == 6 for p in problems(task, "train", 0, 0, 10))
    assert task.name == "reasoning-gym/chain_sum"
    assert gym("chain_sum", max_new_tokens=9).max_new_tokens == 9


def test_what_an_embedded_model_cannot_learn_is_told() -> None:
    assert demonstrations(gym("chain_sum"), 2)[0][1].lstrip("-").isdigit()
    with pytest.raises(UserError, match=r"^start: reasoning-gym/rush_hour knows no answers to demonstrate"):
        demonstrations(gym("rush_hour"), 1)
    with pytest.raises(UserError, match=r"^start: the embedded models read ASCII only, not the '.' of"):
        demonstrations(gym("emoji_mystery"), 1)
    assert data_hash(gym("rush_hour")) == data_hash(gym("rush_hour"))
    assert data_hash(gym("chain_sum")) != data_hash(gym("chain_sum", min_terms=3))


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("reasoning-gym/chain_sums", {}, ["no generator 'chain_sums'", "did you mean 'chain_sum'"]),
        ("reasoning-gym", {}, ["reasoning-gym", "generator"]),
        ("reasoning-gym/", {}, ["unknown 'reasoning-gym/'"]),
        ("reasoning_gym/chain_sum", {}, ["unknown", "did you mean 'reasoning-gym'"]),
        ("reasoning-gym/chain_sum", {"min_term": 3}, ["options.min_term", "did you mean 'min_terms'"]),
        ("reasoning-gym/chain_sum", {"seed": 3}, ["options.seed", "no such option"]),
        ("reasoning-gym/chain_sum", {"min_terms": 9, "max_terms": 3}, ["options: {'min_terms': 9", "refuses them"]),
        ("reasoning-gym/chain_sum", {"graded": 1}, ["options.graded: 1: should be true or false"]),
    ],
)
def test_a_mistake_is_told_in_one_line(task: str, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        make(task, options)
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)

"""A task with rows: epochs shuffled by the seed, the first different prompts, and what too few rows are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from ppo_vs_grpo.tasks.base import Problem, Score, Split
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.splits import data_hash, demonstrations, heldout, problems, rng


class Listed:
    """Has the rows that it is given."""

    name = "listed"
    version = 3
    max_new_tokens = 4
    best_score = 1.0

    def __init__(self, rows: Mapping[Split, Sequence[str]]) -> None:
        self.given = {split: tuple(Problem(text) for text in texts) for split, texts in rows.items()}

    def rows(self, split: Split) -> Sequence[Problem]:
        return self.given.get(split, ())

    def score(self, problem: Problem, completion: str) -> Score:
        return Score(0.0, False)


class Shown(Listed):
    """Demonstrates its prompts."""

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        return problem.prompt.upper()


LETTERS = Listed({"train": "abcdefg", "heldout": "tuvtuvw", "validation": "xyz"})


def texts(found: Sequence[Problem]) -> str:
    return "".join(problem.prompt for problem in found)


def test_an_epoch_has_every_row_once_and_the_next_is_in_another_order() -> None:
    read = texts(problems(LETTERS, "train", 0, 0, 7 * 40))
    epochs = [read[i : i + 7] for i in range(0, len(read), 7)]
    assert {"".join(sorted(epoch)) for epoch in epochs} == {"abcdefg"}
    assert len(set(epochs)) > 35


def test_item_i_is_the_row_of_its_epochs_permutation() -> None:
    for i in (0, 6, 7, 13, 100):
        order = rng("listed", 3, "train", 5, i // 7).permutation(7)
        assert texts(problems(LETTERS, "train", 5, i, 1)) == "abcdefg"[order[i % 7]]


def test_an_item_does_not_depend_on_where_reading_starts() -> None:
    read = problems(LETTERS, "train", 1, 0, 60)
    assert problems(LETTERS, "train", 1, 5, 30) == read[5:35]
    assert problems(LETTERS, "train", 1, 13, 2) == read[13:15]
    assert problems(LETTERS, "train", 1, 3, 0) == []


def test_seeds_and_splits_have_orders_of_their_own() -> None:
    assert texts(problems(LETTERS, "train", 0, 0, 14)) != texts(problems(LETTERS, "train", 1, 0, 14))
    assert set(texts(problems(LETTERS, "validation", 0, 0, 9))) == set("xyz")


def test_held_out_are_different_prompts_in_a_fixed_order() -> None:
    found = texts(heldout(LETTERS, "heldout", 4))
    assert sorted(found) == list("tuvw")
    assert texts(heldout(LETTERS, "heldout", 2)) == found[:2]
    sorted_file = Listed({"heldout": [f"{i:04}" for i in range(1000)]})
    assert np.mean([int(p.prompt) for p in heldout(sorted_file, "heldout", 100)]) == pytest.approx(500, abs=100)


def test_more_prompts_than_there_are_is_told() -> None:
    with pytest.raises(UserError, match=r"^eval\.prompts: 5: should be at most 4, for task 'listed' .* heldout split$"):
        heldout(LETTERS, "heldout", 5)


@pytest.mark.parametrize("read", [lambda t: problems(t, "train", 0, 0, 1), lambda t: heldout(t, "train", 1)])
def test_a_split_without_rows_is_named(read: object) -> None:
    with pytest.raises(UserError, match=r"'listed' has no rows in its train split"):
        read(Listed({"heldout": "ab"}))  # type: ignore[operator]


def test_demonstrations_are_rows_in_shuffled_epochs() -> None:
    shown = demonstrations(Shown({"train": "abcdefg"}), 17)
    assert [answer for _, answer in shown] == [problem.prompt.upper() for problem, _ in shown]
    assert sorted(texts([problem for problem, _ in shown[:7]])) == list("abcdefg")
    assert len(shown) == 17
    with pytest.raises(UserError, match="'listed' has no demonstrations for an embedded model"):
        demonstrations(LETTERS, 1)


def test_the_data_hash_covers_every_row() -> None:
    rows: dict[Split, Sequence[str]] = {"train": [f"t{i}" for i in range(500)], "heldout": "ab", "validation": "cd"}
    hashes = {data_hash(Listed(rows))}
    for split, texts_ in rows.items():
        hashes.add(data_hash(Listed({**rows, split: [*texts_[:-1], "other"]})))
    assert len(hashes) == 4
    assert data_hash(Listed(rows)) in hashes

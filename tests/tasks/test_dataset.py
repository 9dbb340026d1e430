"""A dataset is a task with rows: its columns, its splits, its rewards, and what a mistake is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ppo_vs_grpo.tasks import make, rewards
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.dataset import Dataset
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.splits import data_hash, demonstrations, heldout, problems, split_of

MANY = [{"prompt": f"{i}+{i}=", "answer": str(2 * i), "level": i % 3} for i in range(300)]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def dataset(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Dataset:
    made = make("dataset", {"source": write(path / "rows.jsonl", rows), "answer": "answer", **options})
    assert isinstance(made, Dataset)
    return made


def row(task: Dataset, prompt: str) -> Problem:
    return next(p for split in ("train", "validation", "heldout") for p in task.rows(split) if p.prompt == prompt)


def test_all_columns_are_facts(tmp_path: Path) -> None:
    task = dataset(tmp_path, MANY, stratum="level")
    assert row(task, "7+7=") == Problem("7+7=", {"prompt": "7+7=", "answer": "14", "level": 1}, "1")
    assert row(dataset(tmp_path, MANY), "7+7=").stratum == "all"
    renamed = [{"ask": "1+1=", "gold": 2}]
    assert row(dataset(tmp_path, renamed, prompt="ask", answer="gold"), "1+1=").facts == {
        "ask": "1+1=",
        "gold": 2,
        "answer": 2,
    }


def test_a_prompt_is_a_template_over_columns(tmp_path: Path) -> None:
    rows = [{"q": "Wie groß?", "n": 3, "answer": "{x}"}]
    task = dataset(tmp_path, rows, prompt="Frage {n}: {q}\n{{Antwort}}:")
    assert row(task, "Frage 3: Wie groß?\n{Antwort}:").facts["answer"] == "{x}"


def test_a_prompt_may_be_a_conversation(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好", "name": None}]
    task = dataset(tmp_path, [{"chat": messages, "answer": "a"}], prompt="chat")
    found = row(task, "Be brief.\n\n你好")
    assert found.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "你好"},
    )


def test_own_splits_are_kept_and_others_go_by_the_hash(tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", [{"prompt": "x", "answer": "1"}, {"prompt": "y", "answer": "2"}])
    task = dataset(tmp_path, MANY, test=test)
    assert [problem.prompt for problem in task.rows("heldout")] == ["x", "y"]
    assert {split_of(problem.prompt) for problem in task.rows("validation")} == {"validation"}
    assert len(task.rows("train")) + len(task.rows("validation")) == 300
    task = dataset(tmp_path, MANY, validation=test)
    assert [problem.prompt for problem in task.rows("validation")] == ["x", "y"]
    assert {split_of(problem.prompt) for problem in task.rows("heldout")} == {"heldout"}


def test_splits_serve_streams_and_held_out_prompts(tmp_path: Path) -> None:
    task = dataset(tmp_path, MANY)
    n = len(task.rows("train"))
    assert sorted(p.prompt for p in problems(task, "train", 0, 0, n)) == sorted(p.prompt for p in task.rows("train"))
    assert {split_of(p.prompt) for p in heldout(task, "heldout", 20)} == {"heldout"}
    with pytest.raises(UserError, match=rf"^eval\.prompts: 300: should be at most {len(task.rows('heldout'))}"):
        heldout(task, "heldout", 300)
    three = dataset(tmp_path, [{"prompt": letter, "answer": "1"} for letter in "aef"])
    with pytest.raises(UserError, match=r"'dataset' has no rows in its (heldout|validation) split"):
        [heldout(three, split, 1) for split in ("heldout", "validation")]


def test_what_was_left_out_is_counted(tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", [*({"prompt": f"t{i}", "answer": "1"} for i in range(100)), MANY[5]])
    validation = write(tmp_path / "v.jsonl", [{"prompt": "v", "answer": "1"}] * 2)
    task = dataset(tmp_path, [*MANY, MANY[5]], test=test, validation=validation)
    assert task.left_out == {"duplicates in validation": 1, "train rows repeated in heldout": 2}


def test_a_score_is_the_rewards_and_its_parts(tmp_path: Path) -> None:
    task = dataset(tmp_path, MANY)
    problem = row(task, "7+7=")
    assert task.score(problem, "14 ") == Score(1.0, True, {"exact": 1.0, "parsed": 1.0})
    assert task.score(problem, "15") == Score(0.0, False, {"exact": 0.0, "parsed": 1.0})
    assert [score.passed for score in task.score_all([problem] * 2, ["15", "14"], [[1], [2]])] == [False, True]


class Fixed:
    """Rewards that are given."""

    names = ("a", "b")

    def rate(self, problems: Any, completions: Any, completion_ids: Sequence[Sequence[int]]) -> list[rewards.Rated]:
        return [rewards.Rated(ids[0] / 10 if ids[0] else None, {"a": ids[1] / 10}) for ids in completion_ids]


def test_passing_is_a_reward_or_a_part_of_at_least_pass_at(tmp_path: Path) -> None:
    ids = [[5, 0], [4, 9], [0, 5], [9, 4]]
    for pass_by, passed in ((None, [True, False, False, True]), ("a", [False, True, True, False])):
        task = dataset(tmp_path, MANY, pass_at=0.5)
        task.rewards, task.pass_by = Fixed(), pass_by  # type: ignore[assignment]
        scores = task.score_all(task.rows("train")[:4], [""] * 4, ids)
        assert [score.passed for score in scores] == passed
        assert [score.reward for score in scores] == [0.5, 0.4, None, 0.9]
    task.pass_by = "b"
    assert not task.score_all(task.rows("train")[:1], [""], [[9, 9]])[0].passed


def test_plain_options_are_attributes(tmp_path: Path) -> None:
    task = dataset(tmp_path, MANY, stop=["\n\n", "Q:"], max_new_tokens=7, best=0.9, version=4)
    assert (task.name, task.version, task.max_new_tokens, task.best_score) == ("dataset", 4, 7, 0.9)
    assert task.stop == ("\n\n", "Q:")
    assert dataset(tmp_path, MANY).stop == ()


def test_an_embedded_model_starts_from_a_column_or_the_answer(tmp_path: Path) -> None:
    rows = [row | {"shown": f"<{row['answer']}>"} for row in MANY]
    assert all(answer == problem.facts["answer"] for problem, answer in demonstrations(dataset(tmp_path, rows), 20))
    shown = demonstrations(dataset(tmp_path, rows, demonstration="shown"), 20)
    assert all(answer == f"<{problem.facts['answer']}>" for problem, answer in shown)
    with pytest.raises(UserError, match=r"^options\.demonstration: .* has no 'shwon'; did you mean 'shown'"):
        demonstrations(dataset(tmp_path, rows, demonstration="shwon"), 1)
    foreign = [*MANY, {"prompt": "größer:", "answer": "1"}]
    with pytest.raises(UserError, match=r"^start: the embedded models read ASCII only, not the 'ö' in 'größer:'"):
        demonstrations(dataset(tmp_path, foreign), 1)


def test_the_data_hash_sees_every_row_and_the_rewards(tmp_path: Path) -> None:
    other = [*MANY[:-1], MANY[-1] | {"level": 7}]
    hashes = [data_hash(dataset(tmp_path, rows)) for rows in (MANY, MANY, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    changed = dataset(tmp_path, MANY)
    changed.rewards = rewards.make({"reward": "exact", "weight": 2.0})
    assert data_hash(changed) != hashes[0]


def test_answers_that_the_reward_cannot_read_are_left_out_while_they_are_few(tmp_path: Path) -> None:
    many = [row | {"prompt": f"say {i}"} for i, row in enumerate([*MANY, *MANY])]
    few = [{**row, "answer": "many" if i in (3, 590) else row["answer"]} for i, row in enumerate(many)]
    test = write(tmp_path / "test.jsonl", [{"prompt": "t", "answer": "1"}])
    task = dataset(tmp_path, few, reward="number", test=test)
    assert task.left_out == {"unusable in train": 2}
    assert {"say 3", "say 590"}.isdisjoint(p.prompt for split in ("train", "validation") for p in task.rows(split))
    bad = [{**row, "answer": "many" if i > 592 else row["answer"]} for i, row in enumerate(many)]
    with pytest.raises(UserError) as caught:
        dataset(tmp_path, bad, reward="number", test=test)
    for word in ("options.reward: 'number' cannot read the answer", "of 600", "row 594: 'many'", "1% may be left out"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (MANY, {"prompt": "promt"}, ["options.prompt", "rows.jsonl", "no column 'promt'", "mean 'prompt'", "answer"]),
        (MANY, {"answer": "gold"}, ["options.answer", "no column 'gold'", "Known: prompt, answer, level"]),
        (MANY, {"stratum": "lvl"}, ["options.stratum", "no column 'lvl'", "mean 'level'"]),
        (MANY, {"prompt": "Q: {question}"}, ["options.prompt", "no column 'question'"]),
        (MANY, {"prompt": "Q: {prompt"}, ["options.prompt: 'Q: {prompt'", "braces of the text are doubled"]),
        (MANY, {"prompt": "{prompt:>9}"}, ["options.prompt", "should hold a column's name"]),
        (MANY, {"prompt": "{}"}, ["options.prompt", "should hold a column's name, not ''"]),
        ([MANY[0], {"prompt": " ", "answer": "1"}], {}, ["rows.jsonl, row 2: the prompt is empty"]),
        ([MANY[0], {"prompt": "", "answer": "1"}], {}, ["rows.jsonl, row 2: the column 'prompt' is empty"]),
        ([MANY[0], {"answer": "1"}], {}, ["row 2: the column 'prompt' is empty"]),
        ([{"prompt": {"a": 1}, "answer": "1"}], {}, ["row 1", "should hold text, not {'a': 1}"]),
        ([{"prompt": ["a"], "answer": "1"}], {}, ["row 1", "role and content, not 'a'"]),
        ([{"prompt": [{"role": "user"}], "answer": "1"}], {}, ["row 1", "role and content"]),
        ([{"prompt": [{"role": "assistant", "content": "x"}], "answer": "1"}], {}, ["row 1", "end before the answer"]),
        ([MANY[0], MANY[1] | {"answer": None}], {}, ["options.reward: 'exact' needs an answer", "row 2: None"]),
        ([{"prompt": "a", "gold": "1"}], {"answer": None}, ["options.reward: 'exact' needs an answer", "row 1"]),
        (MANY, {"reward": "exakt"}, ["options.reward", "mean 'exact'"]),
        (MANY, {"pass_by": "exakt"}, ["options.pass_by: 'exakt'", "mean 'exact'"]),
        (MANY, {"pass_at": "high"}, ["options.pass_at: 'high': should be a finite number"]),
        (MANY, {"stop": "\n"}, ["options.stop: '\\n': should be a list of texts"]),
        (MANY, {"stop": [""]}, ["options.stop", "a list of texts"]),
        (MANY, {"max_new_tokens": 0}, ["options.max_new_tokens: 0"]),
        (MANY, {"marked": "yes"}, ["options.marked: 'yes': should be true or false"]),
        (MANY, {"test": "no.jsonl"}, ["options.test: 'no.jsonl': there is no file /"]),
        (MANY, {"test": 3}, ["options.test: 3: should be a text"]),
        (MANY, {"sauce": 3}, ["options.sauce", "mean 'source'"]),
    ],
)
def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, rows: list[dict[str, Any]], options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        dataset(tmp_path, rows, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message

"""GSM8K and MATH in their own formats: the gold answer, the wording, and where the rows come from."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from ppo_vs_grpo.tasks import make, presets
from ppo_vs_grpo.tasks.dataset import Dataset
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.splits import demonstrations
from word_problems import GSM8K, MATH, written


def made(name: str, source: str, **options: object) -> Dataset:
    task = make(name, {"source": source, **options})
    assert isinstance(task, Dataset)
    return task


def test_a_gsm8k_answer_is_what_stands_behind_its_mark(tmp_path: Path) -> None:
    rows, test = written(tmp_path / "train.jsonl", GSM8K[:30]), written(tmp_path / "test.jsonl", GSM8K[30:])
    task = made("gsm8k", rows, test=test)
    problem = task.rows("heldout")[0]
    assert task.name == "gsm8k"
    assert problem.facts == GSM8K[30] | {"answer": "1,077", "answer_text": GSM8K[30]["answer"]}
    assert problem.prompt == f"{GSM8K[30]['question']}\n" + (
        "Reason step by step. Write the final answer, a number, on a last line after ####."
    )
    passing = [GSM8K[30]["answer"], "#### 1077", "It is $1077.00"]
    assert all(task.score(problem, text).passed for text in passing)
    assert not task.score(problem, "1078").passed
    assert demonstrations(task, 1)[0][1] in [row["answer"] for row in GSM8K]


def test_a_math_answer_is_what_stands_in_its_last_box(tmp_path: Path) -> None:
    task = made("math", written(tmp_path / "rows.jsonl", MATH), reward="exact")
    problem = next(p for p in task.rows("train") if p.facts["problem"].startswith("What is $\\frac{2}"))
    assert problem.facts["answer"] == "\\frac{2\\sqrt{2}}{3}"
    assert problem.facts["answer_text"] == problem.facts["solution"] == MATH[0]["solution"]
    assert problem.stratum == "Level 3"
    assert problem.prompt.endswith("?\nReason step by step. Put the final answer into \\boxed{}.")


def test_the_math_rule_takes_equal_expressions(tmp_path: Path) -> None:
    task = made("math", written(tmp_path / "rows.jsonl", MATH))
    problem = next(p for p in task.rows("train") if p.facts["problem"].startswith("What is $\\frac{2}"))
    texts = ["So \\boxed{\\frac{2}{3}\\sqrt{2}}", "So \\boxed{\\frac{\\sqrt{2}}{3}}", "no idea"]
    assert [score.passed for score in task.score_all([problem] * 3, texts, [()] * 3)] == [True, False, False]


def test_an_answer_without_its_mark_is_named(tmp_path: Path) -> None:
    wrong = [*GSM8K, {"question": "How many?", "answer": "It is 3"}]
    with pytest.raises(UserError, match=r"row 41: 'It is 3'"):
        made("gsm8k", written(tmp_path / "rows.jsonl", wrong))


@pytest.mark.parametrize(
    ("name", "place", "columns"),
    [
        ("gsm8k", ("openai/gsm8k", "main"), ("answer", None)),
        ("math", ("DigitalLearningGmbH/MATH-lighteval", "default"), ("solution", "level")),
    ],
)
def test_a_preset_is_a_dataset_with_other_defaults(
    name: str, place: tuple[str, str], columns: tuple[str, str | None]
) -> None:
    defaults = {key: p.default for key, p in inspect.signature(getattr(presets, name)).parameters.items()}
    assert defaults.keys() == inspect.signature(Dataset).parameters.keys()
    assert (defaults["source"], defaults["config"]) == place
    assert (defaults["answer"], defaults["stratum"], defaults["name"]) == (*columns, name)
    with pytest.raises(UserError, match=r"options\.sorce: .* did you mean 'source'"):
        make(name, {"sorce": "x"})

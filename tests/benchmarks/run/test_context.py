"""Prompts that do not fit the start model's context, and evaluations of more prompts than there are rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoConfig, BloomConfig

from example_spec import SPEC
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.models import tiny
from ppo_vs_grpo.benchmarks.run.context import check_context
from ppo_vs_grpo.benchmarks.run.runner import run_suite
from ppo_vs_grpo.benchmarks.run.trainers import make_trainer
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.errors import UserError
from run_folders import prepared
from tiny_models import save_model

SUITE = """\
start: {model}
tasks: {{sums: {{task: dataset, options: {{source: {rows}, prompt: q, answer: a, max_new_tokens: 8}}}}}}
arms: [ppo, grpo]
seeds: 1
train: {{completions: 128}}
eval: {{prompts: {prompts}}}
timing: null
"""


def written(folder: Path, longest: int, prompts: int = 4) -> Path:
    """A suite in the folder whose data has sixty prompts of two or three characters and one of `longest`."""
    rows = [{"q": f"{n}=", "a": str(n)} for n in range(60)] + [{"q": "x" * longest, "a": "1"}]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    save_model(folder / "model")
    suite = folder / "mine.yaml"
    suite.write_text(SUITE.format(model=folder / "model", rows=folder / "rows.jsonl", prompts=prompts))
    return suite


@pytest.mark.parametrize(("context", "fits"), [(50, True), (49, False)])
def test_the_longest_row_and_the_limit_together_fit_or_not(tmp_path: Path, context: int, fits: bool) -> None:
    written(tmp_path, longest=42)
    options = {"source": str(tmp_path / "rows.jsonl"), "prompt": "q", "answer": "a", "max_new_tokens": 8}
    config = AutoConfig.from_pretrained(tmp_path / "model", max_position_embeddings=context)
    spec = SPEC.model_copy(update={"task": "sums"})
    if fits:
        check_context(spec, make("dataset", options), tiny.tokenizer(), config)
        return
    with pytest.raises(UserError) as error:
        check_context(spec, make("dataset", options), tiny.tokenizer(), config)
    assert str(error.value) == (
        f"tasks.sums: the prompt {'x' * 42!r} has 42 tokens and its completion up to 8, and the start model's context "
        "is 49; leave long prompts out, or lower train.max_new_tokens"
    )


def test_a_model_without_a_limit_takes_any_prompt() -> None:
    check_context(SPEC, make("countdown"), tiny.tokenizer(), BloomConfig())


def test_a_run_asks_a_task_that_draws(tmp_path: Path) -> None:
    _, model = prepared(tmp_path, SPEC)
    long = SPEC.model_copy(update={"train": TrainConfig(max_new_tokens=2000)})
    with pytest.raises(UserError, match=r"tasks\.countdown: the prompt .* its completion up to 2000, and the start"):
        make_trainer(long, model)


def test_a_suite_is_refused_before_its_first_process(tmp_path: Path) -> None:
    suite = written(tmp_path, longest=3000)
    with pytest.raises(UserError, match=rf"^{suite}: tasks\.sums: the prompt 'x{{56}}\.\.\. has 3000 tokens"):
        run_suite(load_suite(suite), str(suite), tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_more_prompts_than_rows_are_refused_before_the_first_process(tmp_path: Path) -> None:
    suite = written(tmp_path, longest=3, prompts=61)
    with pytest.raises(UserError, match=rf"^{suite}: eval\.prompts: 61: should be at most [0-9]+, for task 'dataset'"):
        run_suite(load_suite(suite), str(suite), tmp_path / "results")

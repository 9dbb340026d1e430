"""Held-out prompts one by one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from damage import rehash, run_folder
from handmade import made
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.prompts import prompt_rates, prompt_texts, prompts_reach
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.splits import data_hash, heldout
from synthetic import make_suite, write_results

SUITE: dict[str, Any] = {"tasks": ("sorting", "recall"), "seeds": 2, "updates": 4, "prompts": 3, "timing": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_results(tmp_path / "made", make_suite(**SUITE), diverged=["grpo.sorting.s1"])


def set_specs(folder: Path, **changes: object) -> Results:
    """The results with other values in every spec."""
    for run in (folder / "runs").iterdir():
        spec = json.loads((run / "spec.json").read_text())
        (run / "spec.json").write_text(json.dumps(spec | changes))
        rehash(run)
    return load(folder)


def test_a_prompt_has_each_arms_rate_at_the_end_over_complete_runs(folder: Path) -> None:
    results = load(folder)
    table = prompt_rates(results)
    assert list(table.columns) == ["task", "prompt", "stratum", "text", "ppo", "grpo", "difference"]
    assert table[["task", "prompt"]].to_numpy().tolist() == [[t, i] for t in ("sorting", "recall") for i in range(3)]
    last = (
        results.evals[results.evals["update"] == 4].set_index(["arm", "task", "seed", "prompt"])["passes"].sort_index()
    )
    ppo = (last["ppo", "sorting", 0] + last["ppo", "sorting", 1]) / 8
    grpo = last["grpo", "sorting", 0] / 4  # its other run stopped early
    sorting = table.query("task == 'sorting'")
    for column, values in {"ppo": ppo, "grpo": grpo, "difference": grpo - ppo}.items():
        assert sorting[column].tolist() == values.tolist()
    back = prompt_rates(results, "grpo", "ppo")
    pd.testing.assert_series_equal(back["difference"], -table["difference"])


def test_other_prompts_could_move_the_difference_as_far_as_prompts_differ() -> None:
    """Two tasks of two prompts: differences 0.4 and 0.2, then 0 and 0.1.

    Variances 0.02 and 0.005, of their means 0.01 and 0.0025: 1.96 sqrt(0.0125) / 2 = 0.10957.
    """
    results = made({arm: {task: [[0.1, 0.5]] for task in ("a", "b")} for arm in ("ppo", "grpo")})
    passes = {("ppo", "a"): (1, 3), ("grpo", "a"): (5, 5), ("ppo", "b"): (4, 4), ("grpo", "b"): (4, 5)}
    rows = [
        {"key": f"{arm}.{task}.s0", "arm": arm, "task": task, "seed": 0, "update": 1, "prompt": prompt, "stratum": ""}
        | {"passes": done, "samples": 10, "completions": 100}
        for (arm, task), counts in passes.items()
        for prompt, done in enumerate(counts)
    ]
    results = replace(results, evals=pd.DataFrame(rows))
    assert prompts_reach(results, ("ppo", "grpo"), ("a", "b")) == pytest.approx(0.109567, abs=1e-6)
    one = replace(results, evals=results.evals[results.evals["prompt"] == 0])
    assert math.isnan(prompts_reach(one, ("ppo", "grpo"), ("a", "b")))


def test_texts_are_drawn_again_where_the_task_is_the_one_that_ran(folder: Path) -> None:
    sorting = make("sorting")
    results = set_specs(folder, task_data=data_hash(sorting))
    assert prompt_texts(results, "sorting") == {i: p.prompt for i, p in enumerate(heldout(sorting, "heldout", 3))}
    tuned = set_specs(folder, tuning=True)
    assert prompt_texts(tuned, "sorting") == {i: p.prompt for i, p in enumerate(heldout(sorting, "validation", 3))}
    texts = prompt_rates(tuned)["text"].tolist()
    assert texts[:3] == list(prompt_texts(tuned, "sorting").values())
    assert texts[3:] == ["1 2 3 =", "", ""]  # recall is another task by its hash; a transcript shows one prompt


def test_a_task_that_is_not_installed_leaves_the_transcripts(folder: Path) -> None:
    results = set_specs(folder, task_choice={"task": "no.such.module:Task", "options": {}})
    assert prompt_texts(results, "recall") == {0: "1 2 3 ="}
    none = load(folder)
    assert prompt_texts(none, "a task without runs") == {}


def test_transcripts_are_read_with_their_runs(folder: Path) -> None:
    samples = load(folder).samples
    assert list(samples.columns) == [
        *("arm", "task", "seed", "key", "update", "prompt", "completion", "reward", "passed", "tokens", "ended")
    ]
    assert samples[["arm", "task", "seed"]].drop_duplicates().shape == (8, 3)
    assert samples.iloc[0][["prompt", "completion", "reward", "passed"]].tolist() == ["1 2 3 =", "6", 1.0, True]
    path = run_folder(folder, "ppo.recall.s1") / "samples.jsonl.gz"
    path.unlink()
    rehash(path.parent)
    assert len(load(folder).samples) == 14


@pytest.mark.parametrize("content", [b"not gzip", b""])
def test_transcripts_that_are_no_gzip_are_named(folder: Path, content: bytes) -> None:
    from ppo_vs_grpo.tasks.errors import UserError

    path = run_folder(folder, "ppo.recall.s1") / "samples.jsonl.gz"
    path.write_bytes(content)
    rehash(path.parent)
    with pytest.raises(UserError, match=r"samples\.jsonl\.gz: "):
        load(folder)

"""What `Results` show of themselves: ten lines, whatever the size of the suite."""

from __future__ import annotations

import pytest

from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from synthetic import make_suite, write_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    suite = make_suite(tasks=("sorting", "recall"), seeds=9, updates=4, prompts=4)
    gone = {"failed": ["ppo.recall.s0"], "diverged": ["grpo.recall.s1"], "missing": ["ppo.recall.s2", "grpo.recall.r1"]}
    return load(write_results(tmp_path_factory.mktemp("shown"), suite, **gone))


def keys(results: Results, cell: str) -> str:
    (key,) = [key for key in (*results.runs["key"], *results.missing["key"]) if key.startswith(cell)]
    return str(key)


def test_results_show_what_was_asked_what_is_there_and_what_is_not(results: Results) -> None:
    assert repr(results).splitlines() == [
        "suite     synthetic",
        "arms      ppo, grpo",
        "tasks     sorting, recall",
        "seeds     9: 0, 1, ... 8",
        "training  35 of 36 runs finished",
        "timing    7 of 8 runs finished",
        f"failed    {keys(results, 'ppo.recall.s0')}",
        f"diverged  {keys(results, 'grpo.recall.s1')}",
        f"missing   {keys(results, 'ppo.recall.s2')}, {keys(results, 'grpo.recall.r1')}",
        f"rows      metrics 134, evals 672, samples 68, timing 161, memory {len(results.memory)}, probes 0",
    ]


def test_a_notebook_shows_the_same_escaped(results: Results) -> None:
    page = results._repr_html_()
    assert page.count("<tr>") == 10
    assert "<td style='text-align: left'>35 of 36 runs finished</td>" in page
    odd = type(results)(**{**vars_of(results), "suite": {**results.suite, "name": "<b>"}})
    assert "&lt;b&gt;" in odd._repr_html_()


def vars_of(results: Results) -> dict[str, object]:
    return {name: getattr(results, name) for name in results.__dataclass_fields__}

"""The 2 x 2 of baseline and everything else, on numbers that can be worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from damage import strip
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.attribution import EFFECTS, attribution_table, effects_by_seed
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from synthetic import make_suite, write_results

CELLS = {"ppo": "ppo", "ppo_group": "ppo-group", "grpo_value": "grpo-value", "grpo": "grpo"}


def results(scores: dict[str, list[list[float]]]) -> Any:
    """Scores of each arm, a row a seed and a column a task."""
    frames = {CELLS[cell]: pd.DataFrame(rows, index=[200, 201, 202]) for cell, rows in scores.items()}
    tasks = list(range(len(scores["ppo"][0])))
    return SimpleNamespace(suite={"attribution": CELLS}, tasks=tasks, score_matrix=lambda: frames)


def additive(baseline: float, details: float, interaction: float) -> Any:
    """A world with known effects; the seeds have levels of their own, which a paired difference must not see."""
    level = np.array([[0.1], [0.3], [0.35]])
    return results(
        {
            "ppo": level.tolist(),
            "ppo_group": (level + baseline - interaction / 2).tolist(),
            "grpo_value": (level + details - interaction / 2).tolist(),
            "grpo": (level + baseline + details).tolist(),
        }
    )


@pytest.mark.parametrize(("baseline", "details", "interaction"), [(0.2, 0, 0), (0, 0.1, 0), (0.2, -0.1, 0.06)])
def test_known_effects_are_found_and_add_up(baseline: float, details: float, interaction: float) -> None:
    table = attribution_table(additive(baseline, details, interaction)).set_index("effect")["mean"]
    assert table["baseline"] == pytest.approx(baseline)
    assert table["everything else"] == pytest.approx(details)
    assert table["interaction"] == pytest.approx(interaction)
    assert table["total"] == pytest.approx(table["baseline"] + table["everything else"])


def test_seeds_are_paired_so_their_levels_leave_no_spread() -> None:
    table = attribution_table(additive(0.2, 0.1, 0.0))
    assert (table["high"] - table["low"]).max() == pytest.approx(0, abs=1e-12)


def test_the_interval_is_students_over_seeds() -> None:
    made = results(
        {"ppo": [[0.0]] * 3, "ppo_group": [[0.0]] * 3, "grpo_value": [[0.0]] * 3, "grpo": [[0.1], [0.2], [0.3]]}
    )
    row = attribution_table(made).set_index("effect").loc["total"]
    half = 4.302652729911275 * 0.1 / np.sqrt(3)  # t(0.975; 2), sample sd 0.1
    assert (row["n"], row["mean"]) == (3, pytest.approx(0.2))
    assert row["low"] == pytest.approx(0.2 - half)
    assert row["high"] == pytest.approx(0.2 + half)


@pytest.mark.parametrize(("second", "t"), [([0.5, 0.6, 0.7], 2.7764451051977987), ([0.6, 0.6, 0.6], 4.302652729911275)])
def test_the_mean_over_tasks_weighs_them_equally_with_satterthwaites_freedom(second: list[float], t: float) -> None:
    """Two tasks of equal variance over 3 seeds have 4 degrees of freedom, one without variance leaves the other's 2."""
    first, zero = [0.1, 0.2, 0.3], [[0.0, 0.0]] * 3
    grpo = [list(pair) for pair in zip(first, second, strict=True)]
    table = attribution_table(results({"ppo": zero, "ppo_group": zero, "grpo_value": zero, "grpo": grpo}))
    row = table[(table["task"] == ALL_TASKS) & (table["effect"] == "total")].iloc[0]
    squares = (np.var(first, ddof=1) + np.var(second, ddof=1)) / 3
    assert row["mean"] == pytest.approx((0.2 + 0.6) / 2)
    assert row["high"] - row["mean"] == pytest.approx(t * np.sqrt(squares) / 2)


def test_a_seed_counts_only_where_all_four_arms_finished() -> None:
    made = additive(0.2, 0.1, 0.0)
    made.score_matrix()["grpo-value"].iloc[1, 0] = np.nan
    assert effects_by_seed(made)["seed"].tolist() == [200, 202]


def test_one_seed_has_no_interval_and_none_has_no_row() -> None:
    made = additive(0.2, 0.1, 0.0)
    made.score_matrix()["grpo"].iloc[1:, 0] = np.nan
    assert attribution_table(made)[["low", "high"]].isna().all(axis=None)
    made = additive(0.2, 0.1, 0.0)
    made.score_matrix()["grpo"].iloc[:, 0] = np.nan
    assert attribution_table(made).empty


def test_a_suite_names_the_arm_of_every_cell() -> None:
    suite = make_suite(arms=tuple(CELLS.values()), tasks=("recall",)).model_dump()
    assert [dict(four) for four in Suite.model_validate(suite | {"attribution": CELLS}).attribution] == [CELLS]
    with pytest.raises(ValidationError, match="ppo_group: ppo-grup: no arm of this suite; its arms are ppo, ppo-group"):
        Suite.model_validate(suite | {"attribution": CELLS | {"ppo_group": "ppo-grup"}})


def test_two_crossings_are_split_apart() -> None:
    made = additive(0.2, 0.1, 0.0)
    frames = made.score_matrix()
    other = {role: f"{arm}-critic" for role, arm in CELLS.items()}
    worse = {f"{arm}-critic": frame - 0.3 * (arm == "ppo") for arm, frame in frames.items()}
    both = SimpleNamespace(suite={"attribution": [CELLS, other]}, tasks=made.tasks, score_matrix=lambda: frames | worse)
    table = attribution_table(both).set_index(["difference", "effect"])["mean"]
    assert table["grpo minus ppo", "total"] == pytest.approx(0.3)
    assert table["grpo-critic minus ppo-critic", "total"] == pytest.approx(0.6)
    assert table["grpo-critic minus ppo-critic", "baseline"] == pytest.approx(0.35)


def test_results_of_before_there_was_an_attribution_still_have_a_report(tmp_path: Path) -> None:
    suite = make_suite(tasks=("recall",), seeds=2, updates=8, prompts=16)
    lock = write_results(tmp_path, suite) / "suite.lock.yaml"
    strip(tmp_path)
    data = yaml.safe_load(lock.read_text())
    del data["suite"]["attribution"], data["suite"]["claims"]
    for arm in data["suite"]["arms"].values():
        del arm["tasks"]
    lock.write_text(yaml.safe_dump(data))
    text = write.write(load(tmp_path), tmp_path / "report").read_text()
    assert 'id="verdicts"' in text
    assert 'id="attribution"' not in text
    assert 'id="claims"' not in text


@pytest.mark.parametrize("missing", [(), ("grpo.recall.s0", "grpo.recall.s1", "grpo.recall.s2")])
def test_the_report_has_the_split_as_figure_and_table(tmp_path: Path, missing: tuple[str, ...]) -> None:
    suite = make_suite(arms=tuple(CELLS.values()), tasks=("recall", "sorting"), seeds=3, updates=8, prompts=16)
    suite = Suite.model_validate(suite.model_dump() | {"attribution": CELLS})
    page = write.write(load(write_results(tmp_path, suite, missing=missing)), tmp_path / "report")
    table = pd.read_csv(page.parent / "tables/attribution.csv")
    assert list(table["effect"].unique()) == list(EFFECTS)
    assert list(table["task"].unique()) == (["sorting"] if missing else ["recall", "sorting", ALL_TASKS])
    text = page.read_text()
    assert re.search(r'id="attribution">.*?<svg role="img".{1000}', text, re.DOTALL)

"""What trials say of settings: each number from a search written by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ppo_vs_grpo.benchmarks.analysis.frames import tuning
from ppo_vs_grpo.benchmarks.analysis.frames.load import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS
from ppo_vs_grpo.benchmarks.analysis.report.contents import drawings, judged, make_tables
from ppo_vs_grpo.benchmarks.analysis.report.tables import DASH, dashed
from ppo_vs_grpo.benchmarks.analysis.report.write import write
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import t_interval
from ppo_vs_grpo.benchmarks.suites.sections import Tuned
from searched import START, tuned
from synthetic import make_suite, write_results

OURS = {"a": (0.3, 0.05, 0.9, 0.4, 0.8, 0.6, 0.7, 0.2)}
"""Drawn at random: 0.05, 0.4, 0.6 and 0.2."""


def test_how_much_settings_matter() -> None:
    (row,) = tuning.sensitivity(tuned({"ppo": OURS})).to_dict("records")
    assert row == {
        **{"task": "a", "arm": "ppo", "random trials": 4, "own settings": 0.3, "best of all": 0.9, "trials": 8},
        "median": pytest.approx(0.3),  # of 0.05, 0.2, 0.4, 0.6
        "lower quartile": pytest.approx(0.1625),
        "upper quartile": pytest.approx(0.45),
        "collapsed": 0.25,  # 0.05 is below half of 0.2
    }


def test_over_all_tasks_a_trial_has_the_mean_of_its_scores() -> None:
    results = tuned({"grpo": {"a": (0.1, 0.2, None), "b": (0.3, 0.6, None)}})
    table = tuning.trials(results)
    over = table[table["task"] == ALL_TASKS]
    assert over["score"].tolist()[:2] == pytest.approx([0.2, 0.4])
    assert np.isnan(over["score"].iloc[2])
    assert over["start"].tolist() == pytest.approx([START] * 3)
    assert tuning.places(results) == ["a", "b", ALL_TASKS]
    assert tuning.drawn(results, "grpo", ALL_TASKS) == pytest.approx([0.4])


def test_one_setting_for_all_tasks_or_one_each() -> None:
    results = tuned({"ppo": {"a": (0.1, 0.9, 0.4), "b": (0.1, 0.2, 0.8)}})
    (row,) = tuning.one_or_each(results).to_dict("records")
    assert row["one for all tasks"] == pytest.approx(0.6)  # of 0.1, 0.55 and 0.6
    assert row["one for each task"] == pytest.approx(0.85)
    assert row["gain"] == pytest.approx(0.25)
    assert tuning.one_or_each(tuned({"ppo": OURS})).empty


def test_the_expected_best_is_the_mean_over_all_choices() -> None:
    scores = [0.3, 0.9, 0.1, 0.9, 0.5]
    for k, expected in enumerate(tuning.expected_best(scores), start=1):
        assert expected == pytest.approx(np.mean([max(chosen) for chosen in itertools.combinations(scores, k)]))


def test_what_a_search_takes() -> None:
    """Of 0.1, 0.5, 0.99 and 0.99 the best of two is 0.9083 on average, of three 0.99."""
    results = tuned({"ppo": {"a": (0.2, 0.1, 1.0, 0.5, 0.2, 0.99, 0.2, 0.99)}})
    (row,) = tuning.search_cost(results).to_dict("records")
    assert row["all random trials"] == pytest.approx(0.99)
    assert row["one random trial"] == pytest.approx(0.645)
    assert (row["trials to 95% of the best"], row["completions"]) == (3, 300)
    beyond = tuning.search_cost(tuned({"ppo": OURS}))  # at best 0.6 of 0.9
    assert beyond["trials to 95% of the best"].isna().all()


def test_scores_by_learning_rate_are_of_random_trials_in_equal_parts_of_its_range() -> None:
    """Drawn are rates of 1e-4, 4e-4, 1.6e-3 and 5e-5: from 5e-5 to 1.6e-3 in four parts, each 2.378 times the last."""
    table = tuning.by_learning_rate(tuned({"ppo": OURS}))
    assert table["from"].tolist() == pytest.approx([5e-5, 1.1892e-4, 2.8284e-4, 6.7272e-4], rel=1e-4)
    assert table["random trials"].tolist() == [2, 0, 1, 1]
    both = t_interval([0.05, 0.2])
    assert table.loc[0, ["mean score", "low", "high"]].tolist() == pytest.approx([both.mean, both.low, both.high])
    assert table["mean score"].tolist()[2:] == pytest.approx([0.4, 0.6])


def test_a_report_has_its_tables_and_figure_where_there_are_trials(tmp_path: Path) -> None:
    trials = tuned({"ppo": OURS, "grpo": OURS}, {"ppo": {"train.beta": 0.2, "train.learning_rate": 0.7}}).suite["tuned"]
    one = make_suite(tasks=["countdown"], seeds=2, updates=20, prompts=4, timing=False)
    for arm in trials["arms"].values():
        for record in arm:
            record["scores"] = {"countdown": record["scores"]["a"]}
    trials["starts"] = {"countdown": START}
    folder = write_results(tmp_path / "tuned", one.model_copy(update={"tuned": Tuned.model_validate(trials)}))
    results = load(folder)
    found = make_tables(results, judged(results))
    names = {"settings", "settings_importance", "settings_learning_rate", "settings_search"}
    assert {name for name in found if name.startswith("settings")} == names
    assert found["settings_importance"]["setting"].tolist() == ["train.learning_rate", "train.beta"]
    shown = dashed(found["settings_learning_rate"]).iloc[0].tolist()
    assert shown[:5] == ["ppo", "5e-05", "0.000119", "2", "0.125"]
    assert dashed(found["settings_search"])["trials to 95% of the best"].tolist() == [DASH, DASH]
    spread, search, rate = drawings(results)["settings"](results, "").axes
    dots = [points.get_offsets()[:, 0].tolist() for points in spread.collections if len(points.get_offsets()) == 4]
    assert dots == [pytest.approx([0.05, 0.4, 0.6, 0.2])] * 2
    assert search.lines[0].get_xdata().tolist() == [100, 200, 300, 400]
    assert rate.get_xscale() == "log"
    write(results, tmp_path / "report")
    assert "How much settings matter" in (tmp_path / "report" / "report.html").read_text()
    assert names <= {path.stem for path in (tmp_path / "report" / "tables").iterdir()}
    without = load(write_results(tmp_path / "without", one))
    assert "settings" not in drawings(without)
    assert not any(name.startswith("settings") for name in make_tables(without, judged(without)))

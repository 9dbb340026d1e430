"""Signs that a run's numbers went wrong: each from a record made by hand, and none from an ordinary one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from handmade import made
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.signs import SIGNS, lasting, sentences, signs

UPDATES = 20
QUIET: dict[str, Sequence[float]] = {
    "skipped_steps": [0] * UPDATES,
    "grad_norm": [1.0, 2.0] * 10,
    "value_loss": [0.5, 0.1] * 10,
    "entropy": [1.0] * 10 + [0.02] * 10,
    "ended_fraction": [0.9] * UPDATES,
    "reward_std": [0.4, 0.0] * 10,
}
"""One update in two whose rewards are all equal, and an entropy that falls as learning makes it fall, are no signs."""


def results(changed: Mapping[str, Sequence[float]], arm: str = "ppo", seeds: Sequence[int] = (1,)) -> Results:
    """Two seeds of ppo and grpo whose records are quiet, but for the changed metrics of some runs."""
    base = made({arm: {"sorting": [(0.2, 0.3)] * 2} for arm in ("ppo", "grpo")})
    frames = []
    for run in base.runs[base.runs["purpose"] == "train"].itertuples():
        mine = QUIET | dict(changed) if run.arm == arm and run.seed in seeds else QUIET
        who = {"arm": run.arm, "task": run.task, "seed": run.seed, "key": run.key}
        frames.append(pd.DataFrame(mine | {"update": range(1, UPDATES + 1)}).assign(**who))
    return replace(base, metrics=pd.concat(frames, ignore_index=True))


def late(usual: float, wrong: float, begin: int, count: int) -> list[float]:
    """A value an update: the usual one, and from update `begin`, counted from 1, the wrong one for some updates."""
    return [wrong if begin <= update < begin + count else usual for update in range(1, UPDATES + 1)]


@pytest.mark.parametrize(
    ("metric", "values", "words", "first", "updates", "at_the_end"),
    [
        ("skipped_steps", [0] * 6 + [1] * 2 + [3] * 12, "a loss or gradient was not finite", 7, 2, False),
        ("grad_norm", late(1.0, 10.5, 9, 5), "the gradient grew tenfold", 9, 5, False),
        ("grad_norm", late(1.0, 10.5, 9, 12), "the gradient grew tenfold", 9, 12, True),
        ("value_loss", late(0.5, 6.0, 15, 6), "the critic's loss grew tenfold", 15, 6, True),
        ("entropy", late(0.5, 0.009, 11, 10), "the policy said one thing", 11, 10, True),
        ("ended_fraction", late(0.6, 0.05, 4, 3), "completions stopped ending", 4, 3, False),
        ("reward_std", late(0.3, 0.0, 18, 3), "all rewards were equal", 18, 3, True),
    ],
)
def test_each_sign_has_its_first_update(
    metric: str, values: Sequence[float], words: str, first: int, updates: int, at_the_end: bool
) -> None:
    found = signs(results({metric: values}))
    row = {"task": "sorting", "arm": "ppo", "seed": 1, "sign": words}
    assert found.to_dict("records") == [row | {"first_update": first, "updates": updates, "at_the_end": at_the_end}]


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("grad_norm", late(1.0, 9.5, 9, 5)),  # below tenfold
        ("grad_norm", late(1.0, 99.0, 9, 2)),  # two updates may be chance
        ("grad_norm", [0.0] * 4 + [1.0] * 16),  # a beginning with nothing to learn from is no measure
        ("value_loss", [np.nan] * UPDATES),  # an arm without a critic
        ("grad_norm", [np.nan] * 10 + [1.0] * 10),  # nothing was measured that could be usual
        ("entropy", late(0.5, 0.011, 11, 10)),
        ("ended_fraction", [0.02] * UPDATES),  # completions that never ended by themselves have not stopped
    ],
)
def test_what_is_no_sign(metric: str, values: Sequence[float]) -> None:
    assert signs(results({metric: values})).empty


def test_a_row_of_updates_counts_from_its_length() -> None:
    seen = np.array([1, 1, 0, 1, 1, 1, 0, 1], dtype=bool)
    assert lasting(seen, 3).tolist() == [False, False, False, True, True, True, False, False]
    assert lasting(seen, 1).tolist() == seen.tolist()


def test_a_report_names_arm_runs_and_update() -> None:
    both = results({"entropy": late(0.5, 0.0, 12, 9)}, seeds=(0, 1))
    assert sentences(both) == [
        "sorting, ppo: the policy said one thing in 2 of 2 runs, first in update 12, and still at the end of 2."
    ]
    (none,) = sentences(results({}))
    assert none.startswith("None of these was seen in any run: ")
    assert all(sign.words in none for sign in SIGNS)


def test_records_that_lack_a_metric_show_no_sign_of_it() -> None:
    base = results({})
    assert signs(replace(base, metrics=base.metrics.drop(columns=["entropy", "value_loss"]))).empty
    assert sentences(replace(base, metrics=base.metrics[:0])) == []

"""Probes inside a run and inside a report: rows, their summary, and that training does not notice them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ppo_vs_grpo.algorithms import entry
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames import probes
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.analysis.report.figures import probes as probefigures
from ppo_vs_grpo.benchmarks.probes import ProbeConfig
from ppo_vs_grpo.benchmarks.probes.rows import COMPARED, compared, probe_rows
from ppo_vs_grpo.benchmarks.records.schema import ROW_KEYS
from small_trainer import AnyLetter, trainer
from synthetic import make_suite, write_probes, write_results

SMALL = ProbeConfig(prompts=4, reference_prompts=6, continuations=3, prefixes=2)
TRAIN = TrainConfig(prompts_per_update=4, group_size=4, learning_rate=1e-2, warmup_completions=0)


def made(name: str) -> Trainer:
    train = TrainConfig.model_validate(TRAIN.model_dump() | entry(name).train(TRAIN))
    return trainer(name, train=train, task=AnyLetter())


@pytest.mark.parametrize("name", ["ppo", "ppo-critic", "ppo-flat", "grpo", "grpo-source", "vine-ppo", "dapo"])
def test_every_kind_of_arm_can_be_probed(name: str) -> None:
    learner = made(name)
    list(learner.updates(1))
    rows = pd.DataFrame(probe_rows(learner, SMALL, "heldout", seed=3))
    critic = learner.models.value_head is not None
    assert set(rows["probe"]) == {"gradient", "ranking", "baseline", *(("value", "break_even") if critic else ())}
    if name != "vine-ppo":
        assert set(rows.loc[rows["probe"] == "gradient", "subject"]) == {
            "own",
            *COMPARED,
            *(("ppo",) if critic else ()),
        }
    assert not rows.assign(update=1, completions=16).duplicated(list(ROW_KEYS["probes"])).any()
    values = rows["value"].dropna().to_numpy(float)
    assert np.isfinite(values).all()
    units = rows[(rows["probe"] == "gradient") & (rows["quantity"] == "units")]
    assert set(units["value"]) == {4.0}


def test_a_probe_twice_is_the_same_and_training_does_not_notice_it() -> None:
    plain, probed = made("ppo"), made("ppo")
    list(plain.updates(3))
    first = probe_rows(probed, SMALL, "heldout", seed=3)
    assert first == probe_rows(probed, SMALL, "heldout", seed=3)
    assert first != probe_rows(probed, SMALL, "heldout", seed=4)
    for _ in range(3):
        list(probed.updates(1))
        probe_rows(probed, SMALL, "heldout", seed=3)
    for a, b in zip(plain.models.policy.parameters(), probed.models.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_runs_own_estimator_is_itself() -> None:
    learner = made("grpo")
    assert compared(learner)["own"] is learner.algorithm
    assert "ppo" not in compared(learner)
    assert "ppo" in compared(made("ppo"))


def rows(key: str, completions: int, **values: float) -> list[dict[str, Any]]:
    """Rows of one probe of a PPO run; a name is probe, subject and quantity, joined by two underscores."""
    return [
        {
            **dict(zip(("probe", "subject", "quantity"), name.split("__"), strict=True)),
            **{"key": key, "arm": "ppo", "task": "recall", "completions": completions, "value": value},
            "position": np.nan,
        }
        for name, value in values.items()
    ]


def summarised(frame: list[dict[str, Any]], complete: tuple[str, ...] = ("a", "b")) -> Any:
    return SimpleNamespace(probes=pd.DataFrame(frame), complete=frozenset(complete))


def test_the_noise_scale_is_the_ratio_of_sums_over_complete_runs() -> None:
    quantities = ("trace", "signal", "between", "cosine", "skipped")
    numbers_of = {"a": (8.0, 3.0, 5.0, 0.5, 0), "b": (4.0, -1.0, -2.0, 0.3, 1), "gone": (99.0, 99.0, 9.0, 1.0, 9)}
    frame = [
        row
        for key, numbers in numbers_of.items()
        for row in rows(key, 0, **{f"gradient__grpo__{q}": float(n) for q, n in zip(quantities, numbers, strict=True)})
    ]
    (row,) = probes.gradient_noise(summarised(frame)).to_dict("records")
    assert (row["n"], row["noise_scale"], row["prompts_share"], row["skipped_units"]) == (2, 12 / 2, 3 / 12, 1)
    assert row["cosine"] == pytest.approx(0.4)
    assert row["cosine_se"] == pytest.approx(np.std([0.5, 0.3], ddof=1) / 2**0.5)
    negative = probes.gradient_noise(summarised(frame, ("b",)))
    assert negative["noise_scale"].isna().all()


def test_each_row_has_the_numbers_of_its_own_subject_in_the_order_in_which_they_came() -> None:
    trace = {"rloo": 6.0, "dr-grpo": 2.0, "grpo": 4.0}
    frame = [
        row
        for name, number in trace.items()
        for row in rows("a", 0, **{f"gradient__{name}__trace": number, f"gradient__{name}__signal": 2.0,
                                   f"gradient__{name}__skipped": 0.0})
    ]  # fmt: skip
    table = probes.gradient_noise(summarised(frame))
    assert table.set_index("estimator")["noise_scale"].to_dict() == {"rloo": 3.0, "dr-grpo": 1.0, "grpo": 2.0}
    assert list(table["estimator"]) == list(trace)


def test_moments_are_start_middle_and_end_whatever_their_completions() -> None:
    frame = [row for at in (0, 640, 1280) for row in rows("a", at, baseline__value__comparable=at / 1000)]
    table = probes.baselines(summarised(frame)).set_index("moment")["residual_variance"]
    assert table.to_dict() == {"start": 0.0, "middle": 0.64, "end": 1.28}
    two = [row for at in (0, 1280) for row in rows("a", at, baseline__value__comparable=1.0)]
    assert list(probes.baselines(summarised(two))["moment"]) == ["start", "end"]


def test_a_critic_that_no_group_beats_counts_as_infinite() -> None:
    def critic(sizes: list[float]) -> float:
        frame = [
            row
            for i, size in enumerate(sizes)
            for row in rows(f"{i}", 0, break_even____group_size=size, value____mse=0.1)
        ]
        table = probes.critic(summarised(frame, ("0", "1", "2")))
        return float(table["break_even_group_size"].iloc[0])

    assert critic([3.0, 5.0, np.nan]) == 5.0
    assert np.isnan(critic([3.0, np.nan, np.nan]))


def test_a_suite_with_probes_has_them_in_its_report(tmp_path: Path) -> None:
    suite = make_suite(tasks=("recall",), seeds=2, updates=8, prompts=16)
    folder = write_results(tmp_path, suite)
    stems = ("probes", "costs", "budgets", "theory")
    text = write.write(load(folder), folder / "report").read_text()
    assert [stem for stem in stems if f'<section id="{stem}">' in text] == []
    write_probes(folder)
    page = write.write(load(folder), folder / "report")
    assert [stem for stem in stems if f'<section id="{stem}">' in page.read_text()] == list(stems)
    assert len(pd.read_csv(page.parent / "tables/baselines.csv")) == 2 * 3 * len(probes.BASELINES)
    assert set(pd.read_csv(page.parent / "tables/gradient_noise.csv")["noise_scale"]) == {1.0}
    assert set(pd.read_csv(page.parent / "tables/gradient_noise.csv")["prompts_share"]) == {1.0}
    assert "having no critic: grpo." in page.read_text()
    operations = pd.read_csv(page.parent / "tables/operations.csv")
    assert list(operations["moment"].unique()) == ["start", "middle", "end"]
    held = pd.read_csv(page.parent / "tables/memory_by_role.csv")
    assert held["phase"].iloc[0] == "total"
    assert set(held["role"]) == {"policy.params", "activations.policy"}  # what held nothing is left out


def test_the_break_even_group_size_is_said_of_each_critic_in_a_line() -> None:
    table = pd.DataFrame({"arm": ["ppo", "ppo-critic", "x"], "break_even_group_size": [7.44, np.nan, 2.0]})
    words = probefigures.break_even(table, {"ppo": "#0072B2", "ppo-critic": "#009E73"})
    assert words == "break-even G\nppo: 7.4\nppo-critic: none"

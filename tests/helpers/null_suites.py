"""Suites whose two arms are equal, written as the runner writes them: a winner that is named there is none."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from checkout import ROOT
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, judge
from ppo_vs_grpo.benchmarks.records.folder import run_folder
from ppo_vs_grpo.benchmarks.records.lock import seals_of, write_lock
from ppo_vs_grpo.benchmarks.records.recorder import Recorder
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from synthetic import TASKS, make_manifest, make_specs, make_suite, written_surroundings

SEEDS, REPEATS = 8, 2
PROMPTS, SAMPLES = 2, 2048
"""Few prompts keep files small; many samples of each let a pass rate be what was drawn."""
START, END, SPREAD = 0.2, 0.5, 0.03
PACE_SPREAD = 0.08
"""Of the log of a repeat's seconds: two repeats of `core` differ by as much."""

Array = np.ndarray
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _own(draw: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Each task's own finals in the published `core`, both arms' about a common mean, drawn with replacement."""
    finals: dict[str, dict[str, list[float]]] = {}
    with (ROOT / "results/published/core/tables/final_scores.csv").open() as file:
        for row in csv.DictReader(file):
            finals.setdefault(row["task"], {}).setdefault(row["arm"], []).append(float(row["final"]))
    pools = [np.concatenate([np.array(of) - np.mean(of) for of in finals[task].values()]) / SPREAD for task in TASKS]
    return np.stack([draw.choice(pool, (shape[0], shape[2])) for pool in pools], axis=1)


def _collapsing(draw: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """One run of twenty ends at nothing."""
    return np.where(draw.random(shape) < 0.05, -END / SPREAD, draw.normal(size=shape))


DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "t5": lambda draw, shape: draw.standard_t(5, shape),
    "t3": lambda draw, shape: draw.standard_t(3, shape),
    "exponential": lambda draw, shape: draw.standard_exponential(shape),
    "collapsing": _collapsing,
    "own finals": _own,
    "ties": lambda draw, shape: np.round(draw.normal(size=shape) * 1.5) / 1.5,
}
"""How final scores of both arms vary, in units of SPREAD about END; shape (arms, tasks, seeds)."""


@dataclass(frozen=True)
class Drawn:
    """What differs from suite to suite, of equal arms: arms, tasks, seeds or repeats, evaluations or probes."""

    rates_ATSE: Array
    traces_ATSE: Array
    signals_ATSE: Array
    paces_ATR: Array


def drawn(name: str, seed: int) -> Drawn:
    """The numbers of one suite whose finals have the named distribution."""
    draw = np.random.default_rng([seed, list(DISTRIBUTIONS).index(name)])
    cells = (2, len(TASKS), SEEDS)
    finals = np.clip(END + SPREAD * DISTRIBUTIONS[name](draw, cells), 0, 1)
    middles = START + (finals - START) * np.clip(draw.normal(0.5, 0.1, cells), 0, 1)
    return Drawn(
        np.stack([np.full(cells, START), middles, finals], axis=-1),
        8 * draw.chisquare(40, (*cells, 3)) / 40,
        2 + 0.5 * draw.normal(size=(*cells, 3)),
        1e-3 * np.exp(PACE_SPREAD * draw.normal(size=(2, len(TASKS), REPEATS))),
    )


def judged(written: Results, numbers: Drawn) -> tuple[Verdict, ...]:
    """The verdicts on a written suite once it has other numbers in its rows, as if it had been written with them."""
    evals, probes, timing = written.evals.copy(), written.probes.copy(), written.timing.copy()
    evals["passes"] = _passes(numbers.rates_ATSE[_places(evals)], evals["prompt"].to_numpy())
    evals["reward_mean"] = evals["passes"] / SAMPLES
    trace = probes["quantity"].eq("trace").to_numpy()
    probes["value"] = np.where(trace, numbers.traces_ATSE[_places(probes)], numbers.signals_ATSE[_places(probes)])
    batch = timing["completions"] / timing["update"]
    pace = numbers.paces_ATR[_places(timing)[:3]]
    timing["rollout_s"], timing["train_s"] = batch * pace, timing["update"] * batch * pace
    return judge(replace(written, evals=evals, probes=probes, timing=timing))


def _places(frame: pd.DataFrame) -> tuple[Array, Array, Array, Array]:
    """Each row's arm, task, seed and evaluation, counted from 0."""
    arms = frame["arm"].map({"ppo": 0, "grpo": 1}).to_numpy()
    tasks = frame["task"].map({task: i for i, task in enumerate(TASKS)}).to_numpy()
    return arms, tasks, frame["seed"].to_numpy(), frame["update"].to_numpy() // 2


def _passes(rate: Any, prompt: Any) -> Any:
    """How many of a prompt's samples pass where all the prompts' together are so many."""
    upto = [np.round(rate * SAMPLES * (prompt + more)) for more in (0, 1)]
    return (upto[1] - upto[0]).astype(int)


def write_suite(folder: Path, numbers: Drawn) -> Path:
    """Write a suite of two equal arms on four tasks."""
    suite = make_suite(seeds=SEEDS, updates=4, prompts=PROMPTS)
    specs = make_specs(suite, REPEATS)
    folder.mkdir(parents=True, exist_ok=True)
    for spec in specs:
        run = run_folder(folder, spec.purpose, spec.key)
        run.mkdir(parents=True)
        (run / "spec.json").write_text(spec.model_dump_json())
        (run / "env.json").write_text(json.dumps(written_surroundings()))
        _write_run(run, spec, numbers)
    write_lock(folder, lock_document(suite, specs), seals_of(run_folder(folder, s.purpose, s.key) for s in specs))
    return folder


def _write_run(run: Path, spec: RunSpec, numbers: Drawn) -> None:
    recorder, batch = Recorder(run, spec.identity), spec.train.batch_completions
    place = ["ppo", "grpo"].index(spec.arm), TASKS.index(spec.task), spec.seed
    pace_s = float(numbers.paces_ATR[place]) if spec.purpose == "timing" else 1e-3
    metrics = [_metrics(update, batch, pace_s) for update in range(1, 5)]
    for row in metrics:
        recorder.metrics(row)
    for at, update in enumerate((0, 2, 4)) if spec.purpose == "train" else ():
        point = {"update": update, "completions": update * batch}
        recorder.evals(_evals(point, float(numbers.rates_ATSE[place][at])), [])
        gradient = {"trace": numbers.traces_ATSE[place][at], "signal": numbers.signals_ATSE[place][at]}
        recorder.probes(
            point | {"probe": "gradient", "subject": "own", "quantity": quantity, "position": None, "se": None}
            | {"value": float(value)}
            for quantity, value in gradient.items()
        )  # fmt: skip
    recorder.memory("process", "peak_rss", 640_000_000)
    recorder.finish(make_manifest(spec, "ok", metrics, False, 640_000_000))


def _metrics(update: int, batch: int, pace_s: float) -> dict[str, Any]:
    phases = dict.fromkeys(("reward_s", "reference_s", "value_s", "update_s"), 0.0)
    counts = {"completions": update * batch, "tokens": update * batch, "optimizer_steps": update, "skipped_steps": 0}
    seconds = {"rollout_s": batch * pace_s, "train_s": update * batch * pace_s}
    means = dict.fromkeys(("reward_mean", "reward_std", "pass_rate", "entropy", "kl_reference", "advantage_std"), 0.5)
    means |= dict.fromkeys(("reward_std_within_group", "silent_group_fraction", "ended_fraction"), 0.5)
    means |= dict.fromkeys(("clip_fraction", "ratio_error_max", "policy_loss", "grad_norm", "learning_rate"), 0.5)
    nothing = dict.fromkeys(("value_loss", "value_explained_variance", "grad_norm_value"))
    row = {"update": update, "warmup": False, "completion_tokens_mean": 1.0}
    return row | counts | means | nothing | phases | seconds


def _evals(point: dict[str, int], rate: float) -> Iterator[dict[str, Any]]:
    for prompt in range(PROMPTS):
        passes = int(_passes(rate, prompt))
        means = {"reward_mean": passes / SAMPLES, "greedy_pass": 0, "greedy_reward": 0.0, "completion_tokens_mean": 1.0}
        yield point | {"prompt": prompt, "stratum": "", "samples": SAMPLES, "passes": passes} | means

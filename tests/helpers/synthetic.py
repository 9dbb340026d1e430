"""Results folders as the runner writes them, with plausible learning curves and no training."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from damage import relock
from ppo_vs_grpo.benchmarks.analysis.frames.probes import BASELINES
from ppo_vs_grpo.benchmarks.records.folder import run_folder
from ppo_vs_grpo.benchmarks.records.lock import seals_of, write_lock
from ppo_vs_grpo.benchmarks.records.manifest import write_manifest
from ppo_vs_grpo.benchmarks.records.recorder import Recorder
from ppo_vs_grpo.benchmarks.run.machine import surroundings
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.suite import Suite

TASKS = ("countdown", "sorting", "recall", "arithmetic")
START = {"countdown": 0.04, "sorting": 0.18, "recall": 0.26, "arithmetic": 0.31}
CEILING = {"countdown": 0.38, "sorting": 0.82, "recall": 0.97, "arithmetic": 0.55}
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {"critic": {"kind": "head"}, "gamma": 1.0, "lam": 0.95, "value_coefficient": 0.5},
    "grpo": {"normalize": "group_std"},
}
PHASE_MS = {"rollout": 1.9, "reward": 0.06, "reference": 0.35, "value": 0.0, "update": 2.2}
"""Milliseconds a completion."""


def make_suite(
    arms: Collection[str] = ("ppo", "grpo"),
    tasks: Collection[str] = TASKS,
    seeds: int = 8,
    updates: int = 100,
    prompts: int = 256,
    timing: bool = True,
    train_of: Mapping[str, dict[str, Any]] | None = None,
    tasks_of: Mapping[str, list[str]] | None = None,
    timed: list[str] | None = None,
) -> Suite:
    """A suite of `arms`; an arm's algorithm is its label up to the first dash. It runs on its `tasks_of`, or on all."""
    own = {arm: {"train": (train_of or {}).get(arm, {}), "tasks": (tasks_of or {}).get(arm)} for arm in arms}
    return Suite.model_validate(
        {
            "name": "synthetic",
            "tasks": {task: {"task": task} for task in tasks},
            "arms": {arm: {"algorithm": arm.split("-")[0]} | own[arm] for arm in arms},
            "seeds": seeds,
            "train": {"completions": 128 * updates},
            "eval": {"prompts": prompts, "points": 5},
            "timing": {"updates": 20, "warmup_updates": 3, "arms": timed} if timing else None,
        }
    )


def make_specs(suite: Suite, repeats: int = 2) -> list[RunSpec]:
    """The runs of a suite: every seed of each arm and task, then the timing pass."""
    purposes = [("train", suite.seeds)] + ([("timing", list(range(repeats)))] if suite.timing else [])
    timed = (suite.timing and suite.timing.arms) or suite.arms
    return [
        RunSpec(
            suite=suite.name,
            purpose=purpose,
            arm=label,
            algorithm=arm.algorithm,
            config=SETTINGS.get(arm.algorithm, {}) | arm.config,
            task=task,
            task_choice=choice,
            task_data="0" * 16,
            start=suite.start,
            start_hash="0",
            seed=seed,
            tuning=suite.tuning,
            train=suite.train.model_copy(update=arm.train | timing_budget(suite, purpose)),
            eval=suite.eval,
            timing=suite.timing if purpose == "timing" else None,
        )
        for purpose, seeds in purposes
        for seed in seeds
        for task, choice in suite.tasks.items()
        for label, arm in suite.arms.items()
        if task in suite.runs_on(label) and (purpose == "train" or label in timed)
    ]


def timing_budget(suite: Suite, purpose: str) -> dict[str, int]:
    """The budget of a run of the timing pass: its warm-up and measured updates."""
    if purpose == "train" or suite.timing is None:
        return {}
    return {"completions": (suite.timing.warmup_updates + suite.timing.updates) * suite.train.batch_completions}


def write_results(
    folder: Path,
    suite: Suite | None = None,
    *,
    failed: Collection[str] = (),
    diverged: Collection[str] = (),
    missing: Collection[str] = (),
    unfinished: Collection[str] = (),
    contended_timing: bool = False,
    memory: bool = True,
) -> Path:
    """Write a suite's results to `folder`; a run is singled out by its key up to the configuration's hash."""
    suite = suite or make_suite()
    specs = make_specs(suite)
    folder.mkdir(parents=True, exist_ok=True)
    for spec in specs:
        cell = spec.key.rpartition(".")[0]
        if cell in missing:
            continue
        run = run_folder(folder, spec.purpose, spec.key)
        run.mkdir(parents=True, exist_ok=True)
        (run / "spec.json").write_text(spec.model_dump_json(indent=1))
        if cell in unfinished:
            continue
        status = "failed" if cell in failed else "diverged" if cell in diverged else "ok"
        write_run(run, spec, status, contended_timing if spec.purpose == "timing" else True, memory)
    seals = seals_of(run_folder(folder, spec.purpose, spec.key) for spec in specs)
    write_lock(folder, lock_document(suite, specs), seals)
    return folder


def write_run(run: Path, spec: RunSpec, status: str, contended: bool, memory: bool) -> None:
    """Write one run's files, its manifest last."""
    words = f"{spec.arm}.{spec.task}.{spec.seed}.{spec.purpose}"
    rng = np.random.default_rng(list(hashlib.blake2b(words.encode(), digest_size=8).digest()))
    shift = rng.normal()
    metrics = make_metrics(spec, rng, shift)
    if status == "diverged":
        metrics = metrics[: max(1, len(metrics) * 2 // 3)]
    evals = make_evals(spec, rng, shift, len(metrics)) if spec.purpose == "train" else []
    peak = int(rng.normal(640e6, 6e6)) + (35_000_000 if spec.algorithm == "ppo" else 0)
    recorder = Recorder(run, spec.identity)
    if status != "failed":
        for row in metrics:
            recorder.metrics(row)
        if evals:
            recorder.evals(evals, make_transcripts(evals))
        for row in make_memory(spec, peak, rng) if memory else []:
            recorder.memory(row["phase"], row["source"], row["bytes"], row["role"])
    (run / "env.json").write_text(json.dumps(written_surroundings(), indent=1) + "\n")
    recorder.finish(make_manifest(spec, status, metrics, contended, peak))


def write_probes(folder: Path) -> None:
    """Give every training run probes at its start, middle and end, and memory by role."""
    for run in (folder / "runs").iterdir():
        evals = pd.read_parquet(run / "evals.parquet")
        marks = sorted(evals["completions"].unique())
        critic = run.name.startswith("ppo")
        quantities = [("baseline", name, "comparable") for name in BASELINES]
        quantities += [("gradient", "grpo", name) for name in ("trace", "signal", "between", "cosine", "skipped")]
        quantities += [("flops", phase, "total") for phase in ("rollout", "forward")]
        quantities += [("value", "", "mse")] if critic else []
        rows = [
            {"update": at, "completions": at, "probe": probe, "subject": subject, "quantity": quantity}
            | {"position": None, "value": 1e6 if probe == "flops" else 0.25, "se": None}
            for at in (marks[0], marks[len(marks) // 2], marks[-1])
            for probe, subject, quantity in quantities
        ]
        pd.DataFrame(rows).astype({"position": float, "se": float}).to_parquet(run / "probes.parquet")
        held = [
            {"phase": phase, "role": role, "source": source, "bytes": size}
            for phase in ("forward", "total")
            for role, size in (("policy.params", 400_000), ("activations.policy", 2_000_000), ("kv_cache", 0))
            for source in ("tracked", "tracked_alone", "predicted")
        ]
        memory = pd.read_parquet(run / "memory.parquet")
        pd.concat([memory, pd.DataFrame(held)], ignore_index=True).to_parquet(run / "memory.parquet")
        manifest = json.loads((run / "manifest.json").read_text())
        write_manifest(run, manifest, {})
    relock(folder)


@functools.cache
def written_surroundings() -> dict[str, Any]:
    """What a run says of where it ran, the same on every machine."""
    here = {"python": "3.11.9", "system": "Linux x86_64", "cpu": "Example CPU @ 2.70GHz", "cores": 2}
    package = {"version": "0.1.0", "commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False}
    fixed = {**here, "accelerator": "None", "threads": 1, "load_1min": 1.4, "package": package}
    versions = dict.fromkeys(surroundings()["packages"], "1.0")
    written = surroundings() | fixed | {"packages": versions | {"torch": "2.13.0", "transformers": "5.23.0"}}
    assert written.keys() == surroundings().keys()
    assert package.keys() == surroundings()["package"].keys()
    return written


def make_manifest(
    spec: RunSpec, status: str, metrics: list[dict[str, Any]], contended: bool, peak: int
) -> dict[str, Any]:
    """How a run ended, as its worker tells the recorder."""
    last, failed = metrics[-1], status == "failed"
    error = {"failed": "MemoryError: killed by signal 9", "diverged": "the loss was not finite in 5 steps running"}
    return {
        "status": status,
        "error": error.get(status),
        "updates": 0 if failed else last["update"],
        **{name: 0 if failed else last[name] for name in ("completions", "tokens", "optimizer_steps", "train_s")},
        "wall_s": last["train_s"] + 9.5,
        "startup_s": 3.1,
        "eval_s": 5.2 if spec.purpose == "train" else 0.0,
        "peak_rss_bytes": peak,
        "contended": contended,
    }


def skill(spec: RunSpec, seed_shift: float, done: np.ndarray) -> np.ndarray:
    """True pass rate at each share of the budget: a logistic rise, steeper for one arm than the other."""
    low, high = START.get(spec.task, 0.1), CEILING.get(spec.task, 0.8)
    middle = {"ppo": 0.48, "grpo": 0.36}.get(spec.algorithm, 0.42) + 0.12 * seed_shift
    rise = 1 / (1 + np.exp(-9 * (done - middle))) - 1 / (1 + np.exp(9 * middle))
    rate: np.ndarray = np.clip(low + (high - low) * (1 + 0.06 * seed_shift) * rise, 0.005, 0.985)
    return rate


def make_metrics(spec: RunSpec, rng: np.random.Generator, shift: float) -> list[dict[str, Any]]:
    """A row per update."""
    warmup = spec.timing.warmup_updates if spec.timing else 0
    updates = warmup + spec.timing.updates if spec.timing else spec.train.updates
    batch, group = spec.train.batch_completions, spec.train.group_size
    truth = skill(spec, shift, np.arange(1, updates + 1) / spec.train.updates)
    spread = {name: ms * batch / 1000 for name, ms in PHASE_MS.items()}
    if spec.algorithm == "ppo":
        spread |= {"value": 0.4 * batch / 1000, "update": 2.9 * batch / 1000}
    rows, tokens, train_s = [], 0, 0.0
    for i, p in enumerate(truth, start=1):
        q = rng.beta(0.8 * p / (1 - p) + 0.05, 0.8, spec.train.prompts_per_update)
        rewards = rng.random((len(q), group)) < q[:, None] * p / max(q.mean(), p)
        tokens += int(batch * rng.normal(11, 0.4))
        seconds = {f"{name}_s": s * float(rng.lognormal(0.4 if i <= warmup else 0, 0.08)) for name, s in spread.items()}
        train_s += sum(seconds.values())
        critic = {"value_loss": 0.1 * float(rng.lognormal(0, 0.2)), "value_explained_variance": float(p)}
        rows.append(
            {"update": i, "completions": i * batch, "tokens": tokens, "optimizer_steps": 2 * i, "warmup": i <= warmup}
            | {
                "reward_mean": float(rewards.mean()),
                "reward_std": float(rewards.std()),
                "pass_rate": float(rewards.mean()),
            }
            | {"reward_std_within_group": float(rewards.std(axis=1).mean())}
            | {"silent_group_fraction": float((rewards.std(axis=1) == 0).mean()), "completion_tokens_mean": 11.0}
            | {"ended_fraction": 0.99, "entropy": 0.9 - 0.4 * float(p), "kl_reference": 0.05 * float(p)}
            | {"clip_fraction": 0.03, "ratio_error_max": 1e-6, "policy_loss": float(rng.normal(0, 0.01))}
            | (critic if spec.algorithm == "ppo" else dict.fromkeys(critic))
            | {
                "advantage_std": 0.9,
                "grad_norm": 0.7,
                "grad_norm_value": None,
                "learning_rate": spec.train.learning_rate,
            }
            | {"skipped_steps": 0, **seconds, "train_s": train_s}
        )
    return rows


def make_evals(spec: RunSpec, rng: np.random.Generator, shift: float, updates: int) -> list[dict[str, Any]]:
    """A row per held-out prompt and evaluation, up to the last update that the run reached."""
    points = np.unique(np.round(np.linspace(0, spec.train.updates, spec.eval.points)).astype(int))
    ease = rng.normal(0, 0.8, spec.eval.prompts)
    rows: list[dict[str, Any]] = []
    for update in points[points <= updates]:
        p = skill(spec, shift, np.array([update / spec.train.updates]))[0]
        chance = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + ease)))
        passes = rng.binomial(spec.eval.samples, chance)
        greedy = rng.random(len(chance)) < chance
        rows += [
            {"update": int(update), "completions": int(update) * spec.train.batch_completions, "prompt": i}
            | {"stratum": "easy" if ease[i] > 0 else "hard", "samples": spec.eval.samples, "passes": int(passes[i])}
            | {"reward_mean": float(passes[i]) / spec.eval.samples, "greedy_pass": int(greedy[i])}
            | {"greedy_reward": float(greedy[i]), "completion_tokens_mean": 11.0}
            | {"passed_tokens_mean": 11.0 if passes[i] else None, "passed_cut": 0, "failed_cut": 0}
            for i in range(len(chance))
        ]
    return rows


def make_transcripts(evals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The transcript of one prompt, before training and at the last evaluation."""
    text = {"prompt": "1 2 3 =", "completion": "6", "reward": 1.0, "passed": True, "tokens": 2, "ended": True}
    return [{"update": update} | text for update in sorted({evals[0]["update"], evals[-1]["update"]})]


def make_memory(spec: RunSpec, peak: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Peak memory: by phase in a timing run, of the whole process in a training run."""
    shares = {"load": 0.74, "rollout": 0.86, "reward": 0.80, "reference": 0.88, "update": 1.0}
    shares |= {"value": 0.9} if spec.algorithm == "ppo" else {}
    phases = {"process": 1.0} if spec.purpose == "train" else shares | {"process": 1.0}
    return [
        {"phase": phase, "role": "process", "source": "peak_rss", "bytes": int(peak * share * rng.normal(1, 0.003))}
        for phase, share in phases.items()
    ]

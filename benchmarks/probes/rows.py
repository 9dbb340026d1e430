"""A run's probes: measurements of the policy at one moment, one row per number.

A row holds probe, subject (an arm, a baseline, or nothing), quantity, position (the lower end of a tenth of the
completion, or None), value, and its standard error if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from transformers import PreTrainedModel

from ppo_vs_grpo.algorithms import find
from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.collector import Collector
from ppo_vs_grpo.algorithms.shared.networks.sequences import join
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.algorithms.shared.types import ScoredRollouts
from ppo_vs_grpo.benchmarks.probes import ProbeConfig, gradient
from ppo_vs_grpo.benchmarks.probes.continuations import ValueProbe, measure
from ppo_vs_grpo.benchmarks.probes.estimates import Estimate
from ppo_vs_grpo.benchmarks.probes.ranking import rankings
from ppo_vs_grpo.tasks.splits import Split, heldout

COMPARED = ("reinforce", "reinforce++", "rloo", "dr-grpo", "grpo")
"""Estimators without a critic. Each run compares them with its own on the same rollouts."""

PROBE_DRAWS = 10**9
"""Probes number their draws from here on; no training reaches so far."""

Row = dict[str, Any]


def probe_rows(trainer: Trainer, config: ProbeConfig, split: Split, seed: int) -> list[Row]:
    """Probe the policy on prompts that it does not train on. Random numbers are the probe's own; nothing changes."""
    drawn = heldout(trainer.task, split, config.prompts + config.reference_prompts)
    rows = [
        *_gradient_rows(trainer, config, drawn, seed),
        *_ranking_rows(trainer, drawn[: config.prompts], seed),
    ]
    made = measure(
        trainer, drawn[: config.prompts], trainer.train.group_size, config.continuations, config.prefixes, seed
    )
    return [*rows, *_value_rows(made)]


def _gradient_rows(trainer: Trainer, config: ProbeConfig, drawn: list[Any], seed: int) -> Iterator[Row]:
    group = max(2, trainer.train.group_size)
    sampled, reference = (
        _sample(trainer, problems, group, f"probe-{name}", seed)
        for name, problems in (
            ("gradient", drawn[: config.prompts]),
            ("reference", drawn[config.prompts :]),
        )
    )
    arms = compared(trainer)
    context, _, _ = trainer.context(
        sampled.rollouts, join(sampled.rollouts, trainer.engine.pad, trainer.models.packed), draw=PROBE_DRAWS + seed
    )
    contexts = dict.fromkeys(arms, context)
    for name, noise in gradient.probe(trainer, arms, sampled, contexts, reference).items():
        for quantity in ("trace", "signal", "between", "noise_scale", "cosine", "units", "skipped"):
            yield _row(
                "gradient", name, quantity, Estimate(getattr(noise, quantity), getattr(noise, f"{quantity}_se", None))
            )


def _ranking_rows(trainer: Trainer, drawn: list[Any], seed: int) -> Iterator[Row]:
    """The policy's ranking of its own completions, and of the start model's, which are the same at every moment."""
    group = max(2, trainer.train.group_size)
    sets = {"sampled": _sample(trainer, drawn, group, "probe-ranking", seed)}
    if trainer.models.reference is not None and trainer.algorithm.needs.reference == "initial":
        sets["start"] = _sample(trainer, drawn, group, "probe-ranking", seed, trainer.models.reference)
    for subject, quantity, estimate in rankings(trainer, sets):
        yield _row("ranking", subject, quantity, estimate)


def compared(trainer: Trainer) -> dict[str, Algorithm]:
    """The run's own algorithm, the estimators in COMPARED, and PPO if the run has a critic."""
    own = trainer.algorithm
    arms: dict[str, Algorithm] = {"own": own}
    single = trainer.train.model_copy(update={"epochs": 1, "mini_batches": 1})
    for name in COMPARED + (("ppo",) if own.needs.critic else ()):
        kind = find(name)
        arms[name] = kind(kind.Config(), single)
    return arms


def _sample(
    trainer: Trainer,
    problems: list[Any],
    group: int,
    stream: str,
    seed: int,
    policy: PreTrainedModel | None = None,
) -> ScoredRollouts:
    """Rated completions by `policy`, or by the policy in training if None, from their own random stream."""
    collector: Collector = trainer.collector
    uniforms_TB = collector.uniforms(stream, PROBE_DRAWS + seed, len(problems) * group)
    engine = trainer.engine if policy is None else replace(trainer.engine, model=policy)
    rollouts = engine.generate(trainer.encode(problems), group, uniforms_TB)
    return collector.score(rollouts).rated()


def _value_rows(made: ValueProbe) -> Iterator[Row]:
    if made.values is not None:
        for field in fields(made.values):
            estimate = getattr(made.values, field.name)
            if isinstance(estimate, Estimate):
                yield _row("value", "", field.name, estimate)
        for decile in made.values.deciles:
            for quantity in ("mse", "explained_variance", "bias"):
                yield _row("value", "", quantity, getattr(decile, quantity), position=decile.low)
    for baseline in made.baselines:
        for quantity in ("plain", "comparable", "square"):
            yield _row("baseline", baseline.name, quantity, getattr(baseline, quantity))
    if made.break_even is not None:
        for quantity in ("group_size", "low", "high"):
            yield _row("break_even", "", quantity, Estimate(getattr(made.break_even, quantity), None))


def _row(probe: str, subject: str, quantity: str, estimate: Estimate, position: float | None = None) -> Row:
    value = estimate.value
    return {
        "probe": probe,
        "subject": subject,
        "quantity": quantity,
        "position": position,
        "value": float(value) if value is not None else None,
        "se": estimate.se,
    }

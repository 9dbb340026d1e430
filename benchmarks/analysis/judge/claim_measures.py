"""What a claim measures, by name: of one arm, or of the second arm against the first, over the claim's tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.attribution import crossings, difference_of, effects_by_seed
from ppo_vs_grpo.benchmarks.analysis.frames.probes import at_moments
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results, kept
from ppo_vs_grpo.benchmarks.analysis.judge.finding import Finding, Read, nothing
from ppo_vs_grpo.benchmarks.analysis.judge.metrics import MEMORY, METRICS, SPREAD, Metric, compare
from ppo_vs_grpo.benchmarks.analysis.judge.pairs import by_run
from ppo_vs_grpo.benchmarks.analysis.judge.setting_measures import collapsed, of_trials, score, spread
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, NULL, RATIO, mean_evidence, shifted_evidence
from ppo_vs_grpo.benchmarks.analysis.stats.intervals import Array, paired_differences
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import ALPHA, p_words, show

LAST_TENTH = 0.9
"""A run's end, as a share of its updates: what lies beyond."""

Values = Mapping[tuple[str, str, int], float]
"""A number a run, by arm, task and seed."""


@dataclass(frozen=True)
class Measure:
    """What is measured of one arm, and of two, in words; one that cannot be has none.

    `tested` is the only pair of `than` and margin with which the measure can be tested; None: any.
    """

    unit: str
    read: Read
    one: str = ""
    two: str = ""
    ratio: bool = False
    tested: tuple[float, float] | None = None

    def takes(self, arms: int) -> bool:
        """Whether the measure is one of so many arms."""
        return bool({1: self.one, 2: self.two}.get(arms))

    def words(self, arms: Sequence[str]) -> str:
        """What is measured of these arms, such as `gradient noise scale half-way, grpo over ppo`."""
        return (self.one if len(arms) == 1 else self.two).format(*arms)


def of_runs(found: Callable[[Results], Values], what: str) -> Read:
    """A number a run: its mean over seeds and tasks, or the mean of the arms' differences, paired by seed."""

    def read(results: Results, arms: Sequence[str], tasks: Sequence[str], than: float, margin: float) -> Finding:
        values = {run: value for run, value in found(results).items() if math.isfinite(value)}
        seeds = results.seeds_of(*arms)
        values_of = {
            (arm, task): np.array([values.get((arm, task, seed), math.nan) for seed in seeds])
            for arm in arms
            for task in tasks
        }
        samples = []
        for task in tasks:
            arms_AS = np.stack([values_of[arm, task] for arm in arms])
            there_AS = arms_AS[:, ~np.isnan(arms_AS).any(axis=0)]
            samples.append(there_AS[0] if len(arms) == 1 else paired_differences(*there_AS))
            values_of |= {
                (arm, task): row if len(row) else values_of[arm, task] for arm, row in zip(arms, there_AS, strict=True)
            }
        means = {arm: _mean([_mean(values_of[arm, task]) for task in tasks]) for arm in arms}
        shown = ", ".join(f"{arm} {show(mean)}" for arm, mean in means.items()) if len(arms) > 1 else ""
        evidence = shifted_evidence(samples, than, margin)
        if len(arms) == 1:
            evidence = replace(evidence, test=evidence.test.replace("paired t test", "t test"))
        return Finding(evidence, shown, _lacking(seeds, values, arms, tasks, what))

    return read


def of_metric(metric: Metric) -> Measure:
    """A metric of every report as a measure: over all of the claim's tasks, each of which must have a comparison.

    It tests equality within its own margin, where it tests anything.
    """

    def read(results: Results, arms: Sequence[str], tasks: Sequence[str], than: float, margin: float) -> Finding:
        found = compare(_narrowed(results, tuple(arms), tuple(tasks)), metric, (arms[0], arms[1]), tuple(tasks))
        over = found[ALL_TASKS if len(tasks) > 1 else tasks[0]]
        said: dict[str, list[str]] = {}
        for task in tasks if len(tasks) > 1 else ():
            for text in filter(None, (found[task].evidence.undefined, found[task].note)):
                said.setdefault(text, []).append(task)
        each = [f"{text} ({', '.join(where)})" for text, where in said.items() if text != over.note]
        return replace(over, note="; ".join(filter(None, [over.note, *each])))

    tested = None if metric is MEMORY else (NULL[RATIO if metric.ratio else DIFFERENCE], metric.margin)
    two = f"{metric.called}, {{1}} {'over' if metric.ratio else 'minus'} {{0}}"
    return Measure("ratio" if metric.ratio else metric.unit, read, two=two, ratio=metric.ratio, tested=tested)


def baseline_less_rest(
    results: Results, arms: Sequence[str], tasks: Sequence[str], than: float, margin: float
) -> Finding:
    """The part of the lead in the final pass rate that comes with the baseline, less the part of everything else.

    Positive: more than half of it comes with the baseline. Undefined where the arms do not differ: there is no lead.
    """
    stated = crossings(results.suite)
    if not stated:
        return nothing("the suite has no attribution")
    four = next((four for four in stated if {four["ppo"], four["grpo"]} == set(arms)), None)
    if four is None:
        of = "; ".join(f"{four['ppo']} and {four['grpo']}" for four in stated)
        return nothing(f"the suite's attribution is of {of}")
    effects = effects_by_seed(results)
    effects = effects[effects["difference"] == difference_of(four)]
    by_task = [effects[effects["task"] == task] for task in tasks]
    rows = zip(effects["task"], effects["seed"], effects["total"], strict=True)
    complete = {("the four arms", task, int(seed)): total for task, seed, total in rows}
    note = _lacking(results.seeds_of(*four.values()), complete, ["the four arms"], tasks, "final score")
    total = mean_evidence([frame["total"].to_numpy(float) for frame in by_task], margin)
    if total.p >= ALPHA:
        return nothing(f"no difference between the arms to split ({p_words(total.p)})", note, total.n)
    sign = math.copysign(1.0, total.estimate)
    parts = [[sign * frame[name].to_numpy(float) for frame in by_task] for name in ("everything else", "baseline")]
    rest, own = (_mean([_mean(values) for values in part]) for part in parts)
    samples = [paired_differences(*both) for both in zip(*parts, strict=True)]
    leader = four["grpo" if sign > 0 else "ppo"]
    shown = f"of {leader}'s lead of {show(abs(total.estimate))}, baseline {show(own)}, everything else {show(rest)}"
    return Finding(shifted_evidence(samples, than, margin), shown, note)


def final_column(name: str) -> Callable[[Results], Values]:
    """A column of `Results.finals`."""
    return lambda results: by_run(results.finals, name)


def critic_excess_error(results: Results) -> Values:
    """The share of the reward's variance that V(prompt) leaves half-way, less that which the others' mean leaves."""
    rows = _probed(results, "baseline", "comparable", "middle")
    value, others = (by_run(rows[rows["subject"] == name], "value") for name in ("value_prompt", "leave_one_out"))
    return {run: value[run] - others[run] for run in value.keys() & others.keys()}


def explained_variance(results: Results) -> Values:
    """The share of the true values' variance that V explains half-way, over all probed prompts and prefixes."""
    rows = _probed(results, "value", "explained_variance", "middle")
    return by_run(rows[rows["position"].isna()], "value")


def ranking_gain(results: Results) -> Values:
    """Kendall's tau between log-probability and reward of the start's completions, at the end less at the start."""
    before, after = (_probed(results, "ranking", "tau", moment) for moment in ("start", "end"))
    first, last = (by_run(rows[rows["subject"] == "start"], "value") for rows in (before, after))
    return {run: last[run] - first[run] for run in first.keys() & last.keys()}


def exploitation(results: Results) -> Values:
    """How far the trained reward is ahead of the gold one: a mean over the last tenth of a run's updates."""
    metrics = results.metrics[results.metrics["key"].isin(results.complete)]
    if "reward_gold" not in metrics or metrics.empty:
        return {}
    metrics = metrics[metrics["update"] > LAST_TENTH * metrics.groupby("key")["update"].transform("max")]
    ahead = metrics.assign(ahead=metrics["reward_mean"].astype(float) - metrics["reward_gold"].astype(float))
    return by_run(ahead.groupby(["arm", "task", "seed"])["ahead"].mean().reset_index(), "ahead")


MEASURES: dict[str, Measure] = {
    "baseline_less_rest": Measure(
        "share", baseline_less_rest, two="the baseline's part of the lead minus the rest's, {0} and {1}"
    ),
    "critic_excess_error": Measure(
        "share of the reward's variance",
        of_runs(critic_excess_error, "V(prompt) beside the mean of the others half-way"),
        one="variance that V(prompt) leaves minus that of the others' mean, {0}",
    ),
    "explained_variance": Measure(
        "share of the true values' variance",
        of_runs(explained_variance, "explained variance of V half-way"),
        one="variance of the true values that V explains, {0}",
    ),
    "ranking_gain": Measure(
        "Kendall's tau",
        of_runs(ranking_gain, "rank correlation at start and end"),
        one="gain in rank correlation, {0}",
        two="gain in rank correlation, {1} minus {0}",
    ),
    "exploitation": Measure(
        "reward",
        of_runs(exploitation, "gold reward beside the learned one"),
        one="learned minus gold reward at the end, {0}",
        two="learned minus gold reward at the end, {1} minus {0}",
    ),
    "final_score": Measure(
        "share",
        of_runs(final_column("final_pass_rate"), "final score"),
        one="final held-out pass rate, {0}",
        two="final held-out pass rate, {1} minus {0}",
    ),
    "area": Measure(
        "share",
        of_runs(final_column("area_pass_rate"), "area under the curve"),
        one="area under the curve, {0}",
        two="area under the curve, {1} minus {0}",
    ),
    "settings_score": Measure(
        "share",
        of_trials(score),
        one="final pass rate with settings drawn at random, {0}",
        two="final pass rate with settings drawn at random, {1} minus {0}",
    ),
    "settings_spread": Measure(
        "ratio",
        spread,
        two="distance of scores with settings drawn at random from their median, {1} over {0}",
        ratio=True,
        tested=(NULL[RATIO], SPREAD.margin),
    ),
    "settings_collapses": Measure(
        "share",
        of_trials(collapsed),
        one="share of collapsed runs with settings drawn at random, {0}",
        two="share of collapsed runs with settings drawn at random, {1} minus {0}",
    ),
    **{metric.claim: of_metric(metric) for metric in METRICS if metric.claim},
}
"""Every measure that a claim can name."""


@kept
def _narrowed(results: Results, arms: Sequence[str], tasks: Sequence[str]) -> Results:
    """A suite of these tasks, with the rows of these arms on them: other rows change the last bits of a sum."""

    def rows(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["arm"].isin(arms) & frame["task"].isin(tasks)]

    suite = {**results.suite, "tasks": {task: results.suite["tasks"][task] for task in tasks}}
    return replace(
        results,
        suite=suite,
        evals=rows(results.evals),
        metrics=rows(results.metrics),
        timing=rows(results.timing),
        probes=rows(results.probes),
    )


def _probed(results: Results, probe: str, quantity: str, moment: str) -> pd.DataFrame:
    """A probe's rows of complete runs at a moment."""
    rows = results.probes[results.probes["key"].isin(results.complete)]
    if rows.empty:
        return rows
    rows = at_moments(results)
    return rows[(rows["probe"] == probe) & (rows["quantity"] == quantity) & (rows["moment"] == moment)]


def _lacking(seeds: Sequence[int], values: Values, arms: Sequence[str], tasks: Sequence[str], what: str) -> str:
    """Which runs have no value, such as `no final score of ppo on recall (seeds 3, 5)`; empty where none."""
    places: dict[tuple[str, str], list[str]] = {}
    for arm in arms:
        for task in tasks:
            gone = [str(seed) for seed in seeds if (arm, task, seed) not in values]
            if gone:
                which = "any seed" if len(gone) == len(seeds) else f"seed{'s' * (len(gone) > 1)} {', '.join(gone)}"
                places.setdefault((arm, which), []).append(task)
    parts = [f"{arm} on {', '.join(where)} ({which})" for (arm, which), where in places.items()]
    return f"no {what} of {'; '.join(parts)}" if parts else ""


def _mean(values: Sequence[float] | Array) -> float:
    """The mean of what is there; NaN of nothing."""
    there = np.asarray(values, float)
    there = there[~np.isnan(there)]
    return float(there.mean()) if len(there) else math.nan

"""What the probes found, over the runs of an arm: the tables behind the report's figures of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames import costs
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, kept

MOMENTS = ("start", "middle", "end")
BASELINES = {
    "batch_mean": "mean of the batch",
    "group_mean": "mean of the group",
    "leave_one_out": "mean of the others",
    "value_prompt": "V(prompt)",
    "value": "V(prefix)",
    "monte_carlo_prompt": "true V(prompt)",
    "monte_carlo": "true V(prefix)",
}
"""Baselines as they are recorded, and what figures call them; `true` is the mean of fresh continuations."""


@kept
def at_moments(results: Results) -> pd.DataFrame:
    """The probes' rows of complete runs with the moment of each: start, middle or end of the run."""
    frame = results.probes[results.probes["key"].isin(results.complete)]
    place = frame.groupby("key")["completions"].rank(method="dense").astype(int) - 1
    last = place.groupby(frame["key"]).transform("max")
    names = [MOMENTS[2] if at and at == end else MOMENTS[at] for at, end in zip(place, last, strict=True)]
    return frame.assign(moment=names)


@kept
def gradient_noise(results: Results) -> pd.DataFrame:
    """A row per task, arm (whose policy and rollouts), moment and estimator: the noise scale and the cosine.

    The noise scale is the ratio of the runs' summed tr(Sigma) and summed unbiased |g|^2: prompt groups for which noise
    and signal are equal. It does not exist where the sum of |g|^2 is not positive. `prompts_share` is the part of the
    noise that the choice of prompts makes; siblings in a baseline can make it negative. The cosine, a mean over runs,
    is the estimate's to leave-one-out REINFORCE on other and more prompts; `cosine_se` is its standard error over runs.
    """
    quantities = ["signal", "trace", "between", "cosine", "skipped"]
    names, runs = _by_quantity(at_moments(results), "gradient", quantities)
    sums, signal = runs.sum(), runs["signal"].sum()
    return names.rename(columns={"subject": "estimator"}).assign(
        n=runs.size(),
        noise_scale=sums["trace"] / signal.where(signal > 0),
        prompts_share=runs["between"].sum(min_count=1) / sums["trace"],
        cosine=runs["cosine"].mean(),
        cosine_se=runs["cosine"].sem(),
        skipped_units=sums["skipped"].astype(int),
    )


@kept
def baselines(results: Results) -> pd.DataFrame:
    """A row per task, arm, moment and baseline: the share of the reward's variance that it leaves.

    The row's own reward is taken out of its baseline. A mean over runs with its standard error over them; 1 is what no
    baseline leaves.
    """
    frame = at_moments(results)
    chosen = (frame["probe"] == "baseline") & (frame["quantity"] == "comparable") & frame["subject"].isin(BASELINES)
    table = _means(frame[chosen], ["task", "arm", "moment", "subject"], "residual_variance")
    return table.rename(columns={"subject": "baseline"})


def value_error(results: Results) -> pd.DataFrame:
    """A row per task, arm, moment and tenth of the completion: the critic's error, in reward^2.

    Corrected for the continuations' noise. `position` is the tenth's lower end, none for the whole completion.
    """
    frame = at_moments(results)
    frame = frame[(frame["probe"] == "value") & (frame["quantity"] == "mse")]
    return _means(frame, ["task", "arm", "moment", "position"], "mse")


@kept
def critic(results: Results) -> pd.DataFrame:
    """A row per task, arm with a critic and moment: explained variance, rank correlation, bias and the break-even G.

    Explained variance is of the true V, not of lambda-returns. The break-even G is the group size from which the mean
    of the others is nearer to the prompt's true value than the critic: the median over runs. A run in which no group
    size is counts as infinite; an infinite median is a dash.
    """
    frame = at_moments(results)
    value = frame[(frame["probe"] == "value") & frame["position"].isna()]
    chosen = (frame["probe"] == "break_even") & (frame["quantity"] == "group_size")
    sizes = frame[chosen].fillna({"value": np.inf}).groupby(["task", "arm", "moment"])["value"].median()
    rows = []
    for (task, arm, moment), part in value.groupby(["task", "arm", "moment"], sort=False):
        means = part.groupby("quantity")["value"].mean()
        median = float(sizes.get((task, arm, moment), np.inf))
        row: dict[str, Any] = {"task": task, "arm": arm, "moment": moment, "n": part["key"].nunique()}
        row |= {name: means.get(name, np.nan) for name in ("explained_variance", "kendall_tau", "bias", "mse")}
        rows.append(row | {"break_even_group_size": median if np.isfinite(median) else np.nan})
    columns = ["task", "arm", "moment", "n", "explained_variance", "kendall_tau", "bias", "mse"]
    return pd.DataFrame(rows, columns=[*columns, "break_even_group_size"])


def memory_by_role(results: Results) -> pd.DataFrame:
    """`costs.memory_by_role`, the whole update first, without roles that held nothing."""
    table = costs.memory_by_role(results)
    table = table[table[list(costs.ROLE_SOURCES.values())].gt(0).any(axis=1)]
    return table.sort_values("phase", key=lambda phase: phase != "total", kind="stable").reset_index(drop=True)


def operations(results: Results) -> pd.DataFrame:
    """A row per task, arm, moment and phase: 10^6 operations for a completion and the critic's part, over runs."""
    frame = costs.flops_by_phase(results)
    names = at_moments(results).drop_duplicates(["key", "completions"]).set_index(["key", "completions"])["moment"]
    frame = frame[frame["key"].isin(results.complete)]
    named = [names[key, at] for key, at in zip(frame["key"], frame["completions"], strict=True)]
    groups = frame.assign(moment=named).groupby(["task", "arm", "moment", "phase"], sort=False)
    return groups[["mflops", "critic_mflops"]].mean().assign(runs=groups["key"].count()).reset_index()


def without_critic(results: Results) -> list[str]:
    """Arms that were probed and have no critic to measure."""
    probed, critics = (set(frame["arm"]) for frame in (results.probes, critic(results)))
    return [arm for arm in results.arms if arm in probed - critics]


def ranking(results: Results) -> pd.DataFrame:
    """A row per task, arm, moment and subject: how log-probability and reward agree inside prompt groups.

    The subject `start` is a fixed set of completions, sampled from the start model; `sampled` the policy's own, others
    at each moment. Means over runs with standard errors over them; `silent` is the share of groups that tell nothing.
    A run in which every group is silent is not in `n`.
    """
    quantities = ["tau", "auc", "tau_per_token", "auc_per_token"]
    table, runs = _by_quantity(at_moments(results), "ranking", [*quantities, "silent", "groups"])
    table = table.assign(n=runs["tau"].count())
    for name in quantities:
        table = table.assign(**{name: runs[name].mean(), f"{name}_se": runs[name].sem()})
    return table.assign(silent=runs["silent"].sum() / runs["groups"].sum())


def _by_quantity(frame: pd.DataFrame, probe: str, quantities: list[str]) -> tuple[pd.DataFrame, Any]:
    """A row per task, arm, moment and subject of a probe, and by that row's number its runs, a column a quantity."""
    frame = frame[frame["probe"] == probe]
    by = ["task", "arm", "moment", "subject"]
    numbered = frame.assign(row=frame.groupby(by, sort=False).ngroup())
    wide = numbered.pivot(index=["row", "key"], columns="quantity", values="value")
    wide = wide.reindex(columns=quantities).astype(float)
    return frame[by].drop_duplicates().reset_index(drop=True), wide.groupby(level="row")


def _means(frame: pd.DataFrame, by: list[str], name: str) -> pd.DataFrame:
    """Means of `value` over runs with their standard errors."""
    groups = frame.groupby(by, sort=False, dropna=False)["value"]
    table = groups.agg(["count", "mean", "std"]).reset_index()
    table["se"] = table["std"] / np.sqrt(table["count"].clip(lower=1))
    return table.rename(columns={"count": "n", "mean": name}).drop(columns="std")

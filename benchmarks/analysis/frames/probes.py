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
    frame = at_moments(results)
    frame = frame[frame["probe"] == "gradient"]
    rows = []
    for (task, arm, moment, name), part in frame.groupby(["task", "arm", "moment", "subject"], sort=False):
        wide = part.pivot_table(index="key", columns="quantity", values="value", dropna=False)
        signal, cosine = wide["signal"].sum(), wide["cosine"].dropna()
        row: dict[str, Any] = {"task": task, "arm": arm, "moment": moment, "estimator": name, "n": len(wide)}
        row["noise_scale"] = wide["trace"].sum() / signal if signal > 0 else np.nan
        row["prompts_share"] = wide["between"].sum(min_count=1) / wide["trace"].sum()
        row["cosine"] = cosine.mean()
        row["cosine_se"] = cosine.std(ddof=1) / np.sqrt(len(cosine)) if len(cosine) > 1 else np.nan
        rows.append(row | {"skipped_units": int(wide["skipped"].sum())})
    columns = ["task", "arm", "moment", "estimator", "n", "noise_scale", "prompts_share", "cosine", "cosine_se"]
    return pd.DataFrame(rows, columns=[*columns, "skipped_units"])


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
    frame = at_moments(results)
    frame = frame[frame["probe"] == "ranking"]
    rows = []
    for (task, arm, moment, subject), part in frame.groupby(["task", "arm", "moment", "subject"], sort=False):
        wide = part.pivot_table(index="key", columns="quantity", values="value", dropna=False)
        row: dict[str, Any] = {"task": task, "arm": arm, "moment": moment, "subject": subject}
        row["n"] = int(wide["tau"].count())
        for name in ("tau", "auc", "tau_per_token", "auc_per_token"):
            row |= {name: wide[name].mean(), f"{name}_se": wide[name].sem()}
        rows.append(row | {"silent": wide["silent"].sum() / wide["groups"].sum()})
    columns = ["task", "arm", "moment", "subject", "n", "tau", "tau_se", "auc", "auc_se"]
    columns += ["tau_per_token", "tau_per_token_se", "auc_per_token", "auc_per_token_se", "silent"]
    return pd.DataFrame(rows, columns=columns)


def _means(frame: pd.DataFrame, by: list[str], name: str) -> pd.DataFrame:
    """Means of `value` over runs with their standard errors."""
    groups = frame.groupby(by, sort=False, dropna=False)["value"]
    table = groups.agg(["count", "mean", "std"]).reset_index()
    table["se"] = table["std"] / np.sqrt(table["count"].clip(lower=1))
    return table.rename(columns={"count": "n", "mean": name}).drop(columns="std")

"""Held-out prompts one by one: which does an arm solve at the end of training, and which does another?"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, kept
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.splits import Split, data_hash, heldout

DIFFERENCE = "difference"
NORMAL_95 = 1.96
"""Half the width of a 95% interval, in standard errors of many prompts."""
UNKNOWN = ""
"""The text of a prompt that neither the task nor a transcript tells."""


@kept
def prompt_rates(results: Results, first: str | None = None, second: str | None = None) -> pd.DataFrame:
    """A row per task and held-out prompt: task, prompt, stratum, text, each arm's pass rate, and their difference.

    A pass rate is the share of passed samples at the last evaluation, a mean over the arm's complete runs; NaN where
    there is none. The difference is the second arm's less the first's, of the arms of `choose_pair`. A text is empty
    where the task as it is installed draws other problems than the runs had, and no transcript shows the prompt.
    """
    last = _last(results)
    table = _rates(results).reset_index()
    table.insert(2, "stratum", last.groupby(["task", "prompt"])["stratum"].first().to_numpy())
    known = {task: prompt_texts(results, task) for task in results.tasks}
    texts = [known[task].get(prompt, UNKNOWN) for task, prompt in zip(table["task"], table["prompt"], strict=True)]
    table.insert(3, "text", pd.Series(texts, dtype="str"))
    if pair := choose_pair(results, first, second):
        table[DIFFERENCE] = table[pair[1]] - table[pair[0]]
    order = {task: place for place, task in enumerate(results.tasks)}
    return table.sort_values("task", key=lambda tasks: tasks.map(order), kind="stable").reset_index(drop=True)


def prompts_reach(results: Results, pair: tuple[str, str], tasks: Sequence[str]) -> float:
    """How far the difference of two arms' final pass rates, a mean over tasks, may move with other held-out prompts.

    Half the width of a 95% interval over prompts drawn anew, the runs as they are: what an interval over seeds, which
    share their prompts, does not hold. NaN where a task has fewer than two prompts that both arms answered.
    """
    rates = _rates(results)
    gaps = (rates[pair[1]] - rates[pair[0]]).dropna().groupby("task")
    squares = [gaps.get_group(task).var() / len(gaps.get_group(task)) if task in gaps.groups else nan for task in tasks]
    return NORMAL_95 * sqrt(sum(squares)) / len(tasks)


@kept
def _last(results: Results) -> pd.DataFrame:
    """The rows of `evals` of each complete run's last evaluation, with the rate of passed samples."""
    done = results.evals[results.evals["key"].isin(results.complete)]
    last = done[done["update"] == done.groupby("key")["update"].transform("max")]
    return last.assign(rate=last["passes"].astype(float) / last["samples"].astype(float))


@kept
def _rates(results: Results) -> pd.DataFrame:
    """By task and prompt, each arm's final pass rate: a mean over its complete runs."""
    rates = _last(results).groupby(["task", "prompt", "arm"])["rate"].mean().unstack("arm")
    return rates.reindex(columns=results.arms).rename_axis(columns=None)


def prompt_texts(results: Results, task: str) -> dict[int, str]:
    """The texts of a task's held-out prompts by their index, as far as they are known.

    The task draws them again if it still is what the runs had, by the hash in their specs. Else transcripts tell:
    those of an evaluation are of its first prompts, in their order.
    """
    specs = [spec for spec in results.specs.values() if spec["purpose"] == "train" and spec["task"] == task]
    if not specs:
        return {}
    spec = specs[0]
    try:
        made = make(spec["task_choice"]["task"], spec["task_choice"]["options"])
        if data_hash(made) == spec["task_data"]:
            split: Split = "validation" if spec["tuning"] else "heldout"
            return {i: each.prompt for i, each in enumerate(heldout(made, split, spec["eval"]["prompts"]))}
    except UserError:  # a task of the user's own that is not installed here
        pass
    samples = results.samples[results.samples["task"] == task]
    at_once = sorted((list(texts) for _, texts in samples.groupby(["key", "update"])["prompt"]), key=len)
    return dict(enumerate(at_once[-1])) if at_once else {}

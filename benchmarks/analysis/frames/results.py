"""The results of a suite as pandas frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from html import escape
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.stats.curves import area_under_curve
from ppo_vs_grpo.benchmarks.records.manifest import is_complete, planned_completions
from ppo_vs_grpo.benchmarks.records.schema import MEMORY_COLUMNS, METRIC_COLUMNS, SAMPLE_COLUMNS
from ppo_vs_grpo.tasks.errors import UserError, nearest

IDENTITY = ("arm", "task", "seed", "key")
SCORES = ("pass_rate", "greedy_pass", "reward_mean")
"""What one evaluation says, each a mean over the held-out prompts."""

MISSING_COLUMNS = ("purpose", *IDENTITY, "state", "message")

SUMMARIES = ("start", "final", "gain", "area")

MANY = 8
"""Names up to this many are all shown where `Results` are."""

ALL_TASKS = "all tasks"
"""What a row over all tasks calls its task."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Results:
    """One suite's results. Every frame but `runs` and `missing` starts with arm, task, seed, key.

    - `runs`: a row per finished run, failed and diverged ones and the timing pass included;
    - `metrics`: a row per update of the training runs; `timing`: the same of the timing pass,
      where `seed` is the repeat and `warmup` marks rows that are not to be measured;
    - `evals`: a row per held-out prompt and evaluation of the training runs;
    - `probes`: a row per run, moment, probe, subject and quantity, where the suite has probes;
    - `memory`: bytes per run (with its purpose), phase, role and source;
    - `speed`, `speed_memory`: as `timing` and `memory`, of the timing pass's cells, which are no tasks of the suite;
    - `throughput`: the passes of short runs side by side, where the suite has them;
    - `samples`: a row per transcript that the training runs kept: its prompt, completion and reward;
    - `missing`: runs that the suite names and that are not finished, their state, and what can be done;
    - `specs`, `environments`: each run's input and surroundings, by key;
    - `changed`: in what the suite differs from its file: by key, the file's value and the one that ran;
    - `unsealed`: what carries no seal, having been written before there were seals: runs by key, files by name.

    A failed run is a row of `runs` and appears in no other frame.
    """

    suite: Mapping[str, Any]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    evals: pd.DataFrame
    memory: pd.DataFrame
    probes: pd.DataFrame
    timing: pd.DataFrame
    missing: pd.DataFrame
    specs: Mapping[str, dict[str, Any]]
    environments: Mapping[str, dict[str, Any]]
    hashes: Mapping[str, dict[str, str]]
    ignored: tuple[str, ...]
    speed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*IDENTITY, *METRIC_COLUMNS]))
    speed_memory: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*IDENTITY, *MEMORY_COLUMNS]))
    throughput: tuple[dict[str, Any], ...] = ()
    unsealed: tuple[str, ...] = ()
    changed: Mapping[str, Any] = field(default_factory=dict)
    samples: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*IDENTITY, *SAMPLE_COLUMNS]))

    def __repr__(self) -> str:
        """Ten lines: what was asked, what is there, and what is not."""
        facts = self._facts()
        wide = max(map(len, facts))
        return "\n".join(f"{what:<{wide}}  {says}" for what, says in facts.items())

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        rows = [f"<tr><th style='text-align: left'>{what}</th><td style='text-align: left'>{escape(says)}</td></tr>"
                for what, says in self._facts().items()]  # fmt: skip
        return f"<table>{''.join(rows)}</table>"

    def _facts(self) -> dict[str, str]:
        """What a notebook shows of the suite, each fact under its name."""
        facts = {"suite": self.name, "arms": _named(self.arms), "tasks": _named(self.tasks)}
        facts["seeds"] = _named([str(seed) for seed in self.seeds])
        for purpose, what in (("train", "training"), ("timing", "timing")):
            finished = int((self.runs["purpose"] == purpose).sum())
            facts[what] = f"{finished} of {finished + int((self.missing['purpose'] == purpose).sum())} runs finished"
        for status in ("failed", "diverged"):
            facts[status] = _named(self.runs.loc[self.runs["status"] == status, "key"].tolist())
        facts["missing"] = _named(self.missing["key"].tolist())
        frames = ("metrics", "evals", "samples", "timing", "memory", "probes")
        return facts | {"rows": ", ".join(f"{name} {len(getattr(self, name)):,}" for name in frames)}

    @property
    def name(self) -> str:
        """The suite's name."""
        return str(self.suite["name"])

    @property
    def changed_sentence(self) -> str:
        """In what the suite differs from its file; empty where in nothing."""
        each = ", ".join(f"{key} {new} instead of {old}" for key, (old, new) in self.changed.items())
        return f"Changed from the suite's file: {each}." if each else ""

    @property
    def retried_sentence(self) -> str:
        """Which runs had diverged before and were tried again; empty where none."""
        if "retried" not in self.runs:
            return ""
        again = self.runs[self.runs["retried"] == "diverged"]
        each = [f"{arm} {len(of)} of {(self.runs['arm'] == arm).sum()}" for arm, of in again.groupby("arm", sort=False)]
        late = "their last attempts stand here, so these arms look steadier than they are"
        return f"Runs that had diverged were tried again ({', '.join(each)}): {late}." if each else ""

    @property
    def unsealed_sentence(self) -> str:
        """What carries no seal, as a sentence; an empty text where everything does."""
        files = [name for name in self.unsealed if name not in self.specs]
        runs = len(self.unsealed) - len(files)
        what = [*([f"{runs} run{'s' * (runs > 1)}"] if runs else []), *files]
        verb = "carry" if runs + len(files) > 1 else "carries"
        return f"{' and '.join(what)} {verb} no seal: nothing shows whether they were changed since." if what else ""

    @property
    def arms(self) -> list[str]:
        """The suite's arms, in its order."""
        return list(self.suite["arms"])

    @property
    def tasks(self) -> list[str]:
        """The suite's tasks, in its order."""
        return list(self.suite["tasks"])

    @property
    def seeds(self) -> list[int]:
        """The suite's seeds, in its order."""
        return list(self.suite["seeds"])

    @property
    def cells(self) -> list[str]:
        """The cells that only the timing pass runs, in the suite's order."""
        return list((self.suite.get("timing") or {}).get("cells") or {})

    def timed_in(self, cell: str) -> list[str]:
        """The arms that a cell asks for, in the suite's order."""
        timing = self.suite["timing"]
        chosen = timing["cells"][cell].get("arms") or timing.get("arms") or self.arms
        return [arm for arm in self.arms if arm in chosen]

    def runs_on(self, arm: str) -> list[str]:
        """The tasks on which an arm runs, in the suite's order."""
        chosen = self.suite["arms"][arm].get("tasks")
        return [task for task in self.tasks if chosen is None or task in chosen]

    def seeds_of(self, *arms: str) -> list[int]:
        """The seeds with which each of these arms runs, in the suite's order; an arm may have fewer than the suite."""
        few = [self._asked.get(arm, set()) for arm in arms if self.suite["arms"][arm].get("seeds")]
        return [seed for seed in self.seeds if all(seed in asked for asked in few)]

    @cached_property
    def _asked(self) -> dict[str, set[int]]:
        """By arm the seeds of its training runs, finished or missing."""
        both = pd.concat(
            [frame.loc[frame["purpose"] == "train", ["arm", "seed"]] for frame in (self.runs, self.missing)]
        )
        return {str(arm): set(map(int, seeds)) for arm, seeds in both.groupby("arm")["seed"]}

    @cached_property
    def complete(self) -> frozenset[str]:
        """Keys of the training runs with a final score: all but the failed, and the diverged that stopped early."""
        training = self.runs[self.runs["purpose"] == "train"]
        ends = zip(training["key"], training["status"], training["completions"], strict=True)
        return frozenset(key for key, status, n in ends if is_complete(status, n, self.specs[key]))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row per training run and evaluation: pass_rate (of all samples), greedy_pass, reward_mean, tokens.

        `complete` says whether the run has a final score.
        """
        frame = self.evals.assign(pass_rate=self.evals["passes"] / self.evals["samples"])
        columns = [*SCORES, "completion_tokens_mean"]
        frame = frame.groupby([*IDENTITY, "update", "completions"], as_index=False, sort=True)[columns].mean()
        return frame.assign(complete=frame["key"].isin(self.complete))

    @cached_property
    def finals(self) -> pd.DataFrame:
        """A row per training run: start, final, gain and area of each score, as in `final_pass_rate`.

        `area` is the area under the curve over completions, divided by its width: a mean height.
        What a run that is not complete lacks is NaN.
        """
        rows = []
        for identity, curve in self.scores.groupby(list(IDENTITY), sort=True):
            x, complete = curve["completions"].to_numpy(float), bool(curve["complete"].iloc[0])
            row: dict[str, Any] = dict(zip(IDENTITY, identity, strict=True))
            for name in SCORES:
                y = curve[name].to_numpy(float)
                start = y[0] if x[0] == 0 else np.nan
                final = y[-1] if complete else np.nan
                area = area_under_curve(x, y) if complete else np.nan
                row |= {f"start_{name}": start, f"final_{name}": final, f"gain_{name}": final - start}
                row[f"area_{name}"] = area
            rows.append(row)
        return pd.DataFrame(rows, columns=[*IDENTITY, *[f"{part}_{name}" for name in SCORES for part in SUMMARIES]])

    def score_matrix(self, metric: str = "pass_rate") -> dict[str, pd.DataFrame]:
        """Per arm, a frame of seeds x tasks with the final held-out score; NaN where there is none.

        `metric` is pass_rate, greedy_pass or reward_mean; with a prefix `start_`, `gain_` or `area_`, that instead.
        """
        column = metric if metric.startswith(tuple(f"{part}_" for part in SUMMARIES)) else f"final_{metric}"
        if column not in self.finals or column in IDENTITY:
            raise UserError(f"score_matrix: no metric {metric!r}; {nearest(metric, SCORES)}")
        table = self.finals.set_index(["arm", "seed", "task"])[column]
        return {
            arm: pd.DataFrame(
                [[table.get((arm, seed, task), np.nan) for task in self.tasks] for seed in self.seeds],
                index=pd.Index(self.seeds, name="seed"),
                columns=pd.Index(self.tasks, name="task"),
                dtype=float,
            )
            for arm in self.arms
        }


def _named(names: list[str]) -> str:
    """Some names in a line: `none`, all of a few, else how many with the first and the last."""
    if len(names) > MANY:
        return f"{len(names)}: {names[0]}, {names[1]}, ... {names[-1]}"
    return ", ".join(names) or "none"


def unmatched(results: Results, task: str) -> str:
    """How the arms' budgets on a task differ, or an empty text if they match."""
    training = [spec for spec in results.specs.values() if spec["purpose"] == "train" and spec["task"] == task]
    budgets = {spec["arm"]: planned_completions(spec) for spec in training}
    if len(set(budgets.values())) < 2:
        return ""
    each = ", ".join(f"{arm} {budgets[arm]:,}" for arm in results.arms if arm in budgets)
    return f"budgets unmatched: {each} completions"


def kept(make: Callable[Concatenate[Results, P], T]) -> Callable[Concatenate[Results, P], T]:
    """Compute a function of results once and keep its answer with them; callers must not change the answer."""

    @wraps(make)
    def answer(results: Results, /, *args: P.args, **named: P.kwargs) -> T:
        answers: dict[Any, T] = vars(results).setdefault("kept", {})
        question = (make.__module__, make.__name__, args, tuple(sorted(named.items())))
        if question not in answers:
            answers[question] = make(results, *args, **named)
        return answers[question]

    return answer

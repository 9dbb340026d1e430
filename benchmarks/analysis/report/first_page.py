"""The report's first page: what may be said of two arms, metric by metric, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS
from ppo_vs_grpo.benchmarks.analysis.judge.claim_measures import MEASURES
from ppo_vs_grpo.benchmarks.analysis.judge.claims import ClaimResult
from ppo_vs_grpo.benchmarks.analysis.judge.finding import amount
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict
from ppo_vs_grpo.benchmarks.analysis.report.tables import DASH
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, RATIO
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import show

WORDS = {DIFFERENCE: "{second} less {first}", RATIO: "{second} over {first}"}


def over_all_tasks(judged: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts over all tasks; of a suite of one task, those on it."""
    over = [one for one in judged if one.task == ALL_TASKS]
    return over or list(judged)


def verdicts(judged: Sequence[Verdict]) -> pd.DataFrame:
    """A row a metric, over all tasks, as text: the verdict, both arms' values, the effect with its interval, and n."""
    rows = []
    for one in over_all_tasks(judged):
        row = {"metric": f"{one.metric} ({one.unit})", "verdict": one.verdict}
        row |= {arm: value(number) for arm, number in _arms(one)}
        rows.append(row | {"effect (95% interval)": effect(one), "n": str(one.n)})
    return pd.DataFrame(rows, dtype=object)


def verdicts_by_task(judged: Sequence[Verdict]) -> pd.DataFrame:
    """The verdicts' words, a row a metric and a column a task; empty for a suite of one task."""
    places = list(dict.fromkeys(one.task for one in judged))
    if len(places) < 2:
        return pd.DataFrame()
    words = {(one.metric, one.task): one.verdict for one in judged}
    metrics = dict.fromkeys(one.metric for one in judged)
    return pd.DataFrame(
        [{"metric": metric} | {place: words.get((metric, place), "-") for place in places} for metric in metrics],
        dtype=object,
    )


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """`claims_table` for a page: what the source says, the verdict, what was tested and found."""
    said = table["claim"] + ": " + table["says"]
    return pd.DataFrame(
        {"claim": said, "verdict": table["verdict"], "tested here": table["here"], "evidence": table["evidence"]}
    )


def effect(one: Verdict) -> str:
    """An estimate with its interval, such as `grpo less ppo 0.030 (0.010 to 0.050)`; a dash where there is none."""
    if one.estimate is None:
        return "-"
    what = WORDS.get(one.effect, "{second} earlier: share").format(first=one.first, second=one.second)
    return f"{what} {amount(one.estimate, one.low, one.high)}"


def value(number: float | None) -> str:
    """A number as a sentence shows it, a dash for none."""
    return "-" if number is None else show(number)


def _arms(one: Verdict) -> list[tuple[str, float | None]]:
    pairs = [(one.first, one.first_value), (one.second, one.second_value)]
    return [(arm, number) for arm, number in pairs if arm is not None]


def claims_table(judged: Sequence[ClaimResult]) -> pd.DataFrame:
    """A row a claim, as text for a first page; a dash where there is no evidence."""
    columns = ["claim", "says", "here", "evidence", "verdict", "reason"]
    rows = [[one.name, one.says, one.here, _evidence(one), one.verdict, one.reason] for one in judged]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _evidence(one: ClaimResult) -> str:
    """A claim's evidence in a few words."""
    found = amount(one.estimate, one.low, one.high)
    return f"{MEASURES[one.measure].words(one.arms)}: {found}, n = {one.n}" if found else DASH

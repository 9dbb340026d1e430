"""The report's first page: what may be said of two arms, what it cost, what was not tested, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import shared_tasks
from ppo_vs_grpo.benchmarks.analysis.frames.prompts import prompts_reach
from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS, Results
from ppo_vs_grpo.benchmarks.analysis.judge.claim_measures import MEASURES
from ppo_vs_grpo.benchmarks.analysis.judge.claims import ClaimResult
from ppo_vs_grpo.benchmarks.analysis.judge.conditions import (
    SHARES,
    conditions,
    critics,
    differing_settings,
    learnt_before,
    places_of_beta,
)
from ppo_vs_grpo.benchmarks.analysis.judge.finding import amount
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict
from ppo_vs_grpo.benchmarks.analysis.report.answer import points
from ppo_vs_grpo.benchmarks.analysis.report.tables import DASH
from ppo_vs_grpo.benchmarks.analysis.stats.evidence import DIFFERENCE, RATIO
from ppo_vs_grpo.benchmarks.analysis.stats.ruling import show

WORDS = {DIFFERENCE: "{second} minus {first}", RATIO: "{second} over {first}"}

STRIP_PX = 120

CRITICS = {
    "head": "PPO with a critic network of its own: here {arms} a value head on the policy.",
    "model": "PPO with a value head on the policy: here {arms} a critic network of its own.",
}
"""By the form of critic that was run, the sentence on the other."""


def over_all_tasks(judged: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts over all tasks; of a suite of one task, those on it."""
    over = [one for one in judged if one.task == ALL_TASKS]
    return over or list(judged)


def pair_of(judged: Sequence[Verdict]) -> tuple[str, str] | None:
    """The two arms that verdicts are of; None where there are none."""
    first, second = judged[0].first, judged[0].second
    return None if first is None or second is None else (first, second)


def conditions_table(results: Results, judged: Sequence[Verdict]) -> pd.DataFrame:
    """`judge.conditions` as text: a row per task and arm; empty without two arms that share a task.

    Whether answers could be read stands there where a reward says it.
    """
    pair = pair_of(judged)
    tasks = tuple(dict.fromkeys(one.task for one in judged if one.task != ALL_TASKS))
    if pair is None or not tasks:
        return pd.DataFrame()
    table = conditions(results, pair, tasks)
    if table["parsed"].isna().all():
        table = table.drop(columns="parsed")
    shares = {
        name: [DASH if pd.isna(x) else f"{x:.0%}" for x in table[name]] for name in SHARES if name in table.columns
    }
    return table.assign(**shares).astype(str).astype(object)


def not_tested(results: Results, judged: Sequence[Verdict]) -> list[str]:
    """What a verdict does not speak of: other settings, the other form of critic, other models, tasks and prompts."""
    pair = pair_of(judged)
    if pair is None:
        return []
    differ = differing_settings(results, pair)
    apart = f"each arm ran with one set, and the two differ in {', '.join(differ)}"
    ran = apart if differ else "both arms ran with one set"
    if tuned := results.suite.get("tuned"):
        searched = f"Each arm's are the best of {tuned['trials']} trials on other seeds and prompts"
    else:
        searched = "This suite searched for better ones for neither"
    settings = f"Other settings: {ran}. {searched}."
    lines = [" ".join(filter(None, [settings, learnt_before(results, pair), places_of_beta(results, pair)]))]
    forms = critics(results, pair)
    beside = critics(results, [arm for some in results.suite.get("pairs") or () for arm in some])
    if len(kinds := set(forms.values())) == 1 and kinds >= set(beside.values()):
        of = " and ".join(forms)
        lines.append(CRITICS[kinds.pop()].format(arms=f"{of} has" if len(forms) == 1 else f"{of} have"))
    starts = sorted({str(spec.get("start", "unknown")) for spec in results.specs.values()})
    lines.append(
        f"Other models, tasks and prompts: all runs start from {', '.join(starts) or 'an unknown model'}, and all "
        f"seeds share their held-out prompts. Intervals are over seeds{other_prompts(results, pair)}."
    )
    return lines


def other_prompts(results: Results, pair: tuple[str, str]) -> str:
    """What other held-out prompts could change, as the end of a sentence; empty where it is unknown."""
    reach = prompts_reach(results, pair, shared_tasks(results, pair))
    if math.isnan(reach) or not float(points(reach)):
        return ""
    return f"; other prompts could move the difference by another {points(reach)} points"


def verdicts(judged: Sequence[Verdict]) -> pd.DataFrame:
    """A row a metric, over all tasks, as text: the verdict, both arms' values, the effect with its interval, and n."""
    rows = []
    for one in over_all_tasks(judged):
        kind = "primary" if one.primary else "secondary"
        row = {"metric": f"{one.metric} ({one.unit}), {kind}", "verdict": one.verdict}
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


def claims_rows(judged: Sequence[ClaimResult]) -> list[dict[str, str]]:
    """A claim's name, words, verdict, number and reason, and a drawing of its interval; empty without claims."""
    return [
        {
            **{"name": one.name, "says": one.says, "here": one.here, "verdict": one.verdict, "reason": one.reason},
            "number": amount(one.estimate, one.low, one.high) or DASH,
            "measure": MEASURES[one.measure].words(one.arms) + _would_show(one),
            "drawing": strip(one, ratio=MEASURES[one.measure].ratio),
        }
        for one in judged
    ]


def _would_show(one: ClaimResult) -> str:
    """The smallest true distance that the runs would show, as the end of a sentence; empty where it is unknown."""
    if one.sees is None:
        return ""
    factor = "a factor of " if MEASURES[one.measure].ratio else ""
    return f"; these runs would show {factor}{show(one.sees)} from {one.than:g}"


def strip(one: ClaimResult, *, ratio: bool) -> str:
    """A small interval plot as SVG: the claim's side of `than` shaded, a line for the interval, a dot for the estimate.

    A ratio is drawn by its logarithm. Empty where there is no estimate.
    """
    if one.estimate is None or (ratio and min(one.estimate, one.than) <= 0):
        return ""
    given = [one.estimate, one.low, one.high, one.than]
    places = [math.nan if x is None or (ratio and x <= 0) else math.log(x) if ratio else x for x in given]
    ends = [x for x in places if math.isfinite(x)]
    middle, reach = places[3], 1.25 * max(abs(x - places[3]) for x in ends) or 1.0
    at, low, high = (STRIP_PX / 2 * (1 + (x - middle) / reach) for x in places[:3])
    shade = STRIP_PX / 2 if one.side == "above" else 0
    line = f'<path d="M{low:.1f} 8H{high:.1f}" class="reach"/>' if math.isfinite(low + high) else ""
    return (
        f'<svg width="{STRIP_PX}" height="16" viewBox="0 0 {STRIP_PX} 16" role="img" '
        f'aria-label="{amount(one.estimate, one.low, one.high)}, claimed {one.side} {one.than:g}">'
        f'<rect x="{shade}" width="{STRIP_PX / 2:g}" height="16" class="side"/>'
        f'<path d="M{STRIP_PX / 2:g} 0V16" class="than"/>{line}<circle cx="{at:.1f}" cy="8" r="3.5"/></svg>'
    )


def effect(one: Verdict) -> str:
    """An estimate with its interval, such as `grpo minus ppo 0.030 (0.010 to 0.050)`; a dash where there is none."""
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

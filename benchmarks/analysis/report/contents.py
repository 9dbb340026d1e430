"""Which tables and figures a suite's report has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks.analysis.frames import outcomes, probes, sizes, speed, tuning
from ppo_vs_grpo.benchmarks.analysis.frames.attribution import attribution_table
from ppo_vs_grpo.benchmarks.analysis.frames.lengths import length_table, tasks_that_move
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.signs import signs
from ppo_vs_grpo.benchmarks.analysis.frames.throughput import throughput_table
from ppo_vs_grpo.benchmarks.analysis.judge import claims
from ppo_vs_grpo.benchmarks.analysis.judge.claims import ClaimResult, judge_claims
from ppo_vs_grpo.benchmarks.analysis.judge.differences import difference_table, power_table
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Verdict, judge, judge_primary, table_of
from ppo_vs_grpo.benchmarks.analysis.report import captions, first_page, tables
from ppo_vs_grpo.benchmarks.analysis.report.figures.attribution import attribution_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.claims import dial_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.costs import budget_figure, cost_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.forest import primary_forest
from ppo_vs_grpo.benchmarks.analysis.report.figures.gate import gate_figure, tasks_gated
from ppo_vs_grpo.benchmarks.analysis.report.figures.lengths import length_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.overview import overview_figure, task_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.probes import probe_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.settings import settings_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.sizes import size_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.speed import ratio_figure, scaling_figure, throughput_figure
from ppo_vs_grpo.benchmarks.analysis.report.figures.theory import theory_figure
from ppo_vs_grpo.benchmarks.analysis.report.other_pairs import pairs_table

Table = Callable[[Results], pd.DataFrame]

ALWAYS: dict[str, Table] = {
    "summary": outcomes.summary,
    "final_scores": outcomes.final_scores,
    "variance": tables.variance,
    "memory": tables.memory,
    "seconds": tables.seconds,
    "unfinished": tables.unfinished,
    "environment": tables.environment,
}
"""Tables of every report, by the stem of their CSV files."""

PROBED: dict[str, Table] = {
    "gradient_noise": probes.gradient_noise,
    "baselines": probes.baselines,
    "critic": probes.critic,
    "ranking": probes.ranking,
    "memory_by_role": probes.memory_by_role,
    "operations": probes.operations,
}
"""Tables of a suite with probes."""


SEARCHED: dict[str, Table] = {
    "settings": tuning.sensitivity,
    "settings_learning_rate": tuning.by_learning_rate,
    "settings_importance": tuning.importances,
    "settings_one_or_each": tuning.one_or_each,
    "settings_search": tuning.search_cost,
}
"""Tables of a suite whose settings were sought."""


@dataclass(frozen=True)
class Judged:
    """What may be said of a suite: the verdicts on its two arms, and those on its claims."""

    verdicts: tuple[Verdict, ...]
    claims: tuple[ClaimResult, ...]


def judged(results: Results) -> Judged:
    """Every verdict of the suite: they take a while, and several parts of a report show them."""
    return Judged(judge(results), judge_claims(results))


def make_tables(results: Results, found: Judged) -> dict[str, pd.DataFrame]:
    """Every table of the report, by the stem of its CSV file."""
    differing, shared = tables.configuration(results)
    made = {name: table(results) for name, table in ALWAYS.items()}
    made |= {"configuration_differing": differing, "configuration_shared": shared}
    made |= {
        "verdicts": table_of(found.verdicts),
        "power": power_table(results),
        "differences": difference_table(results),
    }
    if len(beside := first_page.conditions_table(results, found.verdicts)):
        made["conditions"] = beside
    if len(broken := signs(results)):
        made["signs"] = broken
    if len(lengths := length_table(results)):
        made["lengths"] = lengths
    if found.claims:
        made |= {"claims": first_page.claims_table(found.claims), "dials": claims.dials(results)}
    if len(others := pairs_table(results)):
        made["other_pairs"] = others
    if len(sized := sizes.by_size(results)):
        made["sizes"] = sized
    if results.suite.get("attribution"):
        made["attribution"] = attribution_table(results)
    if tuning.searched(results):
        made |= {name: table for name, make in SEARCHED.items() if len(table := make(results))}
    if results.cells:
        made |= {"speed": speed.ratios(results), "speed_runs": speed.speed_runs(results)}
    if results.suite.get("throughput"):
        made["throughput"] = throughput_table(results)
    if len(results.probes):
        made |= {name: table(results) for name, table in PROBED.items()}
    return {name: made[name] for name in captions.TABLES if name in made}


def drawings(results: Results) -> dict[str, Callable[[Results, str], Figure]]:
    """What draws each of the suite's figures, by its stem."""
    found: dict[str, Callable[[Results, str], Figure]] = {}
    if judge_primary(results):
        found |= {"forest": primary_forest, "forest_narrow": partial(primary_forest, narrow=True)}
    found["overview"] = overview_figure
    if tasks_that_move(results):
        found["lengths"] = length_figure
    if sizes.sized_pairs(results):
        found["sizes"] = size_figure
    if tasks_gated(results):
        found["gate"] = gate_figure
    if tuning.searched(results):
        found["settings"] = settings_figure
    if any(claim.get("dial") for claim in results.suite.get("claims", {}).values()):
        found["dials"] = dial_figure
    if results.suite.get("attribution"):
        found["attribution"] = attribution_figure
    if results.cells:
        found |= {"speed": ratio_figure, "scaling": scaling_figure}
    if results.suite.get("throughput"):
        found["throughput"] = throughput_figure
    if len(results.probes):
        found |= {
            "budgets": budget_figure,
            "probes": probe_figure,
            "costs": cost_figure,
            "theory": lambda _, caption: theory_figure(caption),
        }
    return found | {
        f"task_{task}": lambda results, caption, task=task: task_figure(results, task, caption)
        for task in results.tasks
    }

"""Results as a report: a page that opens from disk, the same as Markdown, figures and tables."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks import (
    claimsfigure,
    costfigures,
    figures,
    front,
    probefigures,
    speedfigure,
    tables,
    theoryfigure,
    wording,
)
from ppo_vs_grpo.benchmarks.analysis.frames import probes, speed, throughput
from ppo_vs_grpo.benchmarks.analysis.frames.attribution import attribution
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, unmatched
from ppo_vs_grpo.benchmarks.analysis.judge import claims
from ppo_vs_grpo.benchmarks.analysis.judge.claims import ClaimResult, judge_claims
from ppo_vs_grpo.benchmarks.analysis.judge.differences import differences
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import Judgement, judge, power_table, table_of
from ppo_vs_grpo.tasks.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"
TERMINAL = {
    **{"task": "task", "arm": "arm", "n": "n", "start": "start", "final": "final mean", "seed_sd": "seed sd"},
    **{"seconds_per_1000": "s per 1,000 completions", "peak_memory_mb": "peak memory MB", "note": "note"},
}
"""Columns of the summary, and what the terminal and the report call them."""

MANY = 6
"""Names up to this many are listed in a title."""

FRONT = ("claims", "verdicts")
"""Tables that the first page has in a form of its own; their CSV files have every column."""


def summary(results: Results) -> pd.DataFrame:
    """A small table of text for the terminal: a row per task and arm, a dash for what does not exist."""
    table = tables.dashed(tables.summary(results))
    return table[list(TERMINAL)].rename(columns=TERMINAL)


@dataclass(frozen=True)
class Judged:
    """What may be said of a suite: the verdicts on its two arms, and those on its claims."""

    judgements: tuple[Judgement, ...]
    claims: tuple[ClaimResult, ...]


def judged(results: Results) -> Judged:
    """Every verdict of the suite: they take a while, and several parts of a report show them."""
    return Judged(judge(results), judge_claims(results))


def headlines(found: Judged) -> list[str]:
    """The verdict on the first metric as a sentence, and each claim's verdict: what a terminal says of a report."""
    return [
        front.whole(found.judgements)[0].sentence,
        *(f"{one.name} {one.verdict}: {one.here}" for one in found.claims),
    ]


def report_id(results: Results) -> str:
    """Eight hex digits of the runs' keys, what became of them and the hashes of their files."""
    runs = zip(results.runs["key"], results.runs["status"], strict=True)
    content = sorted([key, status, sorted(results.hashes[key].items())] for key, status in runs)
    return hashlib.sha256(json.dumps([*content, *results.throughput]).encode()).hexdigest()[:8]


def make_tables(results: Results, found: Judged) -> dict[str, pd.DataFrame]:
    """Every table of the report, by the stem of its CSV file."""
    differing, shared = tables.configuration(results)
    made = {
        name: getattr(tables, name)(results)
        for name in ("summary", "final_scores", "variance", "memory", "seconds", "unfinished", "environment")
    }
    made |= {"configuration_differing": differing, "configuration_shared": shared}
    made |= {"verdicts": table_of(found.judgements), "power": power_table(results), "differences": differences(results)}
    if found.claims:
        made |= {"claims": claims.claims_table(found.claims), "dials": claims.dials(results)}
    if results.suite.get("attribution"):
        made["attribution"] = attribution(results)
    if results.cells:
        made |= {"speed": speed.ratios(results), "speed_runs": speed.speed_runs(results)}
    if results.suite.get("throughput"):
        made["throughput"] = throughput.throughput(results)
    if len(results.probes):
        names = ("gradient_noise", "baselines", "critic", "ranking", "memory_by_role", "operations")
        made |= {name: getattr(probes, name)(results) for name in names}
    return {name: made[name] for name in wording.TABLES if name in made}


def write(results: Results, out: Path, found: Judged | None = None) -> Path:
    """Write report.html, report.md, figures/ and tables/ into `out`; returns the path of report.html.

    `found` is `judged(results)` where the caller has it. The same runs give the same bytes. UserError when `out` cannot
    be written.
    """
    name = report_id(results)
    found = found or judged(results)
    made = make_tables(results, found)
    try:
        for part in ("figures", "tables"):
            (out / part).mkdir(parents=True, exist_ok=True)
        for stem, table in made.items():
            table.replace("", tables.DASH).to_csv(
                out / "tables" / f"{stem}.csv",
                index=False,
                na_rep=tables.DASH,
                float_format="%.6g",
                lineterminator="\n",
            )
        drawn = _draw(results, name, out)
        page = _content(results, name, found, made, drawn)
        _write_claims(results, name, found, out / "claims.json")
        loader = jinja2.FileSystemLoader(TEMPLATES)
        for file in ("report.md", "report.html"):
            environment = jinja2.Environment(
                loader=loader, autoescape=file.endswith("html"), trim_blocks=True, lstrip_blocks=True,
                undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
            )  # fmt: skip
            environment.filters |= {
                "markdown": _markdown,
                "kinds": _kinds,
                "svg_uri": lambda stem: _svg_uri(out / "figures" / f"{stem}.svg"),
            }
            text = environment.get_template(f"{file}.j2").render(page)
            (out / file).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{out}: the report cannot be written there: {error.strerror or error}") from None
    return out / "report.html"


def _write_claims(results: Results, name: str, found: Judged, path: Path) -> None:
    """The verdicts and the claims for machines: what does not exist is null."""
    verdicts = [asdict(judgement) for judgement in found.judgements]
    content = {"report": name, "suite": results.name, "verdicts": verdicts, "claims": claims.claims_json(found.claims)}
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8", newline="\n")


def _drawings(results: Results) -> dict[str, Callable[[Results, str], Figure]]:
    """What draws each of the suite's figures, by its stem."""
    found: dict[str, Callable[[Results, str], Figure]] = {"overview": figures.overview_figure}
    if any(claim.get("dial") for claim in results.suite.get("claims", {}).values()):
        found["dials"] = claimsfigure.dial_figure
    if results.suite.get("attribution"):
        found["attribution"] = figures.attribution_figure
    if results.cells:
        found |= {"speed": speedfigure.ratio_figure, "scaling": speedfigure.scaling_figure}
    if results.suite.get("throughput"):
        found["throughput"] = speedfigure.throughput_figure
    if len(results.probes):
        found |= {
            "budgets": costfigures.budget_figure,
            "probes": probefigures.probe_figure,
            "costs": costfigures.cost_figure,
            "theory": lambda _, sign: theoryfigure.theory_figure(sign),
        }
    return found | {f"task_{task}": partial(_task, task) for task in results.tasks}


def _task(task: str, results: Results, sign: str) -> Figure:
    return figures.task_figure(results, task, sign)


def _draw(results: Results, name: str, out: Path) -> list[dict[str, str]]:
    """Draw the figures; returns stem, title, explanation and caption of each."""
    sign = f"{results.name} · report {name}"
    drawn = []
    for stem, draw in _drawings(results).items():
        figures.save(draw(results, sign), out / "figures" / stem)
        title, says = wording.FIGURES.get(stem, (stem.removeprefix("task_"), wording.TASK_FIGURE))
        about = {"theory": "Ten worlds"}.get(stem, "All tasks" if stem in wording.FIGURES else title)
        drawn.append({"stem": stem, "title": title, "reading": says, "caption": f"{about}. {sign}"})
    return drawn


def _content(
    results: Results, name: str, found: Judged, made: dict[str, pd.DataFrame], drawn: list[dict[str, str]]
) -> dict[str, Any]:
    """What the templates show."""
    training = results.runs[results.runs["purpose"] == "train"]
    at_a_glance = summary(results)
    if (at_a_glance["note"] == tables.DASH).all():
        at_a_glance = at_a_glance.drop(columns="note")
    judgements = found.judgements
    return {
        "suite": results.suite,
        "id": name,
        "subject": subject(results),
        "results": results,
        "trained": len(training),
        "planned": len(training) + int((results.missing["purpose"] == "train").sum()),
        "timed": int((results.runs["purpose"] == "timing").sum()),
        "claims": front.claims(made["claims"]) if found.claims else None,
        "verdicts": front.verdicts(judgements),
        "verdicts_by_task": front.verdicts_by_task(judgements),
        "lead": front.whole(judgements)[0].sentence,
        "sentences": [claim.sentence for claim in found.claims] + [judgement.sentence for judgement in judgements],
        "summary": at_a_glance,
        "figures": drawn,
        "tables": [
            {
                "stem": stem,
                "title": wording.TABLES[stem][0],
                "about": _about(results, stem),
                "frame": tables.dashed(table),
            }
            for stem, table in made.items()
            if stem not in FRONT
        ],
        "unmatched": {task: text for task in results.tasks if (text := unmatched(results, task))},
        "limits": wording.LIMITS,
        "citation": citation(results, name),
    }


def subject(results: Results) -> str:
    """What a report is about: `ppo, grpo on sorting, recall`, and numbers where the names would be many."""
    both = {"arms": results.arms, "tasks": results.tasks}
    return " on ".join(
        ", ".join(names) if len(names) <= MANY else f"{len(names)} {what}" for what, names in both.items()
    )


def citation(results: Results, name: str) -> str:
    """The report as a BibTeX entry; the version and commit are those that its runs name."""
    packages = [env.get("package", {}) for env in results.environments.values()]
    versions = sorted({package.get("version") or "unknown" for package in packages}) or ["unknown"]
    commits = sorted({(package.get("commit") or "unknown")[:8] for package in packages}) or ["unknown"]
    return (
        f"@techreport{{ppo-vs-grpo-{name},\n"
        f"  title = {{{subject(results)}: suite {results.name}}},\n"
        "  institution = {ppo-vs-grpo},\n"
        f"  number = {{{name}}},\n"
        f"  note = {{version {', '.join(versions)}, commit {', '.join(commits)}}}\n}}"
    )


def _about(results: Results, stem: str) -> str:
    """What a table says, and which arms cannot be in it."""
    about = wording.TABLES[stem][1]
    if stem == "critic" and (without := probes.without_critic(results)):
        return f"{about} Not in it, having no critic: {', '.join(without)}."
    return about


def _markdown(table: pd.DataFrame) -> str:
    """A table of text as Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _kinds(table: pd.DataFrame) -> list[str]:
    """For each column of a table of text, the attribute of its cells: that of a number, or none."""
    numbers = [all(re.fullmatch(r"-|-?[\d,.]+(e-?\d+)?", cell) for cell in table[name]) for name in table]
    filled = [any(cell != tables.DASH for cell in table[name]) for name in table]
    return [" class=n" if number and some else "" for number, some in zip(numbers, filled, strict=True)]


def _svg_uri(path: Path) -> str:
    """A drawing as an address that holds it: no second file, no clash of ids between drawings.

    Escaped for an attribute in double quotes; base64 would be a fifth longer.
    """
    svg = path.read_text(encoding="utf-8").replace("\n", " ")
    if "'" not in svg:  # else a quote of another kind would end an attribute early
        svg = svg.replace('"', "'")
    return "data:image/svg+xml;charset=utf-8," + quote(svg, safe=" !$'()*+,-./:;=?@_~")

"""Results as a report: a page that opens from disk, the same as Markdown, figures and tables."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames import probes, signs, speed
from ppo_vs_grpo.benchmarks.analysis.frames.arms import choose_pair
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, unmatched
from ppo_vs_grpo.benchmarks.analysis.judge import claims, verdicts
from ppo_vs_grpo.benchmarks.analysis.report import captions, first_page, tables
from ppo_vs_grpo.benchmarks.analysis.report.answer import answer
from ppo_vs_grpo.benchmarks.analysis.report.contents import Judged, drawings, judged, make_tables
from ppo_vs_grpo.benchmarks.analysis.report.cost_table import costs_table
from ppo_vs_grpo.benchmarks.analysis.report.figures import files, inline
from ppo_vs_grpo.benchmarks.analysis.report.lengths import length_sentences
from ppo_vs_grpo.benchmarks.analysis.report.other_pairs import largest_sentence
from ppo_vs_grpo.benchmarks.analysis.report.sizes import size_sentences
from ppo_vs_grpo.benchmarks.analysis.report.terminal import summary
from ppo_vs_grpo.benchmarks.analysis.report.transcripts import PAGE as TRANSCRIPTS
from ppo_vs_grpo.benchmarks.analysis.report.transcripts import transcripts_page
from ppo_vs_grpo.benchmarks.records.visible import in_a_line, shown, visible
from ppo_vs_grpo.tasks.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"

MANY = 6
"""Names up to this many are listed in a title."""

LISTED = 20
"""Runs up to this many that did not end well are listed in report.md."""

FRONT = ("claims", "verdicts", "conditions", "signs", "lengths", "summary")
"""Tables that a page shows where they are needed; their CSV files have every column."""

NARROW = "forest_narrow"
"""The figure that a phone shows in the place of `forest`."""


def report_id(results: Results) -> str:
    """Eight hex digits of the runs' keys, what became of them and the hashes of their files."""
    runs = zip(results.runs["key"], results.runs["status"], strict=True)
    content = sorted([key, status, sorted(results.hashes[key].items())] for key, status in runs)
    return hashlib.sha256(json.dumps([*content, *results.throughput]).encode()).hexdigest()[:8]


def write(results: Results, out: Path, found: Judged | None = None, kinds: Collection[str] = ()) -> Path:
    """Write report.html and the pages and files beside it into `out`; returns the path of report.html.

    Beside it are report.md, claims.json, figures/, tables/ and, where runs kept transcripts, transcripts.html.

    The page holds every figure; figures/ has the first one as PNG, which report.md shows, and each as a file of each of
    `kinds` (`files.UNDATED`). `found` is `judged(results)` where the caller has it. The same runs give the same bytes.
    UserError when `out` cannot be written.
    """
    name = report_id(results)
    found = found or judged(results)
    made = make_tables(results, found)
    try:
        for part in ("figures", "tables"):
            (out / part).mkdir(parents=True, exist_ok=True)
        for stem, table in made.items():
            table.map(_seen).replace("", tables.DASH).to_csv(
                out / "tables" / f"{stem}.csv",
                index=False,
                na_rep=tables.DASH,
                float_format="%.6g",
                lineterminator="\n",
            )
        drawn, rules = _draw(results, name, out, kinds)
        beside = transcripts_page(environment(html=True), results, name)
        page = _content(results, name, found, made, drawn) | {"drawn_with": rules, "transcripts": bool(beside)}
        _write_claims(results, name, found, out / "claims.json")
        for file in ("report.md", "report.html"):
            text = environment(html=file.endswith("html")).get_template(f"{file}.j2").render(page)
            (out / file).write_text(text, encoding="utf-8", newline="\n")
        (out / TRANSCRIPTS).unlink(missing_ok=True)  # of an earlier report
        if beside:
            (out / TRANSCRIPTS).write_text(beside, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{out}: the report cannot be written there: {error.strerror or error}") from None
    return out / "report.html"


def environment(html: bool) -> jinja2.Environment:
    """What reads the templates; of HTML it escapes what is no markup. What cannot be seen is shown as code points."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=html, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
        finalize=_seen,
    )  # fmt: skip
    made.filters |= {"markdown": _markdown, "kinds": _kinds, "shown": shown}
    return made


def _seen(value: Any) -> Any:
    """A text as it can be shown; markup, and what is no text, as it is."""
    return visible(value) if type(value) is str else value


def _write_claims(results: Results, name: str, found: Judged, path: Path) -> None:
    """The verdicts and the claims for machines: what does not exist is null."""
    both = {"verdicts": verdicts.rows_of(found.verdicts), "claims": claims.claims_json(found.claims)}
    part = {"part": results.suite["part"]} if results.suite.get("part") else {}
    content = {"report": name, "suite": results.name, "answer": answer(found.verdicts), **part, **both}
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8", newline="\n")


def _draw(results: Results, name: str, out: Path, kinds: Collection[str]) -> tuple[list[dict[str, str]], str]:
    """Draw the figures; returns stem, title, explanation, caption and SVG element of each, and the page's rules."""
    sign = f"{results.name} · report {name}"
    drawn: list[dict[str, str]] = []
    first, second = choose_pair(results) or ("the first arm", "the second")
    for stem, draw in drawings(results).items():
        figure = draw(results, sign)
        for kind in files.UNDATED:
            path = out / "figures" / f"{stem}.{kind}"
            if kind in kinds or (kind == "png" and not drawn):
                files.save(figure, path)
            else:  # of an earlier report, it would show other runs
                path.unlink(missing_ok=True)
        title, says = captions.FIGURES.get(stem, (stem.removeprefix("task_"), captions.TASK_FIGURE))
        says = says.format(first=first, second=second)
        about = {"theory": "Ten worlds"}.get(stem, "All tasks" if stem in captions.FIGURES else title)
        svg = inline.element(figure, stem, f"{title}: {says} The numbers are in the tables.")
        drawn.append({"stem": stem, "title": title, "reading": says, "caption": f"{about}. {sign}", "svg": svg})
    elements, rules = inline.shared([figure["svg"] for figure in drawn])
    return [figure | {"svg": svg} for figure, svg in zip(drawn, elements, strict=True)], rules


def _content(
    results: Results, name: str, found: Judged, made: dict[str, pd.DataFrame], drawn: list[dict[str, str]]
) -> dict[str, Any]:
    """What the templates show."""
    training = results.runs[results.runs["purpose"] == "train"]
    at_a_glance = summary(results)
    if (at_a_glance["note"] == tables.DASH).all():
        at_a_glance = at_a_glance.drop(columns="note")
    return {
        "suite": results.suite,
        "id": name,
        "subject": subject(results),
        "results": results,
        "trained": len(training),
        "planned": len(training) + int((results.missing["purpose"] == "train").sum()),
        "timed": int((results.runs["purpose"] == "timing").sum()),
        "answer": answer(found.verdicts),
        "beside": largest_sentence(results),
        "asides": [*speed.sentences(results), *size_sentences(results)],
        "costs": costs_table(results, found.verdicts),
        "not_tested": first_page.not_tested(results, found.verdicts),
        "claims": first_page.claims_rows(found.claims),
        "verdicts": first_page.verdicts(found.verdicts),
        "verdicts_by_task": first_page.verdicts_by_task(found.verdicts),
        "conditions": made.get("conditions"),
        "signs": signs.sentences(results),
        "lengths": tables.dashed(made["lengths"]) if "lengths" in made else None,
        "length_sentences": length_sentences(results),
        "forest": next((figure for figure in drawn if figure["stem"] == "forest"), None),
        "narrow": next((figure for figure in drawn if figure["stem"] == NARROW), None),
        "sentences": [one.sentence for one in (*found.claims, *found.verdicts)],
        "summary": at_a_glance,
        "figures": [figure for figure in drawn if figure["stem"] not in ("forest", NARROW)],
        "tables": [
            {
                "stem": stem,
                "title": captions.TABLES[stem][0],
                "about": _about(results, stem),
                "frame": tables.dashed(table),
            }
            for stem, table in made.items()
            if stem not in FRONT
        ],
        "unfinished": tables.dashed(made["unfinished"][:LISTED]),
        "unmentioned": max(len(made["unfinished"]) - LISTED, 0),
        "files": [{"stem": stem, "title": captions.TABLES[stem][0]} for stem in made],
        "unmatched": {task: text for task in results.tasks if (text := unmatched(results, task))},
        "limits": captions.LIMITS,
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
    about = captions.TABLES[stem][1]
    if stem == "critic" and (without := probes.without_critic(results)):
        return f"{about} Not in it, having no critic: {', '.join(without)}."
    return about


def _markdown(table: pd.DataFrame) -> str:
    """A table of text as Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(
        "| " + " | ".join(in_a_line(str(value)).replace("|", "\\|") for value in row) + " |" for row in rows
    )


def _kinds(table: pd.DataFrame) -> list[str]:
    """For each column of a table of text, the attribute of what stands in it: that of a number, or none."""
    numbers = [all(re.fullmatch(r"-|none|-?[\d,.]+(e-?\d+)?[%*]?", text) for text in table[name]) for name in table]
    filled = [any(text != tables.DASH for text in table[name]) for name in table]
    return [" class=n" if number and some else "" for number, some in zip(numbers, filled, strict=True)]

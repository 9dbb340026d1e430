"""One page of all suites of a results folder: what the source claims and what each suite found of it, side by side;
then the suites, newest first, with links to the reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS
from ppo_vs_grpo.benchmarks.analysis.judge.finding import amount
from ppo_vs_grpo.benchmarks.analysis.report.verify import rows_of
from ppo_vs_grpo.benchmarks.analysis.report.write import environment
from ppo_vs_grpo.benchmarks.records.folder import LOCK
from ppo_vs_grpo.benchmarks.records.lock import read_lock, run_names
from ppo_vs_grpo.tasks.errors import UserError

PAGE = "report.html"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page says of a suite; `parts` are the reports of parts of it, by their folders' names."""

    name: str
    description: str
    written: datetime
    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    trained: int
    planned: int
    lead: str
    page: str
    parts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim and what each suite found of it, by the suites' folders: its verdict and its number with an interval.

    `rows` is how many rows the sentence `says` stands for, this one the first of them; 0 for the others.
    """

    name: str
    says: str
    here: str
    found: Mapping[str, tuple[str, str]]
    rows: int


def report_of(folder: Path) -> Path | None:
    """The page of a suite's report, in the suite's folder or, of a published one, in the folder itself."""
    pages = [folder / "report" / PAGE, folder / PAGE]
    return next((page for page in pages if page.is_file()), None)


def write_index(results: Path) -> Path:
    """Write index.html into a folder of suites' results; returns its path. UserError where no suite has a report."""
    pages = {lock.parent: page for lock in results.glob(f"*/{LOCK}") if (page := report_of(lock.parent))}
    if not pages:
        raise UserError(f"{results}: no suite has a report there; `ppo-vs-grpo run smoke` makes one in a minute or two")
    suites = [_shown(results, folder, page) for folder, page in pages.items()]
    newest_first = sorted(suites, key=lambda suite: (suite.written, suite.name), reverse=True)
    columns, rows = claims_of({folder: page.parent / "claims.json" for folder, page in pages.items()})
    text = (
        environment(html=True)
        .get_template("index.html.j2")
        .render(suites=newest_first, folder=results.absolute().name, columns=columns, claims=rows)
    )
    try:
        (results / "index.html").write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{results}: index.html cannot be written there: {error.strerror or error}") from None
    return results / "index.html"


def claims_of(files: Mapping[Path, Path]) -> tuple[dict[str, str], list[ClaimRow]]:
    """By suite, by its folder's name, what its claims are judged under; and a row a claim.

    `files` are claims.json by a suite's folder. One that cannot be read leaves its suite out.
    """
    suites = {folder: read_lock(folder)[0] for folder in files}
    found: dict[str, list[dict[str, Any]]] = {}
    columns = {}
    for folder, suite in sorted(suites.items(), key=lambda item: _place(item[1])):
        if claims := _claims(files[folder]):
            columns[folder.name] = under(suite)
            found[folder.name] = claims
    first = {claim["name"]: claim for claims in reversed(found.values()) for claim in reversed(claims)}
    names = list(dict.fromkeys(claim["name"] for claims in found.values() for claim in claims))
    by_sentence = list(dict.fromkeys(first[name]["says"] for name in names))
    rows = []
    for says in by_sentence:
        own = [name for name in names if first[name]["says"] == says]
        for name in own:
            cells = {
                suite: (str(claim["verdict"]), amount(claim["estimate"], claim["low"], claim["high"]))
                for suite, claims in found.items()
                for claim in claims
                if claim["name"] == name
            }
            rows.append(ClaimRow(name, says, first[name]["here"], cells, len(own) if name == own[0] else 0))
    return columns, rows


def _claims(path: Path) -> list[dict[str, Any]]:
    """The claims of a claims.json; none where one of them is not as a report writes it."""
    claims = _content(path).get("claims")
    return claims if isinstance(claims, list) and all(map(_is_claim, claims)) else []


def _is_claim(claim: Any) -> bool:
    """Whether it has what a row needs, of the kinds that a report writes."""
    return (
        isinstance(claim, dict)
        and all(isinstance(claim.get(name), str) for name in ("name", "says", "here", "verdict"))
        and all(isinstance(claim.get(name), int | float | None) for name in ("estimate", "low", "high"))
    )


def under(suite: Mapping[str, Any]) -> str:
    """Under which settings and on which model a suite, as its lock has it, judges its claims."""
    settings = "tuned at equal budget" if suite.get("tuned") else "shared settings"
    return f"{settings}, {suite.get('start')}"


def _place(suite: Mapping[str, Any]) -> tuple[str, bool, str]:
    """Where a suite's column stands: by model, shared settings first."""
    return str(suite.get("start")), bool(suite.get("tuned")), str(suite["name"])


def _shown(results: Path, folder: Path, page: Path) -> Shown:
    """Read from the files of the report: it is not made again, and of a published one there are no runs."""
    suite, _ = read_lock(folder)
    rows = rows_of(page.parent / "tables" / "final_scores.csv")
    parts = sorted(folder.glob(f"report-*/{PAGE}"))
    return Shown(
        name=suite["name"],
        description=suite.get("description") or "",
        written=datetime.fromtimestamp(page.stat().st_mtime),
        arms=tuple(suite["arms"]),
        tasks=tuple(suite["tasks"]),
        trained=max(0, len(rows) - 1),
        planned=sum(name.purpose == "train" for name in run_names(folder)),
        lead=_lead(page.parent / "claims.json"),
        page=page.relative_to(results).as_posix(),
        parts={part.parent.name.removeprefix("report-"): part.relative_to(results).as_posix() for part in parts},
    )


def _lead(path: Path) -> str:
    """The report's answer; of reports that had none, the primary verdict's sentence; empty where none can be read."""
    content = _content(path)
    try:
        judged = content["verdicts"]
        over = [one for one in judged if one["task"] == ALL_TASKS] or judged
        return str(content.get("answer") or over[0]["sentence"])
    except (KeyError, IndexError):
        return ""


def _content(path: Path) -> dict[str, Any]:
    """What a claims.json holds; nothing where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

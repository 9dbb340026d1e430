"""One page of all suites of a results folder: what each found, newest first, with links to the reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.analysis.frames.results import ALL_TASKS
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
    text = (
        environment(html=True).get_template("index.html.j2").render(suites=newest_first, folder=results.absolute().name)
    )
    try:
        (results / "index.html").write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{results}: index.html cannot be written there: {error.strerror or error}") from None
    return results / "index.html"


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
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        judged = content["verdicts"]
        over = [one for one in judged if one["task"] == ALL_TASKS] or judged
        return str(content.get("answer") or over[0]["sentence"])
    except (OSError, ValueError, KeyError, IndexError):
        return ""

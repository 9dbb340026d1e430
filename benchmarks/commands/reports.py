"""Write, check and compare reports."""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppo_vs_grpo.benchmarks.analysis.report.terminal import print_rows, print_summary
from ppo_vs_grpo.benchmarks.records.visible import in_a_line

if TYPE_CHECKING:
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.analysis.frames.parts import Part
    from ppo_vs_grpo.benchmarks.analysis.frames.results import Results


class FigureKind(StrEnum):
    """The files that a figure can be."""

    pdf = "pdf"
    png = "png"
    svg = "svg"


def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A suite's results, such as results/core.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write; else RESULTS/report, a part beside it.")
    ] = None,
    arms: Annotated[str, typer.Option(metavar="A,B", help="These arms only; the first two are judged.")] = "",
    tasks: Annotated[str, typer.Option(metavar="A,B", help="These tasks only.")] = "",
    without_seed: Annotated[
        list[int] | None, typer.Option(metavar="SEED", help="All seeds but this. May be repeated.")
    ] = None,
    figures: Annotated[
        list[FigureKind] | None, typer.Option(help="Write each figure as such a file too. May be repeated.")
    ] = None,
) -> None:
    """Write the report of a suite's results, or of a part of them; exit code 1 when a run had to be left out."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.analysis.frames.parts import Part

    part = Part(_names(arms), _names(tasks), tuple(without_seed or ()))
    kinds = [kind.value for kind in figures or ()]
    made = written(results, out or results / (part.folder if part else "report"), Console(), part, kinds)
    raise typer.Exit(1 if made.missing["state"].eq("unreadable").any() else 0)


def view(
    results: Annotated[
        Path, typer.Argument(metavar="[RESULTS]", help="A folder of suites' results, or one suite's.")
    ] = Path("results"),
    no_open: Annotated[bool, typer.Option("--no-open", help="Only print the page's path.")] = False,
) -> None:
    """Open a page of all suites in a results folder, newest first, or one suite's report."""
    import webbrowser

    from ppo_vs_grpo.benchmarks.analysis.report.index import report_of, write_index

    page = report_of(results) or write_index(results)
    if not no_open:
        webbrowser.open(page.absolute().as_uri())
    typer.echo(page)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A suite's results.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Others: of another commit, machine or suite.")],
) -> None:
    """Set two results folders side by side: scores, seconds, memory, and in what they were made differently."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks import load
    from ppo_vs_grpo.benchmarks.analysis.report.compare import compare as side_by_side
    from ppo_vs_grpo.benchmarks.analysis.report.compare import differing
    from ppo_vs_grpo.benchmarks.analysis.report.tables import dashed

    one, other = load(a), load(b)
    console = Console()
    for frame in (side_by_side(one, other), differing(one, other)):
        shown = dashed(frame)
        if len(shown):
            print_rows(console, [tuple(shown.columns), *shown.itertuples(index=False, name=None)])
            console.print()
        else:
            console.print("Both were made alike: no setting, version or machine differs.")


def verify(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report's folder, such as results/core/report.")],
    results: Annotated[
        Path | None, typer.Option(metavar="RESULTS", help="Its runs; else the folder above the report.")
    ] = None,
) -> None:
    """Make a report again from its runs and name every number that differs; exit code 1 if any does."""
    from ppo_vs_grpo.benchmarks.analysis.report.verify import verify as mismatches

    found = mismatches(report, results)
    for one in found:
        print(f"{one.where}: {one.found}; the runs say {one.expected}")
    count = f"{len(found)} difference{'s' * (len(found) != 1)}"
    print(f"{report}: {count if found else 'every number is what the runs say'}")
    raise typer.Exit(1 if found else 0)


def publish(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS", help="A suite's results; several, as of two machines, are joined."),
    ],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write, such as results/published/core.")],
) -> None:
    """Write report, lock and records of a suite into a folder that answers as its runs do."""
    from ppo_vs_grpo.benchmarks.analysis.report.publish import publish as publish_suite

    place = publish_suite(results, out)
    typer.echo(f"{place}: {sum(path.stat().st_size for path in place.iterdir()) / 1e6:.1f} MB")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def written(
    folder: Path, out: Path, console: Console, part: Part | None = None, kinds: Collection[str] = ()
) -> Results:
    """Write and announce the report; returns the results, which are read once.

    Its frames and figures are a few hundred MB: to search them for garbage took a tenth of its time, and a twentieth
    afterwards. The process ends with the report.
    """
    gc.disable()
    try:
        return _written(folder, out, console, part, kinds)
    finally:
        gc.freeze()
        gc.enable()


def _written(folder: Path, out: Path, console: Console, part: Part | None, kinds: Collection[str]) -> Results:
    from ppo_vs_grpo.benchmarks import load
    from ppo_vs_grpo.benchmarks.analysis.frames import speed
    from ppo_vs_grpo.benchmarks.analysis.frames.parts import narrowed
    from ppo_vs_grpo.benchmarks.analysis.report.contents import judged
    from ppo_vs_grpo.benchmarks.analysis.report.terminal import lead_sentences, summary
    from ppo_vs_grpo.benchmarks.analysis.report.write import write

    results: Results = load(folder, strict=False)
    if part:
        results = narrowed(results, part.arms, part.tasks, part.without_seeds)
    found = judged(results)
    page = write(results, out, found, kinds)
    print_summary(console, summary(results))
    for line in [*lead_sentences(found), *speed.sentences(results)]:
        console.print(in_a_line(line), markup=False, highlight=False)
    for run in results.missing[results.missing["state"] == "unreadable"].itertuples():
        print(f"left out: {run.message}", file=sys.stderr)
    if results.unsealed:
        print(in_a_line(results.unsealed_sentence), file=sys.stderr)
    console.print(f"report: {page}", style="bold", markup=False, highlight=False, soft_wrap=True)
    return results

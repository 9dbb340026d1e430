"""Run suites."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppo_vs_grpo.benchmarks.commands.options import (
    CacheOption,
    DeviceOption,
    ResultsOption,
    SetOption,
    SlotsOption,
    SuiteArgument,
)
from ppo_vs_grpo.benchmarks.commands.reports import written
from ppo_vs_grpo.benchmarks.records.visible import visible
from ppo_vs_grpo.benchmarks.run.attempts import Retry
from ppo_vs_grpo.benchmarks.run.device import Device
from ppo_vs_grpo.benchmarks.tracking.beside import Mode, mirrored
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


def run(
    suite: SuiteArgument,
    results: ResultsOption = Path("results"),
    changes: SetOption = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Call the suite so: it has its results in a folder of that name.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="RANGE", help="Seeds to add to those that are there, such as 8-15; else the suite's."),
    ] = None,
    slots: SlotsOption = None,
    device: DeviceOption = Device.auto,
    cache: CacheOption = None,
    wandb: Annotated[
        Mode, typer.Option(help="Mirror the results in wandb; offline leaves them for `wandb sync`.")
    ] = Mode.off,
    profile: Annotated[
        bool, typer.Option("--profile", help="Each timing run also leaves trace.json.gz and a table, profile.txt.")
    ] = False,
    retry: Annotated[
        Retry, typer.Option(help="Which ended runs begin again: failed ones, diverged ones too (reports say so), none.")
    ] = Retry.failed,
    save_policies: Annotated[
        bool, typer.Option("--save-policies", help="Each training run keeps its final policy, and its critic.")
    ] = False,
) -> None:
    """Run a suite, a YAML file or a lock file, or what is not finished of it, and write its report."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.run.doctor import require_imports, require_system
    from ppo_vs_grpo.benchmarks.suites.continuation import changed_from_file, grown, seeds_in
    from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite, source_of

    require_system()
    console = Console()
    path = find_suite(suite)
    source = source_of(path, changes or [])
    loaded = load_suite(path, changes or [], name)
    folder = results / loaded.name
    loaded = grown(loaded, folder, None if seeds is None else seeds_in(seeds), source)
    require_imports()
    from ppo_vs_grpo.benchmarks.run.runner import run_suite

    with mirrored(folder, wandb):
        code = run_suite(
            loaded, source, results, cache=cache, slots=slots, device=device, profile=profile, console=console,
            changed=changed_from_file(path, loaded), save_policies=save_policies, retry=retry,
        )  # fmt: skip
        if code == 130:
            raise typer.Exit(code)
        code = _reported(folder, code, console)
    raise typer.Exit(code)


def tune(
    suite: SuiteArgument,
    trials: Annotated[
        int, typer.Option(min=1, metavar="N", help="Trials of each arm; the first has its own settings.")
    ],
    results: ResultsOption = Path("results"),
    changes: SetOption = None,
    slots: SlotsOption = None,
    device: DeviceOption = Device.auto,
    cache: CacheOption = None,
) -> None:
    """Look for the settings of every arm of a suite, at equal budget, and write the suite of the tuned arms."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.run.doctor import require_imports, require_system
    from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite, source_of

    require_system()
    path = find_suite(suite)
    loaded = load_suite(path, changes or [])
    require_imports()
    from ppo_vs_grpo.benchmarks.run.tuning import tune as search

    source = source_of(path, changes or [])
    raise typer.Exit(
        search(loaded, source, results, trials, cache=cache, slots=slots, device=device, console=Console())
    )


def _reported(folder: Path, code: int, console: Console) -> int:
    """Write the report and index.parquet of a suite that ended with an exit code; the code after that.

    index.parquet has the manifests as one table, for readers without this package.
    """
    try:
        made = written(folder, folder / "report", console)
    except UserError as error:
        if code == 0:
            raise
        print(f"no report: {visible(str(error))}", file=sys.stderr)
        return code
    from ppo_vs_grpo.benchmarks.run.writing import writing

    with writing(folder / "index.parquet"):
        made.runs.to_parquet(folder / "index.parquet", index=False)
    return code or int(made.missing["state"].eq("unreadable").any())


def merge(
    a: Annotated[Path, typer.Argument(metavar="A", help="A suite's results.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Results of the same suite, of other seeds.")],
    out: Annotated[Path, typer.Option(metavar="C", help="A new folder for the runs of both.")],
) -> None:
    """Copy the runs of two results folders of one suite into one, such as the seeds of two machines."""
    from ppo_vs_grpo.benchmarks.records.union import merge as united

    made = united(a, b, out)
    typer.echo(f"{out}: {made.copied[0]} runs of {a} and {made.copied[1]} of {b}, {len(made.seeds)} seeds")
    if made.both:
        typer.echo(f"{made.both} runs lie in both; of these, those of {a} were taken, unless they failed")
    typer.echo(f"next: ppo-vs-grpo report {out}")

"""The command line. Modules are imported by the command that needs them, so that --help answers at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppo_vs_grpo.benchmarks.analysis.report.terminal import print_rows, print_summary
from ppo_vs_grpo.benchmarks.run.device import Device
from ppo_vs_grpo.benchmarks.tracking.beside import Mode, mirrored
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.analysis.frames.results import Results

app = typer.Typer(
    help="Train PPO and GRPO on identical tasks and compare reward, variance, memory and wall-clock.",
    epilog="Exit codes: 0 done, 1 a run failed, 2 a mistake in the input, 130 interrupted (the same command goes on).",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name, or the path of a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, as in train.completions=640. May be repeated."),
]
ResultsOption = Annotated[Path, typer.Option(metavar="DIR", help="Where results go, in a folder per suite.")]
CacheOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where start models are kept; else $PPO_VS_GRPO_CACHE, else the user's cache."),
]


class Listing(StrEnum):
    """What `list` can list."""

    tasks = "tasks"
    algorithms = "algorithms"
    suites = "suites"


@app.command()
def run(
    suite: SuiteArgument,
    results: ResultsOption = Path("results"),
    changes: SetOption = None,
    slots: Annotated[
        int | None,
        typer.Option(metavar="N", help="Runs at a time; when not given as many as cores, on an accelerator one."),
    ] = None,
    device: Annotated[
        Device, typer.Option(help="Where runs compute; auto is the accelerator that torch sees, else the CPU.")
    ] = Device.auto,
    cache: CacheOption = None,
    wandb: Annotated[
        Mode, typer.Option(help="Mirror the results in wandb; offline leaves them for `wandb sync`.")
    ] = Mode.off,
    profile: Annotated[
        bool, typer.Option("--profile", help="Each timing run also leaves trace.json.gz and a table, profile.txt.")
    ] = False,
) -> None:
    """Run a suite, or what is not finished of it, and write its report."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.run.doctor import require_imports
    from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite, source_of

    console = Console()
    path = find_suite(suite)
    loaded = load_suite(path, changes or [])
    require_imports()
    from ppo_vs_grpo.benchmarks.run.runner import run_suite

    folder = results / loaded.name
    with mirrored(folder, wandb):
        source = source_of(path, changes or [])
        code = run_suite(
            loaded, source, results, cache=cache, slots=slots, device=device, profile=profile, console=console
        )
        if code == 130:
            raise typer.Exit(code)
        try:
            # index.parquet: the manifests as one table, for readers without this package
            made = _report(folder, folder / "report", console)
            made.runs.to_parquet(folder / "index.parquet", index=False)
            code = code or int(made.missing["state"].eq("unreadable").any())
        except UserError as error:
            if code == 0:
                raise
            print(f"no report: {error}", file=sys.stderr)
    raise typer.Exit(code)


@app.command()
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
    print(f"{report}: {len(found)} differences" if found else f"{report}: every number is what the runs say")
    raise typer.Exit(1 if found else 0)


@app.command()
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
        print_rows(console, [tuple(shown.columns), *shown.itertuples(index=False, name=None)])
        console.print()


@app.command()
def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A suite's results, such as results/core.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; else RESULTS/report.")] = None,
) -> None:
    """Write the report of a suite's results, whole or partial; exit code 1 when a run had to be left out."""
    from rich.console import Console

    made = _report(results, out or results / "report", Console())
    raise typer.Exit(1 if made.missing["state"].eq("unreadable").any() else 0)


@app.command("list")
def list_(what: Annotated[Listing, typer.Argument(help="tasks, algorithms or suites.")]) -> None:
    """List the tasks, algorithms or suites that come with the package."""
    from rich.console import Console

    print_rows(Console(), _listing(what))


@app.command()
def show(suite: SuiteArgument, changes: SetOption = None) -> None:
    """Print a suite as YAML with every default written out."""
    import yaml

    from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite, source_of
    from ppo_vs_grpo.benchmarks.suites.resolve import lock_document, resolve

    path = find_suite(suite)
    loaded = load_suite(path, changes or [])
    specs = resolve(loaded, source_of(path, changes or []))
    typer.echo(yaml.safe_dump(lock_document(loaded, specs)["suite"], sort_keys=False), nl=False)


@app.command()
def doctor(results: ResultsOption = Path("results"), cache: CacheOption = None) -> None:
    """Check versions, cores, memory, folders and accelerator; exit code 1 when something is missing."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.run.doctor import MEND, PACKAGES, examine

    checks = examine(results, cache)
    print_rows(Console(), [("✓" if check.ok else "✗", check.name, check.found) for check in checks])
    if any(not check.ok for check in checks if check.name in PACKAGES):
        print(MEND, file=sys.stderr)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@app.command()
def predict(
    model: Annotated[str, typer.Option(metavar="MODEL", help="A known shape, a model's folder, or its config.json.")],
    arm: Annotated[list[str] | None, typer.Option(metavar="NAME", help="An algorithm. May be repeated.")] = None,
    completions: Annotated[int, typer.Option(metavar="N", min=1, help="Of an update.")] = 128,
    prompt_tokens: Annotated[int, typer.Option(metavar="N", min=1)] = 256,
    new_tokens: Annotated[int, typer.Option(metavar="N", min=1)] = 256,
    micro_batch_tokens: Annotated[int, typer.Option(metavar="N", min=1)] = 8192,
    dtype: Annotated[
        str, typer.Option(metavar="TYPE", help="bfloat16, float16 or float32: of all weights.")
    ] = "bfloat16",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute layers again in the backward pass.")
    ] = False,
    lora: Annotated[
        int | None, typer.Option(metavar="RANK", help="Train adapters of this rank instead of the model.")
    ] = None,
    rollout_rows: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Sample so many completions at once instead of all.")
    ] = None,
) -> None:
    """Say what an update of each arm would need: memory by phase and role, which cards hold it, operations."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.profile.shapes import read_config
    from ppo_vs_grpo.benchmarks.profile.table import predicted_rows, work_of

    work = work_of(
        completions, prompt_tokens, new_tokens, dtype, micro_batch_tokens=micro_batch_tokens,
        gradient_checkpointing=gradient_checkpointing, lora_rank=lora, rollout_rows=rollout_rows,
    )  # fmt: skip
    print_rows(Console(), predicted_rows(read_config(model), arm or ["ppo", "grpo"], work))


@app.command()
def roofline(
    sizes: Annotated[list[str], typer.Argument(metavar="SIZE...", help="Embedded start models: nano, tiny, small.")],
) -> None:
    """Time rollout and update beside their matrix products alone, on this machine."""
    from rich.console import Console

    from ppo_vs_grpo.benchmarks.profile.roofline import rows

    console = Console()
    for row in rows(sizes):
        console.print("  ".join(row), markup=False, highlight=False, soft_wrap=True)


def _report(folder: Path, out: Path, console: Console) -> Results:
    """Write and announce the report; returns the results, which are read once."""
    from ppo_vs_grpo.benchmarks import load
    from ppo_vs_grpo.benchmarks.analysis.frames import speed
    from ppo_vs_grpo.benchmarks.analysis.report.contents import judged
    from ppo_vs_grpo.benchmarks.analysis.report.terminal import lead_sentences, summary
    from ppo_vs_grpo.benchmarks.analysis.report.write import write

    results = load(folder, strict=False)
    found = judged(results)
    page = write(results, out, found)
    print_summary(console, summary(results))
    for line in [*lead_sentences(found), *speed.sentences(results)]:
        console.print(line, markup=False, highlight=False)
    for run in results.missing[results.missing["state"] == "unreadable"].itertuples():
        print(f"left out: {run.message}", file=sys.stderr)
    if results.unsealed:
        print(results.unsealed_sentence, file=sys.stderr)
    console.print(f"report: {page}", style="bold", markup=False, highlight=False, soft_wrap=True)
    return results


def _listing(what: Listing) -> list[tuple[str, str]]:
    """Each name with its one line."""
    if what is Listing.tasks:
        from importlib import import_module

        from ppo_vs_grpo.tasks import TASKS

        places = {name: place.partition(":") for name, place in TASKS.items()}
        return [(name, _first_line(getattr(import_module(m), kind))) for name, (m, _, kind) in places.items()]
    if what is Listing.algorithms:
        from ppo_vs_grpo.algorithms import ALGORITHMS, find
        from ppo_vs_grpo.benchmarks.peers import PEERS

        kinds = {name: find(name) for name in ALGORITHMS}
        own = [(name, f"{ALGORITHMS[name].says or _first_line(kind)} {kind.paper}") for name, kind in kinds.items()]
        return own + [(name, peer.says) for name, peer in PEERS.items()]
    from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite, suite_names

    return [(name, load_suite(find_suite(name)).description) for name in suite_names()]


def _first_line(kind: type) -> str:
    """The first line of a class's docstring."""
    return (kind.__doc__ or "").strip().partition("\n")[0]


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    try:
        app(prog_name="ppo-vs-grpo")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ImportError as error:
        print(f"error: {error}; `ppo-vs-grpo doctor` says what is broken and how to mend it", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

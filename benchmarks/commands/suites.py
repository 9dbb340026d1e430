"""List, show and begin suites, or import one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ppo_vs_grpo.benchmarks.analysis.report.terminal import print_rows
from ppo_vs_grpo.benchmarks.commands.options import SetOption, SuiteArgument
from ppo_vs_grpo.benchmarks.suites import suite_names
from ppo_vs_grpo.tasks.errors import UserError

MINUTES = {"core": "20-45", "memory": "?", "peers": "9-18", "smoke": "1-3"}
"""Measured on two cores, start models included; unknown where no pace is known."""

PACE = 60_000
"""Training completions a minute of `nano` on two cores, from the suite `core`: what an estimate divides by."""


class Listing(StrEnum):
    """What `list` can list."""

    tasks = "tasks"
    algorithms = "algorithms"
    suites = "suites"


def init(name: Annotated[str, typer.Argument(metavar="NAME", help="The suite's name; the file is NAME.yaml.")]) -> None:
    """Write a first suite with comments, to be changed, into the working folder."""
    from ppo_vs_grpo.benchmarks.suites.draft import draft

    path = _write_new(name, draft(name))
    typer.echo(f"wrote {path}; next: ppo-vs-grpo run {path}")


def import_trl(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file for `trl grpo --config`.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The suite's name; else FILE's, -suite after it.")
    ] = None,
) -> None:
    """Write a suite of a TRL GRPO configuration and PPO, and say what has no counterpart."""
    from ppo_vs_grpo.benchmarks.suites.draft import check_name
    from ppo_vs_grpo.benchmarks.suites.trl_config import read_trl
    from ppo_vs_grpo.benchmarks.suites.trl_suite import suite_of, text_of

    called = name or f"{file.stem}-suite"
    check_name(called, f"import-trl --name {called}")
    suite, notes = suite_of(read_trl(file), file)
    path = _write_new(called, text_of(suite, notes, file, called))
    typer.echo(f"wrote {path}: {' and '.join(suite['arms'])}; next: ppo-vs-grpo show {path}\n")
    typer.echo("What is different there, or has no counterpart:")
    for note in notes:
        typer.echo(f"- {note}")


def list_(
    what: Annotated[Listing, typer.Argument(metavar="[WHAT]", help="suites, tasks or algorithms.")] = Listing.suites,
) -> None:
    """List the suites that come with the package, with runs and minutes; or its tasks, or its algorithms."""
    from rich.console import Console

    print_rows(Console(), _listing(what))


def show(suite: SuiteArgument, changes: SetOption = None) -> None:
    """Print a suite as YAML with every default written out."""
    import yaml

    from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite, source_of
    from ppo_vs_grpo.benchmarks.suites.resolve import lock_document, resolve

    path = find_suite(suite)
    loaded = load_suite(path, changes or [])
    specs = resolve(loaded, source_of(path, changes or []))
    typer.echo(yaml.safe_dump(lock_document(loaded, specs)["suite"], sort_keys=False), nl=False)


def _listing(what: Listing) -> Sequence[tuple[str, ...]]:
    """Each name with its one line; of suites a head, runs and minutes too."""
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
    return [("suite", "runs", "minutes", ""), *map(_suite_row, suite_names())]


def _suite_row(name: str) -> tuple[str, ...]:
    """A suite's name, its runs, the minutes that they take, and what it is."""
    from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite

    suite = load_suite(find_suite(name))
    a_run = suite.train.updates * suite.train.batch_completions
    completions = a_run * sum(len(suite.seeds_of(arm)) * len(suite.runs_on(arm)) for arm in suite.arms)
    nano = all((task.start or suite.start) == "nano" for task in suite.tasks.values())
    guess = f"about {completions / PACE:.0f}" if nano else "?"
    return name, str(suite.planned), MINUTES.get(name) or guess, suite.description


def _write_new(name: str, text: str) -> Path:
    """Write a suite's file into the working folder. Raises UserError where it is there already."""
    path = Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{path}: is there already; choose another name, or delete it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def _first_line(kind: type) -> str:
    """The first line of a class's docstring."""
    return (kind.__doc__ or "").strip().partition("\n")[0]

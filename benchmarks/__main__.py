"""The command line: the commands in the order of the help, and what every command shares."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ppo_vs_grpo.benchmarks.commands import machine, reports, runs, suites
from ppo_vs_grpo.benchmarks.records.folder import disk_failed
from ppo_vs_grpo.benchmarks.records.visible import visible
from ppo_vs_grpo.tasks.errors import UserError

COMMANDS: dict[str, dict[str, Callable[..., Any]]] = {
    "Run": {
        "init": suites.init,
        "import-trl": suites.import_trl,
        "run": runs.run,
        "tune": runs.tune,
        "merge": runs.merge,
    },
    "Read": {
        "view": reports.view,
        "report": reports.report,
        "compare": reports.compare,
        "verify": reports.verify,
        "publish": reports.publish,
    },
    "Look up": {
        "list": suites.list_,
        "show": suites.show,
        "doctor": machine.doctor,
        "predict": machine.predict,
        "roofline": machine.roofline,
    },
}
"""Each group of the help: its commands by name."""

app = typer.Typer(
    help="Train PPO and GRPO on identical tasks and compare reward, variance, memory and wall-clock.",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a run failed, 2 a mistake in the input, 130 interrupted (the same command goes on).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=group)(command)


def _version(asked: bool) -> None:
    """Print the version, and the commit where the package lies in a checkout."""
    if not asked:
        return
    from importlib.metadata import version

    from ppo_vs_grpo.benchmarks.run.machine import checkout

    found = checkout()
    commit = f" (commit {found['commit'][:8]}{', changed since' if found['dirty'] else ''})" if found["commit"] else ""
    typer.echo(f"ppo-vs-grpo {version('ppo-vs-grpo')}{commit}")
    raise typer.Exit


@app.callback()
def shared(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print version and commit, and exit.")
    ] = False,
) -> None:
    """Take what stands before a command; the app's help describes it."""


def main() -> None:
    """Run the command line; a user's mistake, or a disk that fails, is one line on stderr and exit code 2."""
    try:
        app(prog_name="ppo-vs-grpo")
    except UserError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            print(f"error: {visible(str(error.filename)[:60])}...: {error.strerror}", file=sys.stderr)
            sys.exit(2)
        if not disk_failed(error):
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror}; once that is mended the same command goes on", file=sys.stderr)
        sys.exit(2)
    except ImportError as error:
        print(f"error: {error}; `ppo-vs-grpo doctor` says what is broken and how to mend it", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

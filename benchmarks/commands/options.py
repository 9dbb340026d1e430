"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ppo_vs_grpo.benchmarks.run.device import Device
from ppo_vs_grpo.benchmarks.suites import suite_names


def suites_and_files() -> list[str]:
    """What the shell may complete a suite to: the package's own, and the YAML files of the working folder."""
    return [*suite_names(), *sorted(path.name for path in Path().glob("*.yaml"))]


SuiteArgument = Annotated[
    str,
    typer.Argument(
        metavar="SUITE", help="A suite's name, or the path of a YAML file.", autocompletion=suites_and_files
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, as in train.completions=640. May be repeated."),
]
ResultsOption = Annotated[Path, typer.Option(metavar="DIR", help="Where results go, in a folder per suite.")]
CacheOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where start models are kept; else $PPO_VS_GRPO_CACHE, else the user's cache."),
]
SlotsOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Runs at a time; when not given as many as cores, on an accelerator one."),
]
DeviceOption = Annotated[
    Device, typer.Option(help="Where runs compute; auto is the accelerator that torch sees, else the CPU.")
]

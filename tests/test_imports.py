"""Who may import whom, and when: the linter's contracts, and what a static look does not see."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ppo_vs_grpo.algorithms import ALGORITHMS

ROOT = Path(__file__).parent.parent
FEW_ROOMS = {
    "trl": {"benchmarks/models", "benchmarks/peers"},
    "wandb": {"benchmarks/tracking"},
}
"""Heavy packages, each imported in few rooms and there only inside functions."""


def sources() -> list[Path]:
    return [path for room in ("tasks", "algorithms", "benchmarks") for path in sorted((ROOT / room).rglob("*.py"))]


def imports(tree: ast.AST) -> Iterator[str]:
    """The top-level names of the packages that a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_contracts_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_contract_of_independence_names_every_algorithm() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (named,) = (contract["modules"] for contract in contracts if contract["type"] == "independence")
    modules = {entry.where.partition(":")[0] for entry in ALGORITHMS.values()}
    assert set(named) == {f"ppo_vs_grpo.algorithms.{module}" for module in modules}


@pytest.mark.parametrize("package", list(FEW_ROOMS))
def test_heavy_packages_are_imported_lazily_in_few_rooms(package: str) -> None:
    users = [path for path in sources() if package in imports(ast.parse(path.read_text()))]
    assert {str(path.parent.relative_to(ROOT)) for path in users} == FEW_ROOMS[package]
    for path in users:
        top = ast.parse(path.read_text())
        top.body = [node for node in top.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert package not in imports(top)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ppo_vs_grpo.tasks", {"torch", "transformers", "pandas"}),
        ("ppo_vs_grpo.benchmarks", {"torch", "transformers", "pandas"}),
        ("ppo_vs_grpo.benchmarks.analysis.report.write", {"torch", "transformers", "trl"}),
        ("ppo_vs_grpo.benchmarks.run.runner", {"torch", "transformers", "trl"}),
        ("ppo_vs_grpo.benchmarks.run.worker", {"trl", "datasets", "pandas", "matplotlib"}),
        ("ppo_vs_grpo.algorithms.shared.trainer", {"trl", "datasets", "pandas", "matplotlib"}),
    ],
)
def test_importing_a_module_does_not_load(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({absent!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("room", ["tasks", "algorithms", "benchmarks"])
def test_a_flat_import_is_refused(room: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert f"ppo_vs_grpo.{room}" in done.stderr.splitlines()[-1]


def test_every_import_is_a_declared_dependency() -> None:
    used = {name for path in sources() for name in imports(ast.parse(path.read_text()))}
    used -= {*sys.stdlib_module_names, "ppo_vs_grpo", "verifiers"}  # its extra is in no development environment
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [
        text for extra in ("lora", "gguf", "math", "gym", "tune") for text in project["optional-dependencies"][extra]
    ]
    declared = [*project["dependencies"], *extras]
    names = {canonicalize_name(Requirement(text).name) for text in declared}
    owners = packages_distributions()
    undeclared = {name for name in used if not names & {canonicalize_name(owner) for owner in owners.get(name, [])}}
    assert undeclared == set()
    # Nothing here imports these by name: transformers' trainer, under TRL's, needs accelerate, and optuna's importances
    # need scikit-learn.
    unused = names - {canonicalize_name(owner) for name in used for owner in owners.get(name, [])}
    assert unused == {"accelerate", "scikit-learn"}

"""What pyproject.toml and requirements.lock say is what is there. `.ci/run` tests the wheel itself."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
ROOMS = ("tasks", "algorithms", "benchmarks")
CHANGELOG_ENTRY = re.compile(r"^- .*?results affected: (yes|no)\b", re.DOTALL)


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


@pytest.fixture(scope="module")
def lock() -> dict[str, Version]:
    pins = [line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines()]
    names = [canonicalize_name(name) for name, _ in pins]
    assert len(set(names)) == len(names), "a package has two pins; without their markers no pip can keep both"
    return {canonicalize_name(name): Version(version) for name, version in pins}


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def declared(pyproject: dict[str, Any], *extras: str) -> list[Requirement]:
    project = pyproject["project"]
    texts = project["dependencies"] + [text for extra in extras for text in project["optional-dependencies"][extra]]
    return [requirement for text in texts if (requirement := Requirement(text)).name != project["name"]]


def test_listed_packages_are_those_on_disk(pyproject: dict[str, Any]) -> None:
    setuptools = pyproject["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in sources()}
    assert sorted(setuptools["packages"]) == sorted("ppo_vs_grpo." + ".".join(folder.parts) for folder in folders)
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders)
    assert setuptools["package-dir"] == {f"ppo_vs_grpo.{room}": room for room in ROOMS}


def test_every_file_that_is_no_python_is_listed_as_data(pyproject: dict[str, Any]) -> None:
    listed = {
        path
        for package, patterns in pyproject["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.removeprefix("ppo_vs_grpo.").replace(".", "/")).glob(pattern)
    }
    there = [path for room in ROOMS for path in (ROOT / room).rglob("*")]
    assert listed == {path for path in there if path.is_file() and path.suffix not in (".py", ".pyc")}


def test_the_lock_pins_every_requirement_within_its_range(pyproject: dict[str, Any], lock: dict[str, Version]) -> None:
    extras = set(pyproject["project"]["optional-dependencies"]) - {"verifiers"}  # in no development environment
    for requirement in declared(pyproject, *sorted(extras)):
        assert lock[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert all(version.local is None for version in lock.values())


def test_the_lock_pins_what_the_installed_distributions_ask_for(lock: dict[str, Version]) -> None:
    """Here only those of this platform and this build of torch; `.ci/run` asks the index about all of them."""
    for name, pin in lock.items():
        try:
            asked = requires(name) or []
        except PackageNotFoundError:
            continue  # another platform's
        for requirement in map(Requirement, asked):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                found = lock.get(canonicalize_name(requirement.name))
                assert found is not None, f"{name} {pin} asks for {requirement}, which is not in the lock"
                assert requirement.specifier.contains(found, prereleases=True), f"{name} {pin} asks for {requirement}"


def test_the_versions_agree(pyproject: dict[str, Any]) -> None:
    version = pyproject["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_changelog_entry_says_whether_results_change() -> None:
    entries = re.split(r"\n(?=- |## )", (ROOT / "CHANGELOG.md").read_text())
    entries = [entry for entry in entries if entry.startswith("- ")]
    assert entries
    assert [entry for entry in entries if not CHANGELOG_ENTRY.search(entry)] == []


def test_files_and_functions_stay_small() -> None:
    long = []
    for path in [*sources(), *(ROOT / "tests").rglob("*.py")]:
        text = path.read_text()
        if len(text.splitlines()) >= 300:
            long.append(str(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
                long.append(f"{path}:{node.name}")
    assert long == []


def test_the_python_versions_agree(pyproject: dict[str, Any]) -> None:
    requires = Requirement(f"x{pyproject['project']['requires-python']}").specifier
    supported = {f"3.{minor}" for minor in range(30) if f"3.{minor}" in requires}
    named = {text.rpartition(" ")[2] for text in pyproject["project"]["classifiers"] if re.search(r":: 3\.\d+$", text)}
    assert supported == named
    assert Path(pyproject["project"]["license-files"][0]) == Path("LICENSE")

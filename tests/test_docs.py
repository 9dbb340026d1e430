"""Every path, module, class and function that the documentation names in backticks is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "results/README.md"),
    *(f"docs/{page.name}" for page in ROOT.glob("docs/*.md")),
]
ROOMS = ("tasks", "algorithms", "benchmarks")
README_LINES = 90
FENCES = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PATH = re.compile(r"((?:tasks|algorithms|benchmarks|results|tests|docs|\.ci)/[\w./*-]*|[\w*/-]+\.py)(?::(\w+))?")
DOTTED = re.compile(r"(?:python -m )?([A-Za-z_]\w*(?:\.\w+)+)(?:\(.*)?")
FILES = (".csv", ".html", ".ipynb", ".json", ".jsonl", ".log", ".lock", ".md", ".parquet", ".toml", ".txt", ".yaml")
LEFT_BY_RUNS = re.compile(r"results/(?!published|README|analysis)")


@cache
def names() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """What each module and each class of the package defines; a folder is a module that defines its files."""
    modules: dict[str, set[str]] = {"ppo_vs_grpo": set(ROOMS)}
    classes: dict[str, set[str]] = {}
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text())
        folder = path.parent.name
        modules.setdefault(folder if path.stem == "__init__" else path.stem, set()).update(defined(tree))
        modules.setdefault(folder, set()).add(path.stem)
        modules.setdefault(path.parent.parent.name, set()).add(folder)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, set()).update(defined(node))
    return modules, classes


def defined(body: ast.Module | ast.ClassDef) -> set[str]:
    found = {node.name for node in ast.walk(body) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found |= {n.attr for n in ast.walk(body) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    for statement in body.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            found |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return found


def there(quoted: str) -> bool:
    """Whether what stands between backticks leads somewhere; True for what is no name of ours."""
    modules, classes = names()
    if path := PATH.fullmatch(quoted):
        files = [*ROOT.glob(path[1]), *(file for room in ROOMS for file in (ROOT / room).glob(f"**/{path[1]}"))]
        return bool(LEFT_BY_RUNS.match(quoted) or files) and not (path[2] and path[2] not in modules[files[0].stem])
    if not (dotted := DOTTED.fullmatch(quoted)) or quoted.endswith(FILES):
        return True
    if quoted.startswith("python -m ppo_vs_grpo."):
        module = ROOT.joinpath(*dotted[1].split(".")[1:])
        return module.with_suffix(".py").exists() or (module / "__main__.py").exists()
    *_, owner, last = dotted[1].split(".")
    if owner in classes:
        return last in classes[owner]
    settings_and_columns = any(last in fields for fields in classes.values())
    return owner not in modules or last in modules[owner] or settings_and_columns


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    text = FENCES.sub("", (ROOT / page).read_text())
    assert [link for link in LINK.findall(text) if not (ROOT / page).parent.joinpath(link).exists()] == []
    assert [quoted for quoted in QUOTED.findall(text) if not there(quoted)] == []


def test_the_readme_is_a_first_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES
